"""A login as a way to tell who asks: a `contracts.policies.Authenticator`."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from edgewise.contracts.identity import Identity
from edgewise.contracts.logins import LoginError
from edgewise.contracts.policies import Denial, Verified
from edgewise.contracts.state import StateError
from edgewise.gateway.oidc import kept
from edgewise.gateway.oidc.hiding import Hiding
from edgewise.gateway.oidc.requests import authority, cookie_fields, local, navigates, redirect

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.logins import Logins, LoginSession
    from edgewise.contracts.plan import Answer
    from edgewise.gateway.oidc.client import Client
    from edgewise.gateway.oidc.refreshing import Refreshing

_log = logging.getLogger("edgewise.oidc")
_VARY = b"Vary: Cookie\r\n"
_MOST_KNOWN = 4096
_LOST = Denial(503, "auth", "Logins are out of reach.", ((b"Retry-After", b"1"),))
_NO_TOKEN = Denial(503, "auth", "The identity provider cannot be asked at the moment.", ((b"Retry-After", b"5"),))


class LoginWay:
    """Who is logged in at a provider, by the session of the gateway."""

    def __init__(
        self,
        client: Client,
        logins: Logins,
        refreshing: Refreshing,
        *,
        hides: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`hides`: keep the session's cookie from servers; where routes have `session`, that does so."""
        self.challenge = f'Cookie realm="{client.name}", cookie-name="{logins.cookie}"'.encode()
        self._client = client
        self._logins = logins
        self._refreshing = refreshing
        self._hiding = Hiding(logins.cookie) if hides else None
        self._clock = clock
        self._start = f"{logins.cookie}="
        field = client.spec.pass_token
        self._token = None if field is None else f"{field}: Bearer ".encode()
        self._known: dict[tuple[str, int], Identity] = {}
        """By login and version: requests of a login share what is said of it."""

    def authenticate(self, exchange: Exchange) -> Verified | Awaitable[Verified]:
        """Return who is logged in; waits only where the engine or the provider has to be asked."""
        exchange.answer_lines += _VARY
        head = exchange.plan.request
        cookies = cookie_fields(head)
        if not any(self._start in field for field in cookies):
            return None
        if self._hiding is not None:
            self._hiding.hide(exchange)
        try:
            opened = self._logins.open(cookies, authority(head))
        except StateError as error:
            return _LOST._replace(reason=str(error))
        if isinstance(opened, Awaitable):
            return self._wait(exchange, opened, cookies)
        login = kept.kept_of(opened, self._client)
        if login is None:
            return None
        if self._refreshing.is_due(opened, login) or self._logins.due(opened):
            return self._tend(exchange, opened, login, cookies)
        return self._verified(exchange, opened, login)

    async def _wait(self, exchange: Exchange, opening: Awaitable[LoginSession], cookies: list[str]) -> Verified:
        try:
            session = await opening
        except StateError as error:
            return _LOST._replace(reason=str(error))
        login = kept.kept_of(session, self._client)
        return None if login is None else await self._tend(exchange, session, login, cookies)

    async def _tend(self, exchange: Exchange, session: LoginSession, login: kept.Kept, cookies: list[str]) -> Verified:
        """See to new tokens where they are due, and let a session that is in use live on."""
        host = authority(exchange.plan.request)
        if self._refreshing.is_due(session, login):
            try:
                session = await self._refreshing.refreshed(session, cookies, host)
            except (StateError, LoginError) as error:
                if login.expires <= self._clock():
                    return _LOST._replace(reason=str(error))
                _log.warning("tokens are not renewed: %s", error)
            renewed = kept.kept_of(session, self._client)
            if renewed is None:
                return None
            login = renewed
        if self._logins.due(session):
            try:
                set_cookies = await self._logins.commit(session, host)
            except (StateError, LoginError) as error:  # never a reason for an answer to fail
                _log.warning("a session is not renewed: %s", error)
            else:
                exchange.answer_lines += b"".join(map(_set_cookie, set_cookies))
        return self._verified(exchange, session, login)

    def _verified(self, exchange: Exchange, session: LoginSession, login: kept.Kept) -> Identity | Denial | None:
        """Return who it is, and have the server told what it is to know; None once a new login is needed."""
        now = self._clock()
        if login.until <= now:
            return None
        if self._token is not None:
            tokens = kept.tokens_of(session)
            if tokens is None or login.expires <= now:
                return _NO_TOKEN if tokens is not None and tokens.refresh is not None else None
            exchange.forward_lines += b"%b%b\r\n" % (self._token, tokens.access.encode())
        key = (login.id, login.version)
        identity = self._known.get(key)
        if identity is None:
            while len(self._known) >= _MOST_KNOWN:
                self._known.pop(next(iter(self._known)))
            identity = self._known[key] = kept.identity_of(session, login)
        return identity

    def begin(self, exchange: Exchange) -> Answer | None:
        """Send a browser that opens a page to the login; what else asks gets 401."""
        head = exchange.plan.request
        if not navigates(head):
            return None
        back = local(head.target.decode("latin-1"))
        query = "" if back is None or back == "/" else "?next=" + quote(back, safe="/")
        return redirect(self._client.paths.login + query)


def _set_cookie(value: str) -> bytes:
    """Return the lines of an answer that sets a cookie, which is nobody else's."""
    return f"Set-Cookie: {value}\r\nCache-Control: no-store\r\n".encode("latin-1")
