"""Consumers that were added at run time, as the state engine keeps them: one entry each, keys as hashes alone."""

from __future__ import annotations

import hashlib
import re
from secrets import token_bytes, token_hex

import msgspec

from edgewise.contracts.state import StateError

PREFIX = "consumer:"
"""Of the key of a consumer in the engine; its name follows."""
KEY_PREFIX = "consumer-key:"
"""Of the key under which the name of a key's consumer stands; its id follows."""
TOPIC = "consumers"
"""Messages are names of consumers that changed: what became of them is read."""
KEY_ID = re.compile(r"k-[0-9a-f]{12}")
_API_KEY = "ew_"
"""What keys made here begin with, so that they are told from other secrets where they were left lying about."""


class StoredKey(msgspec.Struct, frozen=True):
    """An API key, without the key."""

    id: str
    """Names it to those who revoke it; opens nothing."""
    digest: str
    """SHA-256, hexadecimal. A key has 256 bits of randomness: nothing slower is needed."""
    created: float
    """Unix time."""
    label: str = ""


class StoredConsumer(msgspec.Struct, frozen=True):
    """A consumer."""

    name: str
    created: float
    groups: list[str] = []
    scopes: list[str] = []
    claims: dict[str, str] = {}
    passwords: list[str] = []
    """Hashes."""
    keys: list[StoredKey] = []


def encoded(consumer: StoredConsumer) -> bytes:
    """Return what is kept of a consumer."""
    return msgspec.json.encode(consumer)


def decoded(value: bytes) -> StoredConsumer:
    """Return a consumer as it is kept. Raises StateError for what another release wrote and this one cannot read."""
    try:
        return msgspec.json.decode(value, type=StoredConsumer)
    except msgspec.DecodeError as error:
        raise StateError(f"a consumer of another release cannot be read: {error}") from None


def new_key(now: float, label: str = "") -> tuple[str, StoredKey]:
    """Return a new API key, to be shown once, and what is kept of it."""
    identifier = f"k-{token_hex(6)}"
    key = f"{_API_KEY}{identifier[2:]}_{token_bytes(32).hex()}"
    return key, StoredKey(identifier, key_digest(key.encode()).hex(), now, label)


def key_digest(key: bytes) -> bytes:
    """Return what an API key is looked up by: its SHA-256."""
    return hashlib.sha256(key).digest()
