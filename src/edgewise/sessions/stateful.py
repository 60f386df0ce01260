"""Sessions whose data is on the server; the cookie holds an opaque id, of which only a hash is kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping

import msgspec

from edgewise.contracts.state import Snapshot, Snapshots, StateUnavailable
from edgewise.sessions.copies import Copies, Copy, copy_size
from edgewise.sessions.records import (
    ROTATED,
    VERSION,
    Keys,
    Origin,
    Record,
    decode_record,
    encode_record,
    hashed,
    is_token,
    new_token,
)
from edgewise.sessions.revocation import Revocations
from edgewise.sessions.session import Session
from edgewise.sessions.settings import SessionSettings
from edgewise.sessions.store import KeyValues, SessionConflict, SessionGone, SessionInfo, SessionTooLarge, handles

_TRIES = 32
"""Requests that may change one session at the same time."""
_LEAST_TTL = 0.001
_GONE = "the session was ended or got a new id while this request was under way"
_CONFLICT = f"other requests changed the session {_TRIES} times while this one tried to"
Changes = Mapping[str, bytes | None]


class StatefulSessions:
    """`SessionStore` on a state engine. `clock` returns Unix time."""

    def __init__(
        self,
        settings: SessionSettings,
        engine: KeyValues,
        *,
        session_class: type[Session] = Session,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._class = session_class
        self._clock = clock
        self._stale = settings.when_lost == "stale"
        self._idle = settings.idle
        self._renewed_after = settings.idle * settings.renew
        self._keys = Keys(settings.namespace)
        self._snapshots = engine if isinstance(engine, Snapshots) and settings.memory else None
        self._copies = Copies(settings.memory)
        self.revocations = Revocations(
            engine, self._keys, settings.revocation_delay, stale=self._stale, clock=clock, monotonic=monotonic
        )

    async def open(self, token: str | None, audience: str = "") -> Session:
        """Return the session with an id, or an empty one that will get an id of its own."""
        if token is None or not is_token(token):
            return self._class()
        session = self.recall(token)
        if session is not None:
            return session
        handle = hashed(token)
        key = self._keys.session(handle)
        snapshot = None if self._snapshots is None else self._snapshots.snapshot(key)
        entry = await self._engine.get(key, stale=self._stale) if snapshot is None else snapshot.entry
        if entry is None:
            return self._class()
        if entry.value == ROTATED:
            return self._class(muted=True)
        record = decode_record(entry.value)
        if record is None or self._left(record) <= 0 or await self._is_revoked(record):
            return self._class()
        origin = Origin(handle, entry.revision, entry.ttl or 0.0, record)
        if snapshot is not None:
            self._keep(token, origin, snapshot, len(entry.value))
        return self._session(origin, origin.ttl)

    def recall(self, token: str) -> Session | None:
        """Return what `open` would, where this process has a copy which still holds."""
        copy = self._copies.young.get(token) or self._copies.get(token)
        if copy is None:
            return None
        left = copy.snapshot.left()
        revocation = copy.revocation
        if left <= 0 or copy.ends <= self._clock() or (revocation is not None and revocation.left() <= 0):
            self._copies.drop(token)
            return None
        return self._session(copy.origin, left)

    def _keep(self, token: str, origin: Origin, snapshot: Snapshot, encoded: int) -> None:
        """Keep a session of so many bytes that was just found good."""
        record = origin.record
        revocation = self.revocations.snapshot(record.user) if record.user else None
        if revocation is not None or not record.user:
            ends = self._left(record) + self._clock()
            self._copies.keep(token, Copy(snapshot, revocation, origin, ends, copy_size(encoded)))

    def _session(self, origin: Origin, left: float) -> Session:
        record = origin.record
        session = self._class(
            record.data,
            origin=origin,
            user=record.user,
            label=record.label,
            created=record.created,
            authenticated=record.authenticated,
        )
        session.left = left
        return session

    async def _is_revoked(self, record: Record) -> bool:
        if not record.user:
            return False
        generation = (await self.revocations.of(record.user)).generation
        return generation not in (0, record.generation)

    def _left(self, record: Record) -> float:
        """Return the seconds until a session ends, however much it is used."""
        return min(record.deadline, record.created + self._settings.absolute) - self._clock()

    def _ttl(self, record: Record, idle: float | None) -> float:
        return max(_LEAST_TTL, min(self._settings.idle if idle is None else idle, self._left(record)))

    async def commit(self, session: Session, audience: str = "") -> str | None:
        """Write what changed, under compare-and-set; return the id for the cookie where it is another.

        Raises SessionTooLarge, SessionGone or SessionConflict.
        """
        if session.ended:
            await self._end(session)
            return await self._begin(session) if session else ""
        changes = session.changes()
        origin = session.origin
        if not isinstance(origin, Origin):
            wanted = session.logs_in or ((bool(changes) or session.forced) and not session.muted)
            return await self._begin(session) if wanted else None
        if session.logs_in or session.rotates:
            return await self._rotate(session, origin, changes)
        if changes or session.forced:
            await self._update(session, origin, changes)
        else:
            await self._renew(session, origin)
        return None

    async def _end(self, session: Session) -> None:
        origin = session.origin
        if isinstance(origin, Origin):
            await self._delete(origin.handle, origin.record.user)
        session.forget()

    async def _delete(self, handle: str, user: str) -> None:
        await self._engine.delete(self._keys.session(handle))
        if user:
            await self._engine.delete(self._keys.user(user) + handle)

    async def _begin(self, session: Session) -> str:
        """Keep a session that is new."""
        record = await self._record(session, None)
        record.data = session.merged({}, session.changes())
        token = new_token()
        origin = await self._put(hashed(token), record, session.idle)
        session.muted = False
        self._kept(session, origin)
        return token

    async def _record(self, session: Session, old: Record | None) -> Record:
        """Return the record, as yet without data, of a session that gets a new id."""
        if old is not None and not session.logs_in:
            return msgspec.structs.replace(old, user=session.user, label=session.label, data={})
        now = self._clock()
        generation = (await self.revocations.fresh(session.user)).generation if session.user else 0
        authenticated = now if session.logs_in else 0.0
        deadline = now + self._settings.absolute
        return Record(VERSION, now, deadline, session.user, session.label, authenticated, generation, {})

    async def _put(self, handle: str, record: Record, idle: float | None) -> Origin:
        """Write under an id that nobody was told yet. The index comes first: what is not in it cannot be revoked."""
        value = self._encoded(record)
        ttl = self._ttl(record, idle)
        if record.user:
            await self._engine.set(self._keys.user(record.user) + handle, b"", max(_LEAST_TTL, self._left(record)))
        revision = await self._engine.set(self._keys.session(handle), value, ttl)
        return Origin(handle, revision, ttl, record)

    def _encoded(self, record: Record) -> bytes:
        value = encode_record(record)
        if len(value) > self._settings.max_bytes:
            raise SessionTooLarge(f"the session takes {len(value)} bytes; max_bytes is {self._settings.max_bytes}")
        return value

    @staticmethod
    def _kept(session: Session, origin: Origin) -> None:
        session.created, session.authenticated = origin.record.created, origin.record.authenticated
        session.left = origin.ttl
        session.kept(origin.record.data, origin)

    async def _rotate(self, session: Session, old: Origin, changes: Changes) -> str:
        """Keep a session under a new id, then end the old one; what others change in between comes along."""
        token = new_token()
        record = await self._record(session, old.record)
        same_user = old.record.user in ("", session.user)
        for _ in range(_TRIES):
            record.data = session.merged(old.record.data, changes) if same_user else session.content()
            new = await self._put(hashed(token), record, session.idle)
            key = self._keys.session(old.handle)
            if await self._engine.compare_and_set(key, ROTATED, old.revision, self._settings.grace) is not None:
                break
            found = await self._found(old.handle)
            if found is None and session.logs_in:  # the same form sent twice: this login is as good as the other
                break
            if found is None:
                await self._delete(new.handle, record.user)
                raise SessionGone(_GONE)
            old = found
        else:
            await self._delete(new.handle, record.user)
            raise SessionConflict(_CONFLICT)
        if old.record.user:
            await self._engine.delete(self._keys.user(old.record.user) + old.handle)
        self._kept(session, new)
        return token

    async def _update(self, session: Session, old: Origin, changes: Changes, generation: int | None = None) -> None:
        """Write changes over what is kept by now."""
        for _ in range(_TRIES):
            record = msgspec.structs.replace(old.record, data=session.merged(old.record.data, changes))
            if generation is not None:
                record.generation = generation
            ttl = self._ttl(record, session.idle)
            key = self._keys.session(old.handle)
            revision = await self._engine.compare_and_set(key, self._encoded(record), old.revision, ttl)
            if revision is not None:
                self._kept(session, Origin(old.handle, revision, ttl, record))
                return
            found = await self._found(old.handle)
            if found is None:
                raise SessionGone(_GONE)
            old = found
        raise SessionConflict(_CONFLICT)

    async def _found(self, handle: str, *, stale: bool = False) -> Origin | None:
        """Return what is kept under a handle; None for nothing, or what is rotated, expired or not understood."""
        entry = await self._engine.get(self._keys.session(handle), stale=stale)
        record = None if entry is None else decode_record(entry.value)
        if entry is None or record is None or self._left(record) <= 0:
            return None
        return Origin(handle, entry.revision, entry.ttl or 0.0, record)

    async def _renew(self, session: Session, origin: Origin) -> None:
        """Let a session that was only read live on; not at each request, and never a reason for one to fail."""
        if self._is_due(session, origin):
            with contextlib.suppress(StateUnavailable):
                await self._engine.touch(self._keys.session(origin.handle), self._ttl(origin.record, session.idle))

    def _is_due(self, session: Session, origin: Origin) -> bool:
        most = self._idle if session.idle is None else session.idle
        if most - session.left <= self._renewed_after:
            return False
        return self._ttl(origin.record, session.idle) - session.left > self._renewed_after

    def due(self, session: Session) -> bool:
        """Is it time to let a session that was only read live on?"""
        origin = session.origin
        return isinstance(origin, Origin) and self._is_due(session, origin)

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        """Return a user's sessions, latest login first."""
        found = []
        async for handle in handles(self._engine, self._keys.user(user)):
            origin = await self._found(handle)
            if origin is not None and not await self._is_revoked(origin.record):
                found.append(SessionInfo(handle, origin.record.label, origin.record.created, origin.ttl))
        return sorted(found, key=lambda info: info.created, reverse=True)

    async def revoke(self, user: str, handle: str | None = None, keep: Session | None = None) -> None:
        """End a user's sessions: the one named, or all, or all but `keep`. At once, in every process.

        The generation ends what a request under way might write after the index was read.
        """
        if handle is not None:
            if await self._engine.delete(self._keys.user(user) + handle):
                await self._engine.delete(self._keys.session(handle))
            return
        generation = await self.revocations.end_all(user)
        kept = keep.origin if keep is not None and keep.user == user else None
        if keep is not None and isinstance(kept, Origin):
            await self._update(keep, kept, keep.changes(), generation)
        async for each in handles(self._engine, self._keys.user(user)):
            if not isinstance(kept, Origin) or each != kept.handle:
                await self._delete(each, user)
