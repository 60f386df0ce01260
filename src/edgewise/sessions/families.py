"""What the state engine keeps of a JWT session: the family of its refresh tokens, of which the last one is good."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from edgewise.sessions.records import VERSION, Keys, Record, encode_record
from edgewise.sessions.settings import MOST_BYTES
from edgewise.sessions.store import KeyValues, SessionInfo, SessionTooLarge, handles

_LEAST_TTL = 0.001


class Family(Record):
    """A record with what a refresh token must match; who lists and revokes sessions reads it as a record."""

    number: int
    """Of the refresh token that is good."""
    rotated: float
    """Unix time at which it took the place of the one before; of the first, when the family began."""


_decode = msgspec.msgpack.Decoder(Family).decode


class Found(NamedTuple):
    """A family as it is kept."""

    sid: str
    revision: int
    ttl: float
    """Seconds that it lives on when not used."""
    family: Family


class Families:
    """The families of one namespace."""

    def __init__(self, engine: KeyValues, keys: Keys) -> None:
        self._engine = engine
        self._keys = keys

    async def find(self, sid: str) -> Found | None:
        """Return a family; None where there is none, or one that this version does not understand."""
        entry = await self._engine.get(self._keys.session(sid))
        if entry is None:
            return None
        try:
            family = _decode(entry.value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return Found(sid, entry.revision, entry.ttl or 0.0, family) if family.version == VERSION else None

    async def begin(self, family: Family, ttl: float, listed: float) -> Found:
        """Keep a new family for `ttl` seconds, its name in the user's index for `listed`. Raises SessionTooLarge.

        The index comes first: what is not in it cannot be revoked.
        """
        value = _encoded(family)
        sid = secrets.token_hex(16)
        if family.user:
            await self._engine.set(self._keys.user(family.user) + sid, b"", max(_LEAST_TTL, listed))
        ttl = max(_LEAST_TTL, ttl)
        return Found(sid, await self._engine.set(self._keys.session(sid), value, ttl), ttl, family)

    async def replace(self, old: Found, family: Family, ttl: float) -> Found | None:
        """Write a family in place of what was found; None where it is another by now. Raises SessionTooLarge."""
        ttl = max(_LEAST_TTL, ttl)
        key = self._keys.session(old.sid)
        revision = await self._engine.compare_and_set(key, _encoded(family), old.revision, ttl)
        return None if revision is None else Found(old.sid, revision, ttl, family)

    async def end(self, sid: str, user: str, revision: int | None = None) -> bool:
        """Delete a family, with `revision` only where it is still at it; False where it was not deleted."""
        if not await self._engine.delete(self._keys.session(sid), revision):
            return False
        if user:
            await self._engine.delete(self._keys.user(user) + sid)
        return True

    def of(self, user: str) -> AsyncIterator[str]:
        """Yield the sids in a user's index; some may be of families that are gone."""
        return handles(self._engine, self._keys.user(user))


def info_of(found: Found) -> SessionInfo:
    """Return what a user is shown of a session."""
    return SessionInfo(found.sid, found.family.label, found.family.created, found.ttl)


def _encoded(family: Family) -> bytes:
    value = encode_record(family)
    if len(value) > MOST_BYTES:
        raise SessionTooLarge(f"the session takes {len(value)} bytes; there is room for {MOST_BYTES}")
    return value
