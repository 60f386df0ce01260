"""Keys as subjects: "/" parts tokens, so that a prefix is a wildcard; what a token may not hold is escaped."""

from __future__ import annotations

import re

_OTHER = re.compile(r"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(r"=([0-9A-F]{2})")
_EMPTY = "="
"""Stands for an empty token, which NATS does not allow."""


def encode(key: str) -> str:
    """Return the tokens of a key."""
    return ".".join(_token(part) for part in key.split("/"))


def decode(tokens: str) -> str:
    """Return the key that `encode` was given."""
    if "=" not in tokens:
        return tokens.replace(".", "/")
    parts = ("" if part == _EMPTY else _ESCAPED.sub(lambda m: chr(int(m[1], 16)), part) for part in tokens.split("."))
    return "/".join(parts)


def wildcard(prefix: str) -> str:
    """Return the narrowest wildcard that matches every key with a prefix."""
    parts = prefix.split("/")[:-1]
    return ".".join([*(_token(part) for part in parts), ">"])


def _token(part: str) -> str:
    return _OTHER.sub(lambda m: f"={ord(m[0]):02X}", part) or _EMPTY
