"""How values are written for other processes to read: plain data, a declared type, or signed pickles by choice."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_SIGNATURE = 32
LEAST_SECRET = 32
"""Characters of a secret at least."""


class Codec(Protocol):
    """Values to bytes and back."""

    def encode(self, key: str, value: Any) -> bytes:
        """Return a value in bytes. Raises TypeError or ValueError for what cannot be kept."""

    def decode(self, key: str, data: bytes) -> Any:
        """Return a value that is equal and of the same type. Raises ValueError for bytes that are not ours."""


class Plain:
    """None, bool, int of 64 bits, float, str, bytes, and lists and dicts of them, in MessagePack.

    Anything else is refused rather than given back as something else: a tuple would come back as a list.
    """

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(strict=True).decode

    def encode(self, key: str, value: Any) -> bytes:
        """See `Codec`."""
        _check_plain(value)
        return _encoded(self._encode, value)

    def decode(self, key: str, data: bytes) -> Any:
        """See `Codec`."""
        return self._decode(data)  # msgspec.DecodeError is a ValueError


def _encoded(encode: Callable[[Any], bytes], value: Any) -> bytes:
    try:
        return encode(value)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _check_plain(value: object) -> None:
    kind = type(value)
    if kind in _SCALARS:
        return
    if kind is list:
        for each in value:  # type: ignore[attr-defined]
            _check_plain(each)
    elif kind is dict:
        for name, each in value.items():  # type: ignore[attr-defined]
            if type(name) not in _SCALARS:
                raise TypeError(f"{type(name).__name__} as a key of a dict is not plain data: give `type`")
            _check_plain(each)
    else:
        raise TypeError(f"{kind.__name__} is not plain data: give `type`, or a cache that pickles")


class Typed:
    """Values of one type that msgspec knows, checked as they are read: dataclasses, tuples, sets, dates, unions."""

    def __init__(self, kind: Any) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def encode(self, key: str, value: Any) -> bytes:
        """See `Codec`."""
        data = _encoded(self._encode, value)
        self._decode(data)
        return data

    def decode(self, key: str, data: bytes) -> Any:
        """See `Codec`."""
        return self._decode(data)


class Pickled:
    """Any value that can be pickled, under an HMAC-SHA256 over its key and its bytes.

    Unpickling runs what the bytes say, so nothing is unpickled whose signature does not show that a holder of the
    secret wrote it, and for this key. The first secret signs, all verify.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets or any(len(secret) < LEAST_SECRET for secret in secrets):
            raise ValueError(f"pickles are signed with secrets of {LEAST_SECRET} characters or more")
        self._keys = [hashlib.sha256(b"edgewise cache pickles\0" + secret.encode()).digest() for secret in secrets]

    def encode(self, key: str, value: Any) -> bytes:
        """See `Codec`."""
        try:
            data = pickle.dumps(value, protocol=5)
        except (pickle.PicklingError, AttributeError) as error:
            raise TypeError(f"{type(value).__name__} cannot be pickled: {error}") from error
        return _sign(self._keys[0], key, data) + data

    def decode(self, key: str, data: bytes) -> Any:
        """See `Codec`. Raises ValueError too where a class that was pickled is gone."""
        signature, pickled = data[:_SIGNATURE], data[_SIGNATURE:]
        if not any(hmac.compare_digest(signature, _sign(secret, key, pickled)) for secret in self._keys):
            raise ValueError("the signature of a pickle is not ours")
        try:
            return pickle.loads(pickled)
        except Exception as error:  # signed by us, but of another version of the app
            raise ValueError(f"a pickle cannot be read: {error}") from error


def _sign(secret: bytes, key: str, pickled: bytes) -> bytes:
    return hmac.digest(secret, key.encode() + b"\0" + pickled, "sha256")
