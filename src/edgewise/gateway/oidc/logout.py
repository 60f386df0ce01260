"""Logging out: the user's own wish (RP-Initiated Logout 1.0), and the provider's (Back-Channel Logout 1.0)."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from edgewise.contracts.logins import LoginError
from edgewise.contracts.plan import Answer
from edgewise.contracts.policies import gathered
from edgewise.contracts.state import StateError
from edgewise.gateway.oidc import kept
from edgewise.gateway.oidc.id_token import NotGood
from edgewise.gateway.oidc.provider import ProviderError
from edgewise.gateway.oidc.requests import (
    NOT_KEPT,
    authority,
    cookie_fields,
    from_own_page,
    note,
    origin,
    page,
    redirect,
)

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.logins import Logins
    from edgewise.gateway.oidc.client import Client
    from edgewise.gateway.oidc.provider import Provider
    from edgewise.gateway.oidc.records import Records
    from edgewise.gateway.oidc.verifying import Verifying

_log = logging.getLogger("edgewise.oidc")
_MOST_CONTENT = 65_536
_FORM = b"application/x-www-form-urlencoded"
_STILL = "You are still logged in"
_ASK = '<p>Do you want to log out?</p><form method="post"><button>Log out</button></form>'


class Logout:
    """Ends sessions."""

    def __init__(
        self, client: Client, provider: Provider, verifying: Verifying, logins: Logins, records: Records
    ) -> None:
        self._client = client
        self._provider = provider
        self._verifying = verifying
        self._logins = logins
        self._records = records

    # ---- by the user -------------------------------------------------------------------------------------------------

    async def leave(self, exchange: Exchange) -> Answer:
        """End the session and go on to the provider, so that it ends its own.

        Another site can send a browser here, but only to the question whether the user wants that.
        """
        head = exchange.plan.request
        if head.method not in (b"GET", b"POST"):
            return Answer(405, ((b"Allow", b"GET, POST"),), b"")
        if not from_own_page(head, secure=self._logins.secure):
            if head.method == b"POST":
                note(exchange, "the logout is asked for by another site")
                return page(403, _STILL, "<p>The request does not come from a page of this site.</p>")
            return page(200, "Log out", _ASK)
        try:
            return await self._leave(exchange)
        except (StateError, LoginError) as error:
            note(exchange, str(error))
            return page(503, _STILL, "<p>The session cannot be ended at the moment.</p>")

    async def _leave(self, exchange: Exchange) -> Answer:
        head = exchange.plan.request
        host = authority(head)
        opened = self._logins.open(cookie_fields(head), host)
        session = await opened if isinstance(opened, Awaitable) else opened
        login = kept.kept_of(session, self._client)
        tokens = kept.tokens_of(session)
        handle = self._logins.handle(session)
        session.logout()
        cookies = await self._logins.commit(session, host)
        if login is None:
            return redirect(self._client.spec.after_logout, cookies)
        await self._records.forget(login.named, handle)
        hint = tokens.id_token if tokens is not None else ""
        return redirect(await self._next(origin(head, secure=self._logins.secure), hint), cookies)

    async def _next(self, own: str, hint: str) -> str:
        """Return where to go: the provider's end_session_endpoint, where it has one."""
        after = self._client.spec.after_logout
        try:
            end_session = (await self._provider.metadata()).end_session
        except ProviderError as error:
            _log.warning("%s: the provider is not told of a logout: %s", self._client.name, error)
            end_session = None
        if end_session is None:
            return after
        told = {"id_token_hint": hint} if hint else {}
        told |= {"client_id": self._client.spec.client_id, "post_logout_redirect_uri": own + after}
        return end_session + ("&" if "?" in end_session else "?") + urlencode(told)

    # ---- by the provider ---------------------------------------------------------------------------------------------

    async def told(self, exchange: Exchange) -> Answer:
        """End the sessions that a logout token names, on every worker and node."""
        head = exchange.plan.request
        if head.method != b"POST":
            return Answer(405, ((b"Allow", b"POST"),), b"")
        try:
            if not await self._records.are_kept():
                note(exchange, "without a state engine no session can be ended from elsewhere")
                return _refused(501, "invalid_request")
            token = _token(head.get(b"content-type"), await _content(exchange))
            claims = await self._verifying.logout(token)
            if not await self._records.use("jti", claims["jti"]):
                raise NotGood("it was used already")
            ended = await self._records.log_out(claims)
            for user, handle in ended:
                await self._logins.end(user, handle)
                await self._records.forget(claims, handle)
        except NotGood as error:
            note(exchange, f"the logout token is refused: {error}")
            return _refused(400, "invalid_request")
        except (ProviderError, StateError, LoginError) as error:
            note(exchange, str(error))
            return _refused(503, "temporarily_unavailable")
        _log.info("%s: the provider ended %d sessions", self._client.name, len(ended))
        return Answer(200, NOT_KEPT, b"")


async def _content(exchange: Exchange) -> bytes:
    content = gathered(exchange, _MOST_CONTENT, "auth")
    return await content if isinstance(content, Awaitable) else content


def _token(media_type: bytes | None, content: bytes) -> str:
    """Return the logout token of a form. Raises NotGood."""
    if media_type is None or media_type.partition(b";")[0].strip(b" \t").lower() != _FORM:
        raise NotGood("the request is no form")
    try:
        pairs = parse_qsl(content.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16)
    except ValueError:
        raise NotGood("the form cannot be read") from None
    tokens = [value for name, value in pairs if name == "logout_token"]
    if len(tokens) != 1:
        raise NotGood("there is no logout token, or more than one")
    return tokens[0]


def _refused(status: int, error: str) -> Answer:
    """Return the error answer of Back-Channel Logout section 2.8."""
    fields = ((b"Content-Type", b"application/json"), *NOT_KEPT)
    return Answer(status, fields, json.dumps({"error": error}).encode())
