"""Values from environment variables and from the command line, laid over those of the file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from edgewise.config.document import Document
from edgewise.config.problems import Path, Problem, dotted, show
from edgewise.config.shape import at, kinds_at, unknown_key
from edgewise.config.values import parse_number

PREFIX = "EDGEWISE_"
_LEVEL = "__"
_INDEX = re.compile(r"[0-9]{1,4}")


def add_environment(document: Document, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Lay variables such as EDGEWISE_SERVER__LISTEN over `document`; yield those that fit nowhere.

    Variables without a double underscore are not configuration and stay unread.
    """
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and _LEVEL in variable:
            path = _path(document.data, variable[len(PREFIX) :].split(_LEVEL))
            yield from _place(document, path, _decode(environ[variable], path), f"environment variable {variable}")


def add_overrides(document: Document, overrides: Mapping[str, Any]) -> Iterator[Problem]:
    """Lay the command line's values over `document`; a key may be dotted, a table is merged key by key."""
    for key, value in overrides.items():
        path: Path = ()
        for part in key.split("."):
            path = (*path, _index(part) if list in kinds_at(path) else part)
        for leaf, inner in _leaves(path, value):
            yield from _place(document, leaf, inner, "command line")


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
        if list in kinds_at(path):
            step = _index(part)
        elif isinstance(data, dict):
            step = next((key for key in data if key.lower() == step), step)
        data = data[step] if _has(data, step) else None
        path = (*path, step)
    return path


def _index(part: str) -> str | int:
    return int(part) if _INDEX.fullmatch(part) else part


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
    """Set the value at `path`, making tables and lists on the way; yield a problem where there is no such path."""
    for depth in range(1, len(path) + 1):
        if not at(path[:depth]):
            mistake = unknown_key(path[:depth])
            yield Problem(source, 0, dotted(mistake.path), mistake.message, mistake.expected, mistake.nearest)
            return
    node: Any = document.data
    for depth, step in enumerate(path, 1):
        last = depth == len(path)
        if last or not _has(node, step):
            inner = value if last else [] if kinds_at(path[:depth]) == {list} else {}
            if not _put(node, step, inner):
                message = f"cannot be set, since {dotted(path[: depth - 1])} is {show(node)}"
                expected = f"an index from 0 to {len(node)}" if isinstance(node, list) else ""
                yield Problem(source, 0, dotted(path), message, expected)
                return
            document.mark(path[:depth], source, 0)
        node = node[step]


def _has(node: Any, step: str | int) -> bool:
    """Return whether a table has a key, or a list an index."""
    return step in node if isinstance(node, dict) else isinstance(node, list) and step in range(len(node))


def _put(node: Any, step: str | int, value: Any) -> bool:
    """Set a key of a table or an item of a list, the one after the last included; False where that cannot be."""
    if isinstance(node, dict):
        node[step] = value
    elif isinstance(node, list) and isinstance(step, int) and 0 <= step <= len(node):
        node[step : step + 1] = [value]
    else:
        return False
    return True
