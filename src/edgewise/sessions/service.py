"""From a request's Cookie fields to its session, and from there to the answer's Set-Cookie field."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from edgewise.contracts.state import StateUnavailable
from edgewise.sessions.cookies import SessionCookie
from edgewise.sessions.session import Session
from edgewise.sessions.settings import SessionSettings
from edgewise.sessions.stateful import StatefulSessions
from edgewise.sessions.stateless import StatelessSessions
from edgewise.sessions.store import KeyValues, SessionGone, SessionInfo, SessionStore

log = logging.getLogger("edgewise.sessions")


class Sessions:
    """The sessions of one app. What there is to call for an app itself: `sessions_of` and `revoke`."""

    def __init__(
        self, settings: SessionSettings, engine: KeyValues | None, *, session_class: type[Session] = Session
    ) -> None:
        """`engine` is None only where settings.state is."""
        self.settings = settings
        self.cookie = SessionCookie(settings)
        self.store: SessionStore
        if settings.kind == "stateless":
            self.store = StatelessSessions(settings, engine, session_class=session_class)
        elif engine is None:
            raise ValueError("stateful sessions need a state engine")
        else:
            self.store = StatefulSessions(settings, engine, session_class=session_class)
        self._class = session_class

    def audience(self, host: str) -> str:
        """Return what a sealed cookie is bound to: the cookie's domain, or the host without its port."""
        if self.settings.domain:
            return self.settings.domain
        name, colon, port = host.rpartition(":")
        return (name if colon and port.isdigit() else host).lower()

    async def open(self, cookie_fields: Iterable[str], host: str) -> Session:
        """Return the session of a request. Raises StateUnavailable, unless `when_lost` says to go on."""
        try:
            return await self.store.open(self.cookie.read(cookie_fields), self.audience(host))
        except StateUnavailable:
            if self.settings.when_lost != "anonymous":
                raise
            return self._class(muted=True)

    async def commit(self, session: Session, host: str) -> str | None:
        """Write what changed; return the Set-Cookie field, None for none.

        What a request changed in a session that was ended meanwhile is dropped: a logout is not undone.
        """
        try:
            token = await self.store.commit(session, self.audience(host))
        except SessionGone as gone:
            log.info("what a request changed in its session is dropped: %s", gone)
            return None
        return None if token is None else self.cookie.write(token)

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        """Return a user's sessions, latest login first. Raises SessionError for stateless ones."""
        return await self.store.sessions_of(user)

    async def revoke(self, user: str, handle: str | None = None, keep: Session | None = None) -> None:
        """End a user's sessions everywhere: the one named, or all, or all but `keep`."""
        await self.store.revoke(user, handle, keep)
