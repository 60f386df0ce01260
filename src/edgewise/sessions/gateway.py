"""Sessions held by the gateway: a filter that checks the cookie, tells upstreams who asks, and does what apps say."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from edgewise.contracts.balancing import SESSION
from edgewise.contracts.filters import Headers, Request, Response
from edgewise.contracts.identity import Identity
from edgewise.contracts.state import StateEngine, StateError
from edgewise.sessions.cookies import without_cookie
from edgewise.sessions.identity import CONTROL, Login, parse_control
from edgewise.sessions.service import Sessions
from edgewise.sessions.session import Session
from edgewise.sessions.settings import SessionSettings
from edgewise.sessions.store import SessionError

log = logging.getLogger("edgewise.sessions")
_GROUPS = "groups"
_MOST_IDENTITIES = 1024
"""That are kept of users who come again."""
_MOST_NEXT = 2048
"""Bytes of the page to come back to after a login, at most."""
_SAFE = ("GET", "HEAD")
_NOT_KEPT = (("Cache-Control", "no-store"),)


class HeldSessions:
    """The sessions that all routes of one configuration share, on an engine that is opened for the first request."""

    def __init__(
        self,
        settings: SessionSettings,
        open_engine: Callable[[], Awaitable[StateEngine]] | None,
        *,
        waits: bool,
    ) -> None:
        """`open_engine` is None for sealed sessions that cannot be revoked; `waits`: is a read more than a call?"""
        self.settings = settings
        self.waits = waits
        self._open = open_engine
        self.opened = Sessions(settings, None) if open_engine is None else None

    async def get(self) -> Sessions:
        """Return the sessions. Raises StateError, and tries again when asked again."""
        if self.opened is None:
            assert self._open is not None
            engine = await self._open()
            self.opened = self.opened or Sessions(self.settings, engine)
        return self.opened


@dataclass(frozen=True)
class Requirement:
    """What a route wants of a request without a session; without `required`, nothing."""

    required: bool = False
    login: str | None = None
    """Path where browsers that navigate are sent."""
    csrf: Callable[[Request, Session | None], Response | None] | None = None
    """Refuses what other sites make a browser ask for, where a token is to tell (see `form_tokens`)."""


@dataclass
class _Kept:
    """What a request came with, for its answer."""

    cookies: list[str]
    host: str
    session: Session | None = None
    """None where there was no cookie, or it could not be looked up."""

    def affinity(self) -> bytes | None:
        """Return the handle of the session; see `contracts.balancing.HeldSession`."""
        handle: str | None = getattr(self.session.origin, "handle", None) if self.session is not None else None
        return None if handle is None else handle.encode()


class SessionFilter:
    """Request and response filter of a route; it waits only where the engine has to be asked over a connection."""

    def __init__(self, held: HeldSessions, requirement: Requirement, *, form_tokens: bool = False) -> None:
        """`form_tokens`: routes want tokens of their sessions, so those that begin here get a secret for them."""
        self._form_tokens = form_tokens
        self._held = held
        self._requirement = requirement
        self._identities: dict[tuple[str, tuple[str, ...]], Identity] = {}
        self._cookie = f"{held.settings.cookie}="

    # ---- requests ----------------------------------------------------------------------------------------------------

    def request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """Check the session: whose it is becomes who asks, unless the route's `auth` knows already."""
        headers = request.headers
        kept = request.context[SESSION] = _Kept(headers.get_all("cookie"), headers.get("host", "") or "")
        if not any(self._cookie in field for field in kept.cookies):
            return self._without(request)
        self._remove_cookie(headers, kept.cookies)
        sessions = self._held.opened
        if sessions is None or self._held.waits:
            return self._look_up(request, kept)
        try:
            session = at_once(sessions.open(kept.cookies, kept.host))
        except StateError as error:
            return self._lost(request, error)
        return self._opened(request, kept, session)

    async def _look_up(self, request: Request, kept: _Kept) -> Response | None:
        try:
            session = await (await self._held.get()).open(kept.cookies, kept.host)
        except StateError as error:
            return self._lost(request, error)
        return self._opened(request, kept, session)

    def _opened(self, request: Request, kept: _Kept, session: Session) -> Response | None:
        kept.session = session
        if not session.user:
            return self._without(request)
        refused = self._forged(request, session)
        if refused is not None:
            return refused
        if request.identity is None:
            request.identity = self._who(session.user, tuple(session.get(_GROUPS, ())))
        return None

    def _who(self, user: str, groups: tuple[str, ...]) -> Identity:
        """Return the identity of a user: the same one each time, with what was written of it for upstreams."""
        known = self._identities.get((user, groups))
        if known is None:
            if len(self._identities) >= _MOST_IDENTITIES:
                self._identities.clear()
            known = Identity(user, "session", groups=frozenset(groups))
            self._identities[user, groups] = known
        return known

    def _forged(self, request: Request, session: Session | None) -> Response | None:
        check = self._requirement.csrf
        return None if check is None else check(request, session)

    def _lost(self, request: Request, error: StateError) -> Response | None:
        """The engine does not answer: who asks is not known."""
        if not self._requirement.required:
            log.warning("a request goes on without its session: %s", error)
            return self._forged(request, None)
        return _unavailable(error)

    def _without(self, request: Request) -> Response | None:
        if not self._requirement.required:
            return self._forged(request, None)
        login = self._requirement.login
        if login is not None and request.path != login and _navigates(request):
            return Response(303, b"", (("Location", login + _back(request)), *_NOT_KEPT))
        scheme = f'Cookie cookie-name="{self._held.settings.cookie}"'
        return Response(401, "A session is required.\n", (("WWW-Authenticate", scheme), *_NOT_KEPT))

    def _remove_cookie(self, headers: Headers, fields: list[str]) -> None:
        """Keep the session's cookie from upstreams: who has it could be the user."""
        del headers["Cookie"]
        if others := without_cookie(self._held.settings.cookie, fields):
            headers.add("Cookie", others)

    # ---- answers -----------------------------------------------------------------------------------------------------

    def response(self, request: Request, response: Response) -> Response | Awaitable[Response | None] | None:
        """Do what the app says of the session, or let a session in use live on."""
        kept = request.context.get(SESSION)
        if not isinstance(kept, _Kept):
            return None
        _vary(response.headers)
        told = response.headers.get_all(CONTROL)
        if told:
            del response.headers[CONTROL]
            try:
                return self._change(kept, response, parse_control(told))
            except ValueError as error:
                log.error("the answer of route %s is refused: %s", request.route, error)
                return Response(502, "The app's answer about the session cannot be understood.\n")
        if kept.session is not None and self._held.opened is not None and self._held.opened.store.due(kept.session):
            return self._renew(kept, kept.session, response)
        return None

    async def _change(self, kept: _Kept, response: Response, login: Login | None) -> Response | None:
        """Begin a session under a new id, or end the one there is; where neither can be, the app's answer is not sent.

        The session is looked up again: while the request was under way it may have been ended, or the engine come back.
        """
        try:
            sessions = await self._held.get()
            session = await sessions.open(kept.cookies, kept.host)
            if login is None:
                session.logout()
            else:
                session.login(login.user)
                session[_GROUPS] = login.groups
                if self._form_tokens:
                    session.csrf_token()
            set_cookies = await sessions.commit(session, kept.host)
        except StateError as error:
            return _unavailable(error)
        except SessionError as error:
            log.error("a session cannot be kept: %s", error)
            return Response(502, "The session cannot be kept.\n")
        _set_cookies(response.headers, set_cookies)
        return None

    async def _renew(self, kept: _Kept, session: Session, response: Response) -> None:
        """Write down that the session is in use; never a reason for an answer to fail."""
        try:
            set_cookies = await (await self._held.get()).commit(session, kept.host)
        except (StateError, SessionError) as error:
            log.warning("a session is not renewed: %s", error)
            return
        _set_cookies(response.headers, set_cookies)


def at_once(coroutine: Coroutine[Any, Any, Session]) -> Session:
    """Return the result of a coroutine that never waits: an embedded engine's reads are calls."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        session: Session = stop.value
        return session
    coroutine.close()
    raise RuntimeError("a read that should not wait does")


def _unavailable(error: StateError) -> Response:
    log.error("sessions are out of reach: %s", error)
    fields = (("Retry-After", "1"), *_NOT_KEPT)
    return Response(503, "Sessions are out of reach.\n", fields)


def _navigates(request: Request) -> bool:
    """Does a browser open a page? By Sec-Fetch-Mode, else by whether it asks for HTML."""
    if request.method not in _SAFE:
        return False
    mode = request.headers.get("sec-fetch-mode")
    return mode == "navigate" if mode is not None else "text/html" in (request.headers.get("accept") or "")


def _back(request: Request) -> str:
    """Return the query that tells the login page where to come back to: only ever a path of this host.

    Two slashes at the beginning, or a backslash, would be another host to browsers (WHATWG URL, section 4.4).
    """
    target = request.path + (f"?{request.query}" if request.query else "")
    if target.startswith("//") or "\\" in target or not target.startswith("/") or len(target) > _MOST_NEXT:
        return ""
    return "?next=" + quote(target, safe="/")


def _vary(headers: Headers) -> None:
    """Let no cache give one user's answer to another (RFC 9111 section 4.1)."""
    told = [part.strip(" \t").lower() for value in headers.get_all("vary") for part in value.split(",")]
    if "cookie" not in told and "*" not in told:
        headers.add("Vary", "Cookie")


def _set_cookies(headers: Headers, fields: Sequence[str]) -> None:
    """Set the session's cookie; an answer that does is nobody else's."""
    if not fields:
        return
    for field in fields:
        headers.add("Set-Cookie", field)
    directives: Sequence[str] = (headers.get("cache-control") or "").lower().replace(" ", "").split(",")
    if "no-store" not in directives and "private" not in directives:
        headers["Cache-Control"] = "no-store"
