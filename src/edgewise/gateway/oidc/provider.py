"""The provider: its discovery document, its token and userinfo endpoints. What it says is bounded and checked."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote_plus, urlencode

import msgspec

from edgewise.config.oidc import is_endpoint
from edgewise.contracts.policies import Fetched, FetchError

if TYPE_CHECKING:
    from edgewise.contracts.policies import Fetch, Fields
    from edgewise.gateway.oidc.client import Client

_FRESH = 3600.0
"""Seconds that a discovery document is used before it is asked for again."""
_PAUSE = 5.0
"""Seconds after a failure in which the provider is not asked for it again."""
_TIMEOUT = 10.0
_MOST = 1 << 18
"""Bytes of an answer."""
_MOST_TOKEN = 16_384
_MOST_WAITING = 64
"""Requests of a worker that wait for the provider at once: a flood of callbacks does not become one of the provider."""
_TOKEN68 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=")
_FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
_JSON = (b"Accept", b"application/json")


class ProviderError(Exception):
    """The provider cannot be asked, or says what cannot be used; the text is for the log."""


class ProviderRefusal(ProviderError):
    """The token endpoint refused (RFC 6749 section 5.2)."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the provider refuses: {code[:64]!r}")
        self.code = code


class Metadata(NamedTuple):
    """What a provider says of itself (OpenID Connect Discovery 1.0 section 3)."""

    authorization: str
    token: str
    jwks: str
    userinfo: str | None
    end_session: str | None
    says_issuer: bool
    """Its authorization responses have `iss` (RFC 9207 section 3)."""


class Tokens(NamedTuple):
    """An answer of the token endpoint (RFC 6749 section 5.1, OpenID Connect Core 1.0 section 3.1.3.3)."""

    access: str
    expires_in: float | None
    refresh: str | None
    id_token: str | None
    scope: str | None


class Provider:
    """Asks one provider in the name of one client."""

    def __init__(self, client: Client, fetch: Fetch, clock: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._fetch = fetch
        self._clock = clock
        self._metadata: Metadata | None = None
        self._asked = float("-inf")
        """When the document was asked for last."""
        self._failed: str | None = None
        """Why that failed."""
        self._asking: asyncio.Task[Metadata] | None = None
        self._waiting = 0

    async def metadata(self) -> Metadata:
        """Return what the provider says of itself; a document it had once is used while it cannot be asked again."""
        age = self._clock() - self._asked
        if self._metadata is not None and age < (_FRESH if self._failed is None else _PAUSE):
            return self._metadata
        if self._asking is None or self._asking.done():
            if self._metadata is None and self._failed is not None and age < _PAUSE:
                raise ProviderError(self._failed)
            self._asking = asyncio.get_running_loop().create_task(self._discover())
        try:
            return await asyncio.shield(self._asking)
        except ProviderError:
            if self._metadata is None:
                raise
            return self._metadata

    async def _discover(self) -> Metadata:
        self._asked = self._clock()
        url = self._client.spec.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            answer = await self._ask("GET", url, (_JSON,))
            if answer.status != 200:
                raise ProviderError(f"its discovery document is answered with {answer.status}")
            self._metadata = read_metadata(_object(answer.content), self._client.spec.issuer)
        except ProviderError as error:
            self._failed = str(error)
            raise
        self._failed = None
        return self._metadata

    async def redeem(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Return the tokens for a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5)."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        return await self._tokens(form)

    async def refresh(self, token: str) -> Tokens:
        """Return new tokens for a refresh token (RFC 6749 section 6)."""
        return await self._tokens({"grant_type": "refresh_token", "refresh_token": token})

    async def _tokens(self, form: dict[str, str]) -> Tokens:
        client = self._client
        fields: list[tuple[bytes, bytes]] = [_FORM, _JSON]
        if client.secret is None or client.spec.client_auth == "post":
            form["client_id"] = client.spec.client_id
            if client.secret is not None:
                form["client_secret"] = client.secret
        else:  # each of them form-encoded first (RFC 6749 section 2.3.1)
            pair = f"{quote_plus(client.spec.client_id)}:{quote_plus(client.secret)}"
            fields.append((b"Authorization", b"Basic " + base64.b64encode(pair.encode())))
        metadata = await self.metadata()
        answer = await self._ask("POST", metadata.token, tuple(fields), urlencode(form).encode())
        found = _object(answer.content)
        if answer.status != 200:
            error = found.get("error")
            raise ProviderRefusal(error if isinstance(error, str) else f"status {answer.status}")
        return read_tokens(found)

    async def userinfo(self, access: str) -> dict[str, Any]:
        """Return claims of the user whose access token it is (OpenID Connect Core 1.0 section 5.3)."""
        metadata = await self.metadata()
        if metadata.userinfo is None:
            raise ProviderError("it has no userinfo endpoint")
        answer = await self._ask("GET", metadata.userinfo, (_JSON, (b"Authorization", b"Bearer " + access.encode())))
        if answer.status != 200:
            raise ProviderError(f"its userinfo endpoint answers with {answer.status}")
        return _object(answer.content)

    async def _ask(self, method: str, url: str, fields: Fields, content: bytes = b"") -> Fetched:
        if self._waiting >= _MOST_WAITING:
            raise ProviderError("too many requests wait for it")
        self._waiting += 1
        try:
            return await self._fetch(method, url, fields=fields, content=content, timeout=_TIMEOUT, most=_MOST)
        except FetchError as error:
            raise ProviderError(str(error)) from error
        finally:
            self._waiting -= 1


def read_metadata(document: dict[str, Any], issuer: str) -> Metadata:
    """Return what a discovery document says that names `issuer` and no other (Discovery section 4.3)."""
    if document.get("issuer") != issuer:
        raise ProviderError("its discovery document is that of another issuer")
    return Metadata(
        _endpoint(document, "authorization_endpoint"),
        _endpoint(document, "token_endpoint"),
        _endpoint(document, "jwks_uri"),
        _optional_endpoint(document, "userinfo_endpoint"),
        _optional_endpoint(document, "end_session_endpoint"),
        document.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(document: dict[str, Any], key: str) -> str:
    url = document.get(key)
    if not isinstance(url, str) or not is_endpoint(url):
        raise ProviderError(f"its discovery document has no usable {key}")
    return url


def _optional_endpoint(document: dict[str, Any], key: str) -> str | None:
    return None if document.get(key) is None else _endpoint(document, key)


def read_tokens(found: dict[str, Any]) -> Tokens:
    """Return the tokens of an answer. Raises ProviderError for what is none (RFC 6750 section 4: Bearer alone)."""
    kind, expires = found.get("token_type"), found.get("expires_in")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ProviderError("its tokens are of a type that is not known")
    access = _token(found, "access_token")
    if access is None:
        raise ProviderError("its answer has no access token")
    if isinstance(expires, str) and expires.isascii() and expires.isdigit() and len(expires) < 10:
        expires = int(expires)  # as some say it
    seconds = float(expires) if isinstance(expires, int | float) and not isinstance(expires, bool) else None
    scope = found.get("scope")
    return Tokens(
        access,
        seconds if seconds is None or 0.0 <= seconds < 1e9 else None,
        _token(found, "refresh_token"),
        _token(found, "id_token"),
        scope if isinstance(scope, str) and len(scope) <= 4096 else None,
    )


def _token(found: dict[str, Any], key: str) -> str | None:
    """Return a token fit for a header field; None where there is none."""
    token = found.get(key)
    if token is None:
        return None
    if not isinstance(token, str) or not 0 < len(token) <= _MOST_TOKEN or not token.isascii():
        raise ProviderError(f"its {key} cannot be used")
    usual = _TOKEN68.issuperset(token.encode())
    if not usual and (key != "refresh_token" or not token.isprintable()):
        raise ProviderError(f"its {key} has characters that no token has")
    return token


def _object(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProviderError("its answer is no JSON object") from None
