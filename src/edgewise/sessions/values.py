"""What a session may hold: JSON-like values, each encoded by itself so that a change can be told from its bytes."""

from __future__ import annotations

from typing import Any

import msgspec

Value = Any
"""None, bool, int of 64 bits, float, str, and lists and dicts (with str keys) of them. A tuple comes back as a list."""
DEPTH = 32
"""Lists and dicts within each other at most."""
_SCALARS = (str, int, float, bool, type(None))


def _plain(value: Any) -> Any:
    """Return a value of a subclass, such as markupsafe.Markup, as what it is."""
    return str.__str__(value) if isinstance(value, str) else float.__float__(value)


_encode = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_decode = msgspec.msgpack.Decoder().decode


def encode_value(value: Value) -> bytes:
    """Return a value as msgpack. Raises TypeError for what is not JSON-like, ValueError for what is out of bounds."""
    _check(value, DEPTH)
    return _encode(value)


def decode_value(data: bytes | msgspec.Raw) -> Value:
    """Return a value from its msgpack."""
    return _decode(data)


def is_scalar(value: Value) -> bool:
    """Can this value not be changed in place?"""
    return isinstance(value, _SCALARS)


def _check(value: Value, depth: int) -> None:
    if value is None or isinstance(value, float):
        return
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise ValueError("an int of a session has at most 64 bits")
    elif isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list | tuple | dict):
        _check_within(value, depth)
    else:
        kind = type(value)
        raise TypeError(f"a session holds JSON-like values, not {kind.__module__}.{kind.__qualname__}")


def _check_within(value: Any, depth: int) -> None:
    if not depth:
        raise ValueError(f"a session's value has more than {DEPTH} lists and dicts within each other")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a session holds JSON-like values: the key {key!r} of a dict is no str")
            _check_text(key)
        value = value.values()
    for each in value:
        _check(each, depth - 1)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a str of a session holds half of a surrogate pair") from None
