"""What a state engine keeps of a session, and under which keys."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NamedTuple

import msgspec

from edgewise.sessions.session import Encoded

VERSION = 1
ROTATED = b"rotated"
"""In the place of a session that got a new id, for a while: the old one opens nothing."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class Record(msgspec.Struct, array_like=True):
    """A stateful session. The clock is Unix time."""

    version: int
    created: float
    deadline: float
    """It ends then, however much it is used."""
    user: str
    label: str
    authenticated: float
    generation: int
    """Of the user's sessions, as of the login."""
    data: Encoded


class Origin(NamedTuple):
    """Where a stateful session came from."""

    handle: str
    revision: int
    ttl: float
    """Seconds it had left when it was read from the engine, or written."""
    record: Record


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


def encode_record(record: Record) -> bytes:
    """Return a record as a value."""
    return _encode(record)


def decode_record(value: bytes) -> Record | None:
    """Return the record of a value; None for one that this version does not understand."""
    try:
        record = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return record if record.version == VERSION else None


def new_token() -> str:
    """Return an id of 256 random bits."""
    return secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Could this be an id?"""
    return _TOKEN.fullmatch(text) is not None


def hashed(text: str) -> str:
    """Return what stands for an id, or a user's name, in a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Keys:
    """The keys of one namespace."""

    def __init__(self, namespace: str) -> None:
        self._sessions = f"session/{namespace}/s/"
        self._users = f"session/{namespace}/u/"
        self._revoked = f"session/{namespace}/r/"

    def session(self, handle: str) -> str:
        """Return where the session with a handle (the hash of its id) is."""
        return self._sessions + handle

    def user(self, user: str) -> str:
        """Return what the keys of a user's index begin with; handles follow."""
        return f"{self._users}{hashed(user)}/"

    def revoked(self, user: str) -> str:
        """Return where is kept what was revoked of a user's sessions."""
        return self._revoked + hashed(user)
