"""Sessions that are sealed into their cookie; a state engine knows only what was revoked."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import msgspec

from edgewise.sessions.records import VERSION, Keys
from edgewise.sessions.revocation import Revocations
from edgewise.sessions.sealing import MOST_OPENED, Sealer
from edgewise.sessions.session import Encoded, Session
from edgewise.sessions.settings import SessionSettings
from edgewise.sessions.store import KeyValues, SessionError, SessionInfo, SessionTooLarge

MOST_COOKIE_BYTES = 4096
"""Of name, value and attributes together: what every browser stores (RFC 6265 section 6.1)."""
_ATTRIBUTES = 128
"""Bytes kept free for attributes; what a domain and a path take comes on top."""


class Sealed(msgspec.Struct, array_like=True):
    """What is in the cookie. The clock is Unix time."""

    version: int
    handle: str
    """Names the session to those who revoke it."""
    created: float
    deadline: float
    """It ends then, however much it is used."""
    renewed: float
    user: str
    label: str
    authenticated: float
    generation: int
    """Of the user's sessions, as of the login."""
    data: Encoded


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Sealed).decode


class StatelessSessions:
    """`SessionStore` without a store. `engine` None: copies of a cookie are good until they expire."""

    def __init__(
        self,
        settings: SessionSettings,
        engine: KeyValues | None,
        *,
        session_class: type[Session] = Session,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._class = session_class
        self._clock = clock
        self._sealer = Sealer(settings.secrets, compress=settings.compress)
        self._context = b"%s\0%s\0" % (settings.namespace.encode(), settings.cookie.encode())
        self._most = MOST_COOKIE_BYTES - _ATTRIBUTES - len(settings.cookie + settings.domain + settings.path)
        self._revocations: Revocations | None = None
        if engine is not None:
            stale = settings.when_lost == "stale"
            keys = Keys(settings.namespace)
            self._revocations = Revocations(
                engine, keys, settings.revocation_delay, stale=stale, clock=clock, monotonic=monotonic
            )

    def _bound(self, audience: str) -> bytes:
        return self._context + audience.encode("utf-8", "surrogatepass")

    async def open(self, token: str | None, audience: str = "") -> Session:
        """Return the session in a cookie, or an empty one."""
        sealed = self._opened(token, audience) if token else None
        if sealed is None or self._expired(sealed) or await self._is_revoked(sealed):
            return self._class()
        return self._class(
            sealed.data,
            origin=sealed,
            user=sealed.user,
            label=sealed.label,
            created=sealed.created,
            authenticated=sealed.authenticated,
        )

    def _opened(self, token: str, audience: str) -> Sealed | None:
        data = self._sealer.open(token, self._bound(audience))
        if data is None:
            return None
        try:
            sealed = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return sealed if sealed.version == VERSION else None

    def _expired(self, sealed: Sealed) -> bool:
        end = min(sealed.deadline, sealed.created + self._settings.absolute, sealed.renewed + self._settings.idle)
        return end <= self._clock()

    async def _is_revoked(self, sealed: Sealed) -> bool:
        if self._revocations is None or not sealed.user:
            return False
        revoked = await self._revocations.of(sealed.user)
        return revoked.generation not in (0, sealed.generation) or sealed.handle in revoked.ended

    async def commit(self, session: Session, audience: str = "") -> str | None:
        """Return the session sealed anew where it changed or is to be renewed. Raises SessionTooLarge."""
        if session.ended:
            await self._end(session.origin)
            session.forget()
            return await self._seal(session, None, audience) if session else ""
        old = session.origin if isinstance(session.origin, Sealed) else None
        changed = session.logs_in or bool(session.changes())
        if old is not None and not changed:
            changed = session.rotates or session.forced or self._is_due(old)
        return await self._seal(session, old, audience) if changed else None

    def due(self, session: Session) -> bool:
        """Is it time to seal a session anew that was only read?"""
        return isinstance(session.origin, Sealed) and self._is_due(session.origin)

    def _is_due(self, sealed: Sealed) -> bool:
        return self._clock() - sealed.renewed > self._settings.idle * self._settings.renew

    async def _end(self, sealed: object) -> None:
        """Revoke one session. Nobody's are not: they open nothing but themselves."""
        if self._revocations is not None and isinstance(sealed, Sealed) and sealed.user:
            await self._revocations.end(sealed.user, sealed.handle, sealed.deadline)

    async def _seal(self, session: Session, old: Sealed | None, audience: str) -> str:
        new = await self._next(session, old)
        new.data = session.merged({} if old is None else old.data, session.changes())
        data = _encode(new)
        token = self._sealer.seal(data, self._bound(audience))
        if len(token) > self._most or len(data) > MOST_OPENED:
            raise SessionTooLarge(
                f"the session takes {len(token)} bytes sealed; a cookie has room for {self._most}, "
                "and it is never split: keep less in it, or use stateful sessions"
            )
        if old is not None and new.handle != old.handle:
            await self._end(old)
        session.created, session.authenticated = new.created, new.authenticated
        session.kept(new.data, new)
        return token

    async def _next(self, session: Session, old: Sealed | None) -> Sealed:
        """Return what is to be sealed, as yet without data."""
        now = self._clock()
        handle = old.handle if old and not (session.logs_in or session.rotates) else secrets.token_urlsafe(16)
        if old is not None and not session.logs_in:
            return msgspec.structs.replace(old, handle=handle, renewed=now, data={})
        generation = 0
        if self._revocations is not None and session.user:
            generation = (await self._revocations.fresh(session.user)).generation
        deadline = now + self._settings.absolute
        authenticated = now if session.logs_in else 0.0
        user, label = session.user, session.label
        return Sealed(VERSION, handle, now, deadline, now, user, label, authenticated, generation, {})

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        """Raise SessionError: they are where their cookies are."""
        raise SessionError("stateless sessions cannot be listed; stateful ones can")

    async def revoke(self, user: str, handle: str | None = None, keep: Session | None = None) -> None:
        """End a user's sessions: the one named, or all, or all but `keep`, which is sealed anew at its commit.

        Each process learns of it within `revocation_delay`. Raises SessionError where there is no engine.
        """
        if self._revocations is None:
            raise SessionError("sessions are revoked in a state engine; these have none")
        if handle is not None:
            await self._revocations.end(user, handle, self._clock() + self._settings.absolute)
            return
        generation = await self._revocations.end_all(user)
        if keep is not None and keep.user == user and isinstance(keep.origin, Sealed):
            keep.origin = msgspec.structs.replace(keep.origin, generation=generation)
            keep.forced = True
