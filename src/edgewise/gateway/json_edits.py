"""Edits of JSON documents: members are named by JSON Pointers (RFC 6901) or by dotted paths, `*` is every one.

An edit does what it can: what it names and is not there stays so, but for members that `set` makes. Numbers pass
through as they were written, however long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import msgspec

EVERY = "*"
"""Stands for every element of an array, and every member of an object."""
Path: TypeAlias = tuple[str, ...]
"""Reference tokens from the root on, without escapes."""
MISSING: Any = object()
"""What a value is that cannot be told: nothing is set."""
_INDEX = re.compile("0|[1-9][0-9]{0,8}")
_BAD_ESCAPE = re.compile("~(?![01])")
_decode = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode())).decode
_encode = msgspec.json.Encoder().encode


class JsonError(ValueError):
    """It is not JSON (RFC 8259) in UTF-8, or nested too deeply."""


@dataclass(frozen=True)
class JsonEdits:
    """What becomes of a document, in this order."""

    unwrap: Path | None = None
    """What it leads to takes the place of the document."""
    remove: tuple[Path, ...] = ()
    rename: tuple[tuple[Path, str], ...] = ()
    """(member, its new name in the same object)."""
    set: tuple[tuple[Path, Callable[[Any], Any]], ...] = ()
    """(where, what makes a value of its own of what is known of the request)."""
    wrap: str | None = None
    """Name of the member of a new object that the document becomes."""

    def apply(self, content: bytes, known: Any = None) -> bytes:
        """Return the edited document. `known` is given to what makes values. Raises JsonError."""
        try:
            return _encode(self.edited(_decode(content), known))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise JsonError(str(error)) from None

    def edited(self, document: Any, known: Any = None) -> Any:
        """Return an edited document; the one given may be changed."""
        if self.unwrap is not None:
            document = next(iter(_found(document, self.unwrap)), document)
        for path in self.remove:
            for parent in _found(document, path[:-1]):
                _remove(parent, path[-1])
        for path, name in self.rename:
            for parent in _found(document, path[:-1]):
                _rename(parent, path[-1], name)
        for path, make in self.set:
            _set(document, path, partial(make, known))
        return document if self.wrap is None else {self.wrap: document}


def parse_path(text: str) -> Path:
    """Return the path that a JSON Pointer (RFC 6901 section 3), or text with dots, says; never the root.

    Raises ValueError.
    """
    if text.startswith("/"):
        if _BAD_ESCAPE.search(text):
            raise ValueError(f'"{text}": "~" is written "~0", "/" in a name "~1"')
        return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))
    path = tuple(text.split("."))
    if not all(path):
        raise ValueError(f'"{text}" is neither a JSON Pointer such as "/user/name" nor a path such as "user.name"')
    return path


def _found(value: Any, path: Path) -> Iterable[Any]:
    """Return all that a path leads to."""
    values = [value]
    for token in path:
        values = [child for parent in values for child in _children(parent, token)]
    return values


def _children(parent: Any, token: str) -> Iterable[Any]:
    if isinstance(parent, dict):
        if token == EVERY:
            return tuple(parent.values())
        return (parent[token],) if token in parent else ()
    if isinstance(parent, list):
        if token == EVERY:
            return tuple(parent)
        index = _index(token, parent)
        return () if index is None else (parent[index],)
    return ()


def _index(token: str, array: list[Any]) -> int | None:
    """Return the place of an element that there is (RFC 6901 section 4: no leading zeros)."""
    index = int(token) if _INDEX.fullmatch(token) else len(array)
    return index if index < len(array) else None


def _remove(parent: Any, token: str) -> None:
    if token == EVERY and isinstance(parent, dict | list):
        parent.clear()
    elif isinstance(parent, dict):
        parent.pop(token, None)
    elif isinstance(parent, list):
        index = _index(token, parent)
        if index is not None:
            del parent[index]


def _rename(parent: Any, token: str, name: str) -> None:
    """Give a member another name, in its place; one that had the name goes."""
    if not isinstance(parent, dict) or token not in parent or token == name:
        return
    members = [(name if key == token else key, value) for key, value in parent.items() if key != name]
    parent.clear()
    parent.update(members)


def _set(value: Any, path: Path, make: Callable[[], Any]) -> None:
    """Set what a path leads to; objects that are missing on the way are made, elements of arrays are not."""
    token, rest = path[0], path[1:]
    if not rest:
        _put(value, token, make)
        return
    children = list(_children(value, token))
    if not children and isinstance(value, dict) and token != EVERY:
        made = make()
        if made is not MISSING:
            child = value[token] = {}
            _set(child, rest, lambda: made)
        return
    for child in children:
        _set(child, rest, make)


def _put(parent: Any, token: str, make: Callable[[], Any]) -> None:
    """Set a member or an element; "-" is the one behind the last (RFC 6901 section 4)."""
    keys: Iterable[Any]
    if isinstance(parent, dict):
        keys = list(parent) if token == EVERY else (token,)
    elif isinstance(parent, list):
        index = _index(token, parent)
        keys = range(len(parent)) if token == EVERY else () if index is None else (index,)
        if token == "-" and (added := make()) is not MISSING:
            parent.append(added)
    else:
        return
    for key in keys:
        made = make()
        if made is not MISSING:
            parent[key] = made
