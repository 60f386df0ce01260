"""Structured fields: dictionaries and lists, parsed strictly (RFC 9651 section 4.2)."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_KEY = re.compile(rb"[a-z*][a-z0-9_\-.*]*+")
_VALUES = re.compile(
    rb'(?P<string>"(?:[ !#-\[\]-~]|\\["\\])*")'
    rb"|(?P<decimal>-?[0-9]{1,12}\.[0-9]{1,3})(?![0-9.])"
    rb"|(?P<integer>-?[0-9]{1,15})(?![0-9.])"
    rb"|(?P<token>[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+)"
    rb"|\?(?P<boolean>[01])"
    rb"|:(?P<binary>[A-Za-z0-9+/=]*+):"
    rb"|@(?P<date>-?[0-9]{1,15})(?![0-9.])"
    rb'|%"(?P<display>(?:[ !#$&-~]|%[0-9a-f]{2})*)"'
)
_ESCAPED = re.compile(rb'\\(["\\])')
_SPACE = re.compile(rb"[ \t]*+")
_SPACES = re.compile(rb" *+")


class Token(str):
    """A bare word, which is not the string of the same letters."""

    __slots__ = ()


class DisplayString(str):
    """A string of any characters, meant for people."""

    __slots__ = ()


class Date(int):
    """Seconds since the epoch."""


Value = str | int | float | bytes | bool
"""What an item holds: `str` for strings, Token, DisplayString, `int`, Date, `float` for decimals, `bytes`, `bool`."""


class Item(NamedTuple):
    """An item with its parameters; an inner list is one whose value is a tuple of items."""

    value: Value | tuple[Item, ...]
    params: dict[str, Value]


def parse_dictionary(value: bytes) -> dict[str, Item]:
    """Return the members of a dictionary, of members with the same key the last; raises ValueError."""
    reader = _Reader(value)
    members: dict[str, Item] = {}
    while not reader.ended(first=not members):
        key = reader.key()
        members.pop(key, None)
        members[key] = reader.member() if reader.take(b"=") else Item(True, reader.params())
    return members


def parse_list(value: bytes) -> list[Item]:
    """Return the members of a list; raises ValueError."""
    reader = _Reader(value)
    members: list[Item] = []
    while not reader.ended(first=not members):
        members.append(reader.member())
    return members


class _Reader:
    """A place in the text of a field value."""

    __slots__ = ("_at", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text.strip(b" ")
        self._at = 0

    def ended(self, *, first: bool) -> bool:
        """Is there no other member? Reads the comma before it."""
        if first:
            return not self._text
        self._skip(_SPACE)
        if self._at == len(self._text):
            return True
        if not self.take(b","):
            raise ValueError("a comma is missing")
        self._skip(_SPACE)
        if self._at == len(self._text):
            raise ValueError("nothing follows the last comma")
        return False

    def take(self, byte: bytes) -> bool:
        """Read this byte if it comes next."""
        if self._text[self._at : self._at + 1] != byte:
            return False
        self._at += 1
        return True

    def key(self) -> str:
        """Read the key of a member or a parameter."""
        match = _KEY.match(self._text, self._at)
        if match is None:
            raise ValueError("malformed key")
        self._at = match.end()
        return match[0].decode("ascii")

    def member(self) -> Item:
        """Read an item or an inner list."""
        if not self.take(b"("):
            return self._item()
        items: list[Item] = []
        while True:
            self._skip(_SPACES)
            if self.take(b")"):
                return Item(tuple(items), self.params())
            items.append(self._item())
            if self._text[self._at : self._at + 1] not in (b" ", b")"):
                raise ValueError("malformed inner list")

    def params(self) -> dict[str, Value]:
        """Read what parameters there are."""
        found: dict[str, Value] = {}
        while self.take(b";"):
            self._skip(_SPACES)
            key = self.key()
            found[key] = self._value() if self.take(b"=") else True
        return found

    def _item(self) -> Item:
        return Item(self._value(), self.params())

    def _value(self) -> Value:
        match = _VALUES.match(self._text, self._at)
        if match is None:
            raise ValueError("malformed value")
        self._at = match.end()
        return _bare(match)

    def _skip(self, space: re.Pattern[bytes]) -> None:
        match = space.match(self._text, self._at)
        assert match is not None
        self._at = match.end()


def _bare(match: re.Match[bytes]) -> Value:
    """Return what a matched value means; raises ValueError where its bytes are no base64 or no UTF-8."""
    text = match[match.lastgroup or 0]
    match match.lastgroup:
        case "string":
            return _ESCAPED.sub(rb"\1", text[1:-1]).decode("ascii")
        case "token":
            return Token(text.decode("ascii"))
        case "boolean":
            return text == b"1"
        case "binary":
            return b64decode(text, validate=True)
        case "date":
            return Date(text)
        case "display":
            return DisplayString(unquote_to_bytes(text).decode("utf-8"))
        case "decimal":
            return float(text)
        case _:
            return int(text)
