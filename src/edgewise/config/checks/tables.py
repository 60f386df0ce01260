"""Reading a document that may hold anything anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgewise.config.problems import Mistake, Path


def value_at(data: Any, *path: str) -> Any:
    """Return what stands at a path of tables, else None."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data


def tables(data: Any, *path: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield path and content of each table in the list or table of tables at a path."""
    found = value_at(data, *path)
    items = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, value in items:
        if isinstance(value, dict):
            yield (*path, key), value


def texts(value: Any) -> list[str]:
    """Return a text, or the texts of a list, as a list."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str)]


def exactly_one(path: Path, table: dict[str, Any], choices: tuple[str, ...]) -> Iterator[Mistake]:
    """Yield a mistake where a table has none or several of the keys of which it needs one."""
    used = [choice for choice in choices if choice in table]
    if not used:
        yield Mistake(path, "needs exactly one of " + ", ".join(choices))
    elif len(used) > 1:
        expected = "exactly one of " + ", ".join(choices)
        yield Mistake((*path, used[1]), f"{' and '.join(used)} exclude each other", expected)
