"""What was revoked of a user's sessions: all before a generation, and single ones since."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from edgewise.contracts.state import Snapshot, Snapshots, StateUnavailable
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


class _Known(NamedTuple):
    """What was read about a user."""

    asked: float
    revoked: Revoked
    snapshot: Snapshot | None
    """Tells whether that still holds, where the engine can."""


class Revocations:
    """Looks up and writes what was revoked. What was read is used while it is known to hold, or for `delay` seconds."""

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
        self._snapshots = engine if isinstance(engine, Snapshots) else None
        self._known: dict[str, _Known] = {}

    async def of(self, user: str) -> Revoked:
        """Return what is revoked of a user's sessions; where an engine cannot tell, as of up to `delay` seconds ago."""
        known = self._known.get(user)
        if known is not None and self._holds(known):
            return known.revoked
        try:
            return await self.fresh(user, stale=self._stale)
        except StateUnavailable:
            if not self._stale:
                raise
            return known.revoked if known is not None else NOTHING

    def _holds(self, known: _Known) -> bool:
        if known.snapshot is not None:
            return known.snapshot.left() > 0
        return self._monotonic() - known.asked < self._delay

    async def fresh(self, user: str, *, stale: bool = False) -> Revoked:
        """Return what is revoked by now."""
        asked = self._monotonic()
        key = self._keys.revoked(user)
        snapshot = None if self._snapshots is None else self._snapshots.snapshot(key)
        entry = await self._engine.get(key, stale=stale) if snapshot is None else snapshot.entry
        return self._remember(user, asked, NOTHING if entry is None else _decode(entry.value), snapshot)

    def snapshot(self, user: str) -> Snapshot | None:
        """Return what tells whether that which `of` returned a moment ago still holds; None: nothing does."""
        known = self._known.get(user)
        return None if known is None else known.snapshot

    def _remember(self, user: str, asked: float, revoked: Revoked, snapshot: Snapshot | None = None) -> Revoked:
        self._known.pop(user, None)
        self._known[user] = _Known(asked, revoked, snapshot)
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
                return revoked if self._snapshots is not None else self._remember(user, asked, revoked)
        raise SessionConflict(f"{_TRIES} others revoked sessions of the same user in the same moment")
