"""Logging in: the way to the provider and the way back (OpenID Connect Core 1.0 section 3.1)."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from edgewise.contracts.logins import LoginError
from edgewise.contracts.plan import Answer
from edgewise.contracts.state import StateError
from edgewise.gateway.oidc import kept
from edgewise.gateway.oidc.id_token import NotGood, unmet, user_of
from edgewise.gateway.oidc.provider import ProviderError, ProviderRefusal
from edgewise.gateway.oidc.requests import (
    NotUnderstood,
    authority,
    cookie_fields,
    local,
    note,
    origin,
    page,
    parameters,
    redirect,
)

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.logins import Logins
    from edgewise.gateway.oidc.attempts import Attempt, Attempts
    from edgewise.gateway.oidc.client import Client
    from edgewise.gateway.oidc.provider import Metadata, Provider
    from edgewise.gateway.oidc.records import Records
    from edgewise.gateway.oidc.verifying import Verifying

_log = logging.getLogger("edgewise.oidc")
_MOST_CODE = 4096
_AGAIN = '<p>You can <a href="{login}">log in again</a>.</p>'
_REFUSALS = {
    "access_denied": "The login was not allowed, or it was cancelled.",
    "login_required": "The provider wants you to log in there first.",
    "interaction_required": "The provider wants you to log in there first.",
    "consent_required": "The provider wants your consent first.",
    "temporarily_unavailable": "The provider is too busy at the moment.",
}
"""`error` of an authorization response (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6) -> in words."""
_UNKNOWN = "The login did not begin in this browser, took too long, or was used already."
_NOT_NOW = "The provider cannot be asked at the moment."
_NOT_KEPT = "The login cannot be kept at the moment."


class _Failed(Exception):
    """A login comes to nothing: what the user is told, and what the log is."""

    def __init__(self, status: int, text: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.text = text


class Login:
    """Begins logins, and ends them when the browser comes back."""

    def __init__(
        self,
        client: Client,
        provider: Provider,
        verifying: Verifying,
        attempts: Attempts,
        logins: Logins,
        records: Records,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._provider = provider
        self._verifying = verifying
        self._attempts = attempts
        self._logins = logins
        self._records = records
        self._clock = clock
        self._again = _AGAIN.format(login=client.paths.login)

    # ---- there -------------------------------------------------------------------------------------------------------

    def begin(self, exchange: Exchange) -> Awaitable[Answer]:
        """Send the browser to the provider, to come back to the path in `next` afterwards."""
        return self._answered(exchange, self._begin)

    async def _begin(self, exchange: Exchange) -> Answer:
        head = exchange.plan.request
        back = local(parameters(head).get("next")) or "/"
        if back.partition("?")[0] in self._client.paths:
            back = "/"
        if not head.authority:
            raise NotUnderstood("no host is asked")
        metadata = await self._metadata()
        redirect_uri = origin(head, secure=self._logins.secure) + self._client.paths.callback
        attempt, cookies = await self._attempts.begin(redirect_uri, back, cookie_fields(head))
        return redirect(self._authorization(metadata, attempt), cookies)

    def _authorization(self, metadata: Metadata, attempt: Attempt) -> str:
        """Return the URL of the authorization request."""
        spec = self._client.spec
        asked = dict(spec.authorize_params)
        if spec.max_age is not None:
            asked["max_age"] = f"{spec.max_age:.0f}"
        asked |= {
            "response_type": "code",
            "client_id": spec.client_id,
            "redirect_uri": attempt.redirect_uri,
            "scope": " ".join(dict.fromkeys(("openid", *spec.scopes))),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in metadata.authorization else "?"
        return metadata.authorization + joint + urlencode(asked)

    # ---- and back ----------------------------------------------------------------------------------------------------

    def finish(self, exchange: Exchange) -> Awaitable[Answer]:
        """Take the provider's answer that the browser brings, begin the session and go back to where it was wanted."""
        return self._answered(exchange, self._finish)

    async def _finish(self, exchange: Exchange) -> Answer:
        head = exchange.plan.request
        given = parameters(head)
        attempt = await self._attempts.find(given.get("state", ""), cookie_fields(head))
        if attempt is None:
            raise _Failed(400, _UNKNOWN, "its state is that of no login of this browser")
        forgotten = self._attempts.ended(attempt)
        try:
            metadata = await self._metadata()
            self._check_issuer(metadata, given.get("iss"))
            if "error" in given:
                raise _refusal(given["error"])
            return await self._redeem(exchange, attempt, given.get("code", ""), forgotten)
        except _Failed as failed:
            note(exchange, str(failed))
            return page(failed.status, "You are not logged in", f"<p>{failed.text}</p>{self._again}", [forgotten])

    def _check_issuer(self, metadata: Metadata, told: str | None) -> None:
        """Refuse the answer of another provider (RFC 9207 section 2.4): its code is not sent anywhere."""
        if told is None and not metadata.says_issuer:
            return
        if told is None or not hmac.compare_digest(told.encode(), self._client.spec.issuer.encode()):
            raise _Failed(
                400, "The answer is not that of the provider.", "its iss is that of another provider, or none"
            )

    async def _redeem(self, exchange: Exchange, attempt: Attempt, code: str, forgotten: str) -> Answer:
        """Exchange the code for tokens, and those for a session."""
        if not 0 < len(code) <= _MOST_CODE or not code.isascii() or not code.isprintable():
            raise _Failed(400, _UNKNOWN, "there is no usable code")
        if await self._records.is_used(attempt.state):
            raise _Failed(400, _UNKNOWN, "the login was used already")
        try:
            tokens = await self._provider.redeem(code, attempt.verifier, attempt.redirect_uri)
            claims = await self._verifying.login(tokens, attempt.nonce)
        except ProviderRefusal as error:
            raise _Failed(400, _UNKNOWN, str(error)) from error
        except ProviderError as error:
            raise _Failed(502, _NOT_NOW, str(error)) from error
        except NotGood as error:
            raise _Failed(502, "The provider's answer cannot be trusted.", f"its ID token: {error}") from error
        user = self._admitted(claims)
        if not await self._records.use("state", attempt.state):
            raise _Failed(400, _UNKNOWN, "the login was used already")
        head = exchange.plan.request
        host = authority(head)
        opened = self._logins.open(cookie_fields(head), host)
        session = await opened if isinstance(opened, Awaitable) else opened
        session.login(user, self._client.name)
        left_out = kept.keep(session, self._client, claims, tokens, self._clock())
        if left_out:
            _log.warning("%s: %d groups of a user are left out", self._client.name, left_out)
        if not self._logins.sealed:
            kept.keep_tokens(session, self._client, tokens, self._clock())
        try:
            cookies = await self._logins.commit(session, host)
        except LoginError as error:
            raise _Failed(502, "The login cannot be kept.", str(error)) from error
        handle = self._logins.handle(session)
        if not await self._records.add(claims, user, handle, self._logins.lifetime):
            await self._logins.end(user, handle)
            raise _Failed(403, "The provider has logged you out.", "a logout overtook the login")
        return redirect(attempt.back, [*cookies, forgotten])

    def _admitted(self, claims: dict[str, object]) -> str:
        """Return who logs in, where the configuration lets such a user do so."""
        spec = self._client.spec
        wrong = unmet(claims, spec.require_claims)
        if wrong is not None:
            raise _Failed(403, "This account may not log in here.", f"the claim {wrong} is not as it must be")
        try:
            return user_of(claims, spec.user_claim)
        except NotGood as error:
            raise _Failed(403, "This account cannot be used here.", str(error)) from error

    # ---- both --------------------------------------------------------------------------------------------------------

    async def _metadata(self) -> Metadata:
        try:
            return await self._provider.metadata()
        except ProviderError as error:
            raise _Failed(502, _NOT_NOW, str(error)) from error

    async def _answered(self, exchange: Exchange, step: Callable[[Exchange], Awaitable[Answer]]) -> Answer:
        """Return the answer of a step, or the page that says why there is none."""
        try:
            if exchange.plan.request.method != b"GET":
                return Answer(405, ((b"Allow", b"GET"),), b"")
            return await step(exchange)
        except _Failed as failed:
            status, text, reason = failed.status, failed.text, str(failed)
        except NotUnderstood as error:
            status, text, reason = 400, "The address cannot be understood.", str(error)
        except StateError as error:
            status, text, reason = 503, _NOT_KEPT, str(error)
        note(exchange, reason)
        return page(status, "You are not logged in", f"<p>{text}</p>{self._again}")


def _refusal(error: str) -> _Failed:
    """Return why the provider sent the browser back without a code."""
    text = _REFUSALS.get(error)
    if text is None:
        return _Failed(502, "The provider refused the login.", f"the provider says {error[:64]!r}")
    return _Failed(503 if error == "temporarily_unavailable" else 403, text, f"the provider says {error}")
