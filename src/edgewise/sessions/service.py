"""From a request's Cookie fields to its session, and from there to the answer's Set-Cookie field."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from edgewise.contracts.state import StateUnavailable
from edgewise.sessions.cookies import SEPARATOR, SessionCookie, TokenCookies
from edgewise.sessions.session import Session
from edgewise.sessions.settings import SessionSettings
from edgewise.sessions.stateful import StatefulSessions
from edgewise.sessions.stateless import StatelessSessions
from edgewise.sessions.store import KeyValues, SessionError, SessionGone, SessionInfo, SessionStore
from edgewise.sessions.tokens import TokenSessions

log = logging.getLogger("edgewise.sessions")


class TokenPair(NamedTuple):
    """The tokens of a JWT session, for clients that keep no cookies."""

    access: str
    refresh: str
    expires_in: float
    """Seconds that the access token is good for."""


class Sessions:
    """The sessions of one app. What there is to call for an app itself: `sessions_of` and `revoke`, and of JWT sessions
    `issue` and `refresh`.
    """

    def __init__(
        self, settings: SessionSettings, engine: KeyValues | None, *, session_class: type[Session] = Session
    ) -> None:
        """`engine` is None only where settings.state is."""
        self.settings = settings
        self.cookie = TokenCookies(settings) if settings.kind == "jwt" else SessionCookie(settings)
        self.store: SessionStore
        self._recall: Callable[[str], Session | None] | None = None
        """Returns what the store's `open` would, without waiting, where that is known."""
        if settings.kind == "stateless":
            self.store = StatelessSessions(settings, engine, session_class=session_class)
        elif engine is None:
            raise ValueError(f"{settings.kind} sessions need a state engine")
        elif settings.kind == "jwt":
            self.store = TokenSessions(settings, engine, session_class=session_class)
        else:
            self.store = stateful = StatefulSessions(settings, engine, session_class=session_class)
            self._recall = stateful.recall
        self._class = session_class

    def audience(self, host: str) -> str:
        """Return what a sealed cookie is bound to: the cookie's domain, or the host without its port."""
        if self.settings.domain:
            return self.settings.domain
        name, colon, port = host.rpartition(":")
        return (name if colon and port.isdigit() else host).lower()

    async def open(self, cookie_fields: Iterable[str], host: str, authorization: str = "") -> Session:
        """Return the session of a request. Raises StateUnavailable, unless `when_lost` says to go on.

        `authorization` is the field of that name; where a token in it counts, cookies do not.
        """
        if self._recall is not None:
            token = self.cookie.read(cookie_fields)
            session = None if token is None else self._recall(token)
            if session is not None:
                return session
        bearer = _bearer(authorization) if self.settings.bearer else None
        token = self.cookie.read(cookie_fields) if bearer is None else bearer
        try:
            session = await self.store.open(token, self.audience(host))
        except StateUnavailable:
            if self.settings.when_lost != "anonymous":
                raise
            session = self._class(muted=True)
        session.bearer = bearer is not None
        return session

    async def commit(self, session: Session, host: str) -> list[str]:
        """Write what changed; return the Set-Cookie fields.

        What a request changed in a session that was ended meanwhile is dropped: a logout is not undone.
        """
        if self._recall is not None and not session.modified and not self.store.due(session):
            return []
        try:
            token = await self.store.commit(session, self.audience(host))
        except SessionGone as gone:
            log.info("what a request changed in its session is dropped: %s", gone)
            return []
        return [] if token is None or session.bearer else self.cookie.write(token)

    async def issue(self, session: Session, host: str) -> TokenPair:
        """Keep the JWT session of who just logged in; return its tokens, which are not set as cookies then.

        Raises SessionError where nobody did, and for sessions of another kind.
        """
        if not session.logs_in:
            raise SessionError("tokens are issued where somebody logs in")
        return await self._pair(session, host)

    async def refresh(self, token: str, host: str) -> TokenPair:
        """Return new tokens in exchange for a refresh token, which is worth nothing from then on.

        Raises SessionGone for one that is not good; one that was used before ends its session.
        """
        session = await self.store.open(f"{SEPARATOR}{token}", self.audience(host))
        if session.new:
            raise SessionGone("the refresh token is not good, or not any more")
        return await self._pair(session, host)

    async def _pair(self, session: Session, host: str) -> TokenPair:
        if self.settings.kind != "jwt":
            raise SessionError(f"{self.settings.kind} sessions have no tokens")
        access, _, refresh = (await self.store.commit(session, self.audience(host)) or "").partition(SEPARATOR)
        return TokenPair(access, refresh, self.settings.access)

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        """Return a user's sessions, latest login first. Raises SessionError for stateless ones."""
        return await self.store.sessions_of(user)

    async def revoke(self, user: str, handle: str | None = None, keep: Session | None = None) -> None:
        """End a user's sessions everywhere: the one named, or all, or all but `keep`."""
        await self.store.revoke(user, handle, keep)


def _bearer(field: str) -> str | None:
    """Return the access token in an Authorization field (RFC 6750 section 2.1); None for one of another scheme.

    A refresh token is none: with the separator it would pass for one.
    """
    scheme, _, token = field.partition(" ")
    if scheme.lower() != "bearer":
        return None
    return "" if SEPARATOR in token else token.strip(" ")
