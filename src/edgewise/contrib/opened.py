"""The sessions of an app, opened when the first request comes: on its event loop, or for its threads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from edgewise.contracts.state import StateEngine
from edgewise.contrib.engines import ThreadState, open_state, run_now
from edgewise.sessions import Session, SessionInfo, Sessions, SessionSettings, TokenPair


class LoopSessions:
    """Opens `Sessions` once for each event loop that asks."""

    def __init__(self, settings: SessionSettings, session_class: type[Session] = Session) -> None:
        self._settings = settings
        self._class = session_class
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Task[Sessions] | None = None
        self._engine: StateEngine | None = None

    async def get(self) -> Sessions:
        """Return the sessions. Raises StateError or StateUnavailable, and tries again when asked again."""
        loop = asyncio.get_running_loop()
        if self._opening is None or self._loop is not loop or _failed(self._opening):
            self._loop = loop
            self._opening = loop.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Sessions:
        engine = None if self._settings.state is None else await open_state(self._settings.state)
        self._engine = engine
        return Sessions(self._settings, engine, session_class=self._class)

    async def close(self) -> None:
        """Close the engine, where it was opened on this loop."""
        if self._opening is None or self._loop is not asyncio.get_running_loop() or _failed(self._opening):
            return
        await self._opening
        self._opening = None
        if self._engine is not None:
            await self._engine.close()


def _failed(task: asyncio.Task[Sessions]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


class BlockingSessions:
    """`Sessions` for threads without an event loop."""

    def __init__(self, settings: SessionSettings, session_class: type[Session] = Session) -> None:
        self._state = None if settings.state is None else ThreadState(settings.state)
        self._sessions = Sessions(settings, self._state, session_class=session_class)
        self.settings = settings
        self.cookie = self._sessions.cookie
        self.store = self._sessions.store

    def open(self, cookie_fields: Iterable[str], host: str, authorization: str = "") -> Session:
        """See `Sessions.open`."""
        return run_now(self._sessions.open(cookie_fields, host, authorization))

    def commit(self, session: Session, host: str) -> list[str]:
        """See `Sessions.commit`."""
        return run_now(self._sessions.commit(session, host))

    def issue(self, session: Session, host: str) -> TokenPair:
        """See `Sessions.issue`."""
        return run_now(self._sessions.issue(session, host))

    def refresh(self, token: str, host: str) -> TokenPair:
        """See `Sessions.refresh`."""
        return run_now(self._sessions.refresh(token, host))

    def sessions_of(self, user: str) -> list[SessionInfo]:
        """See `Sessions.sessions_of`."""
        return run_now(self._sessions.sessions_of(user))

    def revoke(self, user: str, handle: str | None = None, keep: Session | None = None) -> None:
        """See `Sessions.revoke`."""
        run_now(self._sessions.revoke(user, handle, keep))

    def close(self) -> None:
        """Disconnect from the engine."""
        if self._state is not None:
            self._state.close()
