"""From the tokens that a provider gives to claims that were verified."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgewise.contracts.policies import FetchError
from edgewise.gateway.jwt import signed_claims
from edgewise.gateway.jwt_keys import Jwks, KeysUnavailable
from edgewise.gateway.oidc.id_token import NotGood, check_id_token, check_logout_token
from edgewise.gateway.oidc.provider import Provider, ProviderError
from edgewise.protocols.jws import TokenError

if TYPE_CHECKING:
    from edgewise.contracts.policies import Fetch
    from edgewise.gateway.oidc.client import Client
    from edgewise.gateway.oidc.provider import Tokens

_LOGOUT_TYPES = ("", "jwt", "logout+jwt")


class Verifying:
    """Verifies what one provider signed for one client, by the keys that its discovery document leads to."""

    def __init__(
        self, client: Client, provider: Provider, fetch: Fetch, clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._provider = provider
        self._clock = clock
        self.keys = Jwks(self._url, fetch)

    async def _url(self) -> str:
        try:
            return (await self._provider.metadata()).jwks
        except ProviderError as error:
            raise FetchError(str(error)) from error

    async def login(self, tokens: Tokens, nonce: str) -> dict[str, Any]:
        """Return the claims of who logs in, those of the userinfo endpoint too where it is to be asked.

        Raises NotGood or ProviderError.
        """
        if tokens.id_token is None:
            raise NotGood("there is no ID token")
        claims = await self._id_token(tokens.id_token, tokens.access, nonce)
        return await self._with_userinfo(claims, tokens.access)

    async def refreshed(self, tokens: Tokens, sub: str) -> dict[str, Any] | None:
        """Return the claims that came with a refresh, of the same subject; None where there are none.

        Raises NotGood or ProviderError.
        """
        if tokens.id_token is None:
            return None
        claims = await self._id_token(tokens.id_token, tokens.access, None)
        if claims["sub"] != sub:
            raise NotGood("it is of another subject")
        return await self._with_userinfo(claims, tokens.access)

    async def _id_token(self, token: str, access: str, nonce: str | None) -> dict[str, Any]:
        algorithm, _, claims = await self._signed(token)
        check_id_token(algorithm, claims, self._client.spec, self._clock(), nonce=nonce, access=access)
        return claims

    async def _with_userinfo(self, claims: dict[str, Any], access: str) -> dict[str, Any]:
        if not self._client.spec.userinfo:
            return claims
        told = await self._provider.userinfo(access)
        if told.get("sub") != claims["sub"]:  # OpenID Connect Core 1.0 section 5.3.2
            raise NotGood("its userinfo is that of another subject")
        return {**told, **claims}

    async def logout(self, token: str) -> dict[str, Any]:
        """Return the claims of a logout token. Raises NotGood or ProviderError."""
        _, kind, claims = await self._signed(token)
        if kind not in _LOGOUT_TYPES:
            raise NotGood("it is a token of another type")
        check_logout_token(claims, self._client.spec, self._clock())
        return claims

    async def _signed(self, token: str) -> tuple[str, str, dict[str, Any]]:
        """Return algorithm, type and claims of a token whose signature is good."""
        try:
            head, claims = await signed_claims(token.encode("ascii", "replace"), self.keys)
        except TokenError as error:
            raise NotGood(str(error)) from error
        except KeysUnavailable as error:
            raise ProviderError(str(error)) from error
        return head.algorithm, head.typ, claims
