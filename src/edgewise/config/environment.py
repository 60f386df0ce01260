"""Values from environment variables and from the command line, laid over those of the file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from edgewise.config.document import Document
from edgewise.config.problems import Path, Problem, dotted
from edgewise.config.shape import kinds_at
from edgewise.config.values import parse_number

PREFIX = "EDGEWISE_"
_LEVEL = "__"


def add_environment(document: Document, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Lay variables such as EDGEWISE_SERVER__LISTEN over `document`; yield those that fit nowhere.

    Variables without a double underscore are not configuration and stay unread.
    """
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and _LEVEL in variable:
            parts = variable[len(PREFIX) :].split(_LEVEL)
            path = _path(document.data, parts)
            yield from _place(document, path, _decode(environ[variable], path), f"environment variable {variable}")


def add_overrides(document: Document, overrides: Mapping[str, Any]) -> Iterator[Problem]:
    """Lay the command line's values over `document`; a key may be dotted, a table is merged key by key."""
    for key, value in overrides.items():
        for path, leaf in _leaves(tuple(key.split(".")), value):
            yield from _place(document, path, leaf, "command line")


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves((*path, key), inner)
    else:
        yield path, value


def _path(data: Any, parts: list[str]) -> Path:
    """Return the path that a variable's parts name: keys that exist, case aside, else lower case; numbers in lists."""
    path: Path = ()
    for part in parts:
        step: str | int = part.lower()
        if isinstance(data, list) or (not isinstance(data, dict) and list in kinds_at(path)):
            step = int(part) if isinstance(parse_number(part), int) else step
        elif isinstance(data, dict):
            step = next((key for key in data if key.lower() == part.lower()), part.lower())
        data = _child(data, step)
        path = (*path, step)
    return path


def _child(data: Any, step: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(step)
    if isinstance(data, list) and isinstance(step, int) and 0 <= step < len(data):
        return data[step]
    return None


def _decode(text: str, path: Path) -> Any:
    """Return the value that a variable's text means at a path of the schema."""
    kinds = kinds_at(path)
    if list in kinds or dict in kinds:
        whole = _toml_value(text)
        if type(whole) in kinds:
            return whole
    if list in kinds and (str not in kinds or "," in text):
        return [_scalar(item.strip(), kinds_at((*path, 0))) for item in text.split(",") if item.strip()]
    return _scalar(text, kinds)


def _toml_value(text: str) -> Any:
    """Return a TOML list or inline table, else None."""
    if text[:1] not in ("[", "{"):
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return None


def _scalar(text: str, kinds: set[type]) -> Any:
    if bool in kinds and text in ("true", "false"):
        return text == "true"
    if int in kinds or float in kinds:
        number = parse_number(text)
        return text if number is None else number
    return text


def _place(document: Document, path: Path, value: Any, source: str) -> Iterator[Problem]:
    """Set the value at `path`, making tables and list items on the way; yield a problem where that cannot be."""
    node: Any = document.data
    for depth, step in enumerate(path[:-1]):
        if isinstance(node, dict) and isinstance(step, str):
            node = node.setdefault(step, [] if kinds_at(path[: depth + 1]) == {list} else {})
        elif isinstance(node, list) and isinstance(step, int) and 0 <= step <= len(node):
            if step == len(node):
                node.append({})
            node = node[step]
        else:
            yield Problem(source, 0, dotted(path), f"{dotted(path[:depth])} has no {step}")
            return
    last = path[-1]
    if isinstance(node, dict) and isinstance(last, str):
        node[last] = value
    elif isinstance(node, list) and isinstance(last, int) and 0 <= last < len(node):
        node[last] = value
    elif isinstance(node, list) and last == len(node):
        node.append(value)
    else:
        yield Problem(source, 0, dotted(path), f"{dotted(path[:-1])} has no {last}")
        return
    document.mark(path, source, 0)
