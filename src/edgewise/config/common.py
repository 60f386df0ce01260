"""What nodes have in common of a configuration, and what is each node's own."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from edgewise.config.document import Document
from edgewise.config.problems import Path, dotted

OWN: tuple[tuple[str, ...], ...] = (
    ("server", "listen"),
    ("server", "tls_listen"),
    ("server", "workers"),
    ("server", "admin"),
    ("access_log",),
    ("tls", "directory"),
    ("state",),
    ("cluster",),
    ("database",),
    ("tcp",),
)
"""Tables and keys that a node keeps from its own file: its addresses (those of layer 4 routes too), its processes and
directories, and how it reaches the others and the database."""


def is_own(path: Path) -> bool:
    """Is what stands at a path each node's own?"""
    return any(path[: len(own)] == own for own in OWN)


def common_part(data: dict[str, Any]) -> dict[str, Any]:
    """Return a document's data without what is each node's own."""
    return _only(data, own=False)


def left_out(data: dict[str, Any]) -> list[str]:
    """Return the keys of a document that are each node's own, as they are shown."""
    return [dotted(path) for path, _ in _pieces(data) if is_own(path)]


def with_common(own: Document, common: Document) -> Document:
    """Return a node's document with what nodes have in common taken from another one, and nothing of it from its own.

    Both keep their places, so that a mistake is shown where it was made.
    """
    found = own.copy()
    found.data = deepcopy(_merged(_only(own.data, own=True), common_part(common.data)))
    found.take_places(common, lambda path: bool(path) and not is_own(path))
    return found


def published(data: dict[str, Any], name: str) -> Document:
    """Return the document of a configuration that was published; mistakes in it are shown as those of `name`."""
    document = Document(name)
    document.data = common_part(data)
    for path, _ in _pieces(document.data):
        document.mark(path, name, 0)
    return document


def _pieces(data: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each table or key of the first level; of tables that are partly a node's own, each key of the second."""
    split = {path[0] for path in OWN if len(path) > 1}
    for key, value in data.items():
        if key in split and isinstance(value, dict):
            yield from (((key, inner), content) for inner, content in value.items())
        else:
            yield (key,), value


def _only(data: dict[str, Any], *, own: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, value in _pieces(data):
        if is_own(path) is own:
            (found if len(path) == 1 else found.setdefault(path[0], {}))[path[-1]] = value
    return found


def _merged(own: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    found = dict(common)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = {**found[key], **value} if both else value
    return found
