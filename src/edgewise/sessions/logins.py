"""The gateway's sessions as ways to authenticate use them: `contracts.logins`."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from edgewise.contracts.logins import LoginError, LoginSession
from edgewise.contracts.state import StateEngine
from edgewise.sessions.gateway import HeldSessions, at_once
from edgewise.sessions.session import Session
from edgewise.sessions.store import SessionError

_SECRET = "session/gateway/secret"
"""Where the engine keeps what the first worker that needed it drew."""
_PURPOSE = b"edgewise login: seal"


class HeldLogins:
    """A `contracts.logins.Logins` on the sessions that routes share."""

    def __init__(self, held: HeldSessions, open_engine: Callable[[], Awaitable[StateEngine]] | None) -> None:
        """`open_engine` is None for sealed sessions that cannot be revoked."""
        self._held = held
        self._open = open_engine
        self.cookie = held.settings.cookie
        self.secure = held.settings.secure
        self.sealed = held.settings.kind == "stateless"
        self.lifetime = held.settings.absolute

    def open(self, cookies: Sequence[str], host: str) -> LoginSession | Awaitable[LoginSession]:
        """Return the session of a request, at once where nothing has to be waited for."""
        sessions = self._held.opened
        if sessions is None or self._held.waits:
            return self._opened(cookies, host)
        return at_once(sessions.open(cookies, host))

    async def _opened(self, cookies: Sequence[str], host: str) -> LoginSession:
        return await (await self._held.get()).open(cookies, host)

    def due(self, session: LoginSession) -> bool:
        """Is it time to write down that a session is in use?"""
        sessions = self._held.opened
        return sessions is not None and sessions.store.due(cast(Session, session))

    def handle(self, session: LoginSession) -> str:
        """Return what names a session."""
        handle: str = getattr(cast(Session, session).origin, "handle", "")
        return handle

    async def commit(self, session: LoginSession, host: str) -> list[str]:
        """Write what changed."""
        try:
            return await (await self._held.get()).commit(cast(Session, session), host)
        except SessionError as error:
            raise LoginError(str(error)) from error

    async def end(self, user: str, handle: str) -> None:
        """End a session."""
        try:
            await (await self._held.get()).revoke(user, handle)
        except SessionError as error:
            raise LoginError(str(error)) from error

    async def secret(self) -> bytes:
        """Return what the first of the secrets gives, else what the engine keeps."""
        if self._held.settings.secrets:
            return hmac.digest(self._held.settings.secrets[0].encode(), _PURPOSE, "sha256")
        engine = await self.engine()
        assert engine is not None  # without secrets, sessions are kept in one
        entry = await engine.get(_SECRET)
        if entry is None:
            await engine.compare_and_set(_SECRET, secrets.token_bytes(32), 0)
            entry = await engine.get(_SECRET)
            assert entry is not None
        return entry.value

    async def engine(self) -> StateEngine | None:
        """Return the engine."""
        return None if self._open is None else await self._open()
