"""Checks between keys: names that must exist, choices that exclude each other, files, addresses taken twice.

They read the plain document, not the validated model, so that their findings appear beside those of the schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.problems import Mistake, Path, nearest

_ACTIONS = ("upstream", "split", "redirect", "respond")
_PLACES = ("servers", "srv", "app")


def check(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes between the keys of a document; values of a wrong type are passed over."""
    yield from _one_of_each(data)
    yield from _upstream_names(data)


def tables(data: Any, *path: str | int) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield path and content of each table in the list or table of tables at a path."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        if isinstance(value, dict):
            yield (*path, key), value


def _one_of_each(data: dict[str, Any]) -> Iterator[Mistake]:
    for kind, choices in (("upstreams", _PLACES), ("routes", _ACTIONS)):
        for path, table in tables(data, kind):
            used = [choice for choice in choices if choice in table]
            if len(used) != 1:
                found = " and ".join(used) + " exclude each other" if used else "says neither " + ", ".join(choices)
                yield Mistake((*path, used[1]) if used else path, found, "exactly one of " + ", ".join(choices))


def _upstream_names(data: dict[str, Any]) -> Iterator[Mistake]:
    known = [str(path[-1]) for path, _ in tables(data, "upstreams")]
    for path, name in _references(data):
        if isinstance(name, str) and name not in known:
            close = nearest(name, known)
            expected = "" if close else "one of " + ", ".join(sorted(known)) if known else "a table [upstreams.NAME]"
            yield Mistake(path, f'there is no upstream "{name}"', expected, close)


def _references(data: dict[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Yield each place that names an upstream, and the name."""
    for path, table in [*tables(data, "routes"), *tables(data, "tcp")]:
        if "upstream" in table:
            yield (*path, "upstream"), table["upstream"]
        for key in ("split", "sni"):
            inner = table.get(key)
            for item, value in inner.items() if isinstance(inner, dict) else ():
                yield (*path, key, item), item if key == "split" else value
