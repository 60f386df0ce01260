"""The shape of the schema: which table, list or value stands at a path. For error messages, environment and docs."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from edgewise.config.problems import Mistake, Path, dotted, nearest
from edgewise.config.schema import Config, Model


def alternatives(annotation: Any) -> Iterator[Any]:
    """Yield each type an annotation allows, without Annotated, unions and None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for choice in get_args(annotation):
            yield from alternatives(choice)
    elif annotation is not type(None):
        yield annotation


def at(path: Path) -> list[Any]:
    """Return the types allowed at a path; empty where the schema has nothing of that name."""
    found: list[Any] = [Config]
    for part in path:
        found = [choice for parent in found for choice in _step(parent, part)]
    return found


def keys_at(path: Path) -> list[str]:
    """Return the valid keys of the table at a path; empty for a table whose keys are free."""
    return [key for choice in at(path) if _is_model(choice) for key in choice.model_fields]


def unknown_key(path: Path) -> Mistake:
    """Return the mistake of a path whose last key the schema does not have."""
    keys = keys_at(path[:-1])
    if not keys:
        return Mistake(path, f"{dotted(path[:-1])} has no keys")
    close = nearest(str(path[-1]), keys)
    return Mistake(path, "unknown key", "" if close else "one of " + ", ".join(sorted(keys)), close)


def kinds_at(path: Path) -> set[type]:
    """Return which of str, int, float, bool, list and dict a value at a path may be in TOML."""
    kinds: set[type] = set()
    for choice in at(path):
        if get_origin(choice) is Literal:
            kinds.update(type(value) for value in get_args(choice))
        else:
            kinds.add(dict if _is_model(choice) else get_origin(choice) or choice)
    return kinds


def _step(parent: Any, part: str | int) -> Iterator[Any]:
    if _is_model(parent):
        field = parent.model_fields.get(part)
        if field is not None:
            yield from alternatives(field.annotation)
    elif get_origin(parent) is (list if isinstance(part, int) else dict):
        yield from alternatives(get_args(parent)[-1])


def _is_model(choice: Any) -> bool:
    return isinstance(choice, type) and issubclass(choice, Model)
