"""What was revoked of a user's sessions: all before a generation, and single ones since."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from edgewise.contracts.state import StateUnavailable
from edgewise.sessions.records import Keys
from edgewise.sessions.settings import LONGEST
from edgewise.sessions.store import KeyValues, SessionConflict

_MOST_USERS = 10_000
"""Users remembered by a process."""
_MOST_ENDED = 64
"""Sessions of a user that are revoked singly; beyond, all of the user's are."""
_TRIES = 32


class Revoked(msgspec.Struct, array_like=True):
    """What is kept about one user. Kept for 400 days: longer than any session that it is about."""

    generation: int
    """Sessions of another one are worth nothing. It grows, and is never used again: the Unix time in milliseconds."""
    ended: dict[str, float]
    """Handle of a session -> Unix time at which it would have expired anyway."""


NOTHING = Revoked(0, {})
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Revoked).decode


class Revocations:
    """Looks up and writes what was revoked. What was read is used for `delay` seconds."""

    def __init__(
        self,
        engine: KeyValues,
        keys: Keys,
        delay: float,
        *,
        stale: bool,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stale`: while the engine is lost, go on with what was known before."""
        self._engine = engine
        self._keys = keys
        self._delay = delay
        self._stale = stale
        self._clock = clock
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, Revoked]] = {}

    async def of(self, user: str) -> Revoked:
        """Return what is revoked of a user's sessions, as of `delay` seconds ago at the earliest."""
        known = self._known.get(user)
        if known is not None and self._monotonic() - known[0] < self._delay:
            return known[1]
        try:
            return await self.fresh(user, stale=self._stale)
        except StateUnavailable:
            if not self._stale:
                raise
            return known[1] if known is not None else NOTHING

    async def fresh(self, user: str, *, stale: bool = False) -> Revoked:
        """Return what is revoked by now."""
        asked = self._monotonic()
        entry = await self._engine.get(self._keys.revoked(user), stale=stale)
        return self._remember(user, asked, NOTHING if entry is None else _decode(entry.value))

    def _remember(self, user: str, asked: float, revoked: Revoked) -> Revoked:
        self._known.pop(user, None)
        self._known[user] = (asked, revoked)
        if len(self._known) > _MOST_USERS:
            self._known.pop(next(iter(self._known)), None)
        return revoked

    async def end_all(self, user: str) -> int:
        """Revoke every session that there is; return the generation of those to come."""
        return (await self._write(user, lambda old: Revoked(self._next(old), {}))).generation

    async def end(self, user: str, handle: str, expires: float) -> None:
        """Revoke one session, which would have expired at `expires` (Unix time)."""

        def add(old: Revoked) -> Revoked:
            now = self._clock()
            ended = {name: until for name, until in old.ended.items() if until > now}
            ended[handle] = expires
            return Revoked(old.generation, ended) if len(ended) <= _MOST_ENDED else Revoked(self._next(old), {})

        await self._write(user, add)

    def _next(self, old: Revoked) -> int:
        return max(old.generation + 1, int(self._clock() * 1000))

    async def _write(self, user: str, change: Callable[[Revoked], Revoked]) -> Revoked:
        key = self._keys.revoked(user)
        for _ in range(_TRIES):
            asked = self._monotonic()
            entry = await self._engine.get(key)
            revoked = change(NOTHING if entry is None else _decode(entry.value))
            revision = 0 if entry is None else entry.revision
            if await self._engine.compare_and_set(key, _encode(revoked), revision, LONGEST) is not None:
                return self._remember(user, asked, revoked)
        raise SessionConflict(f"{_TRIES} others revoked sessions of the same user in the same moment")
