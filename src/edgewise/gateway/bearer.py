"""Bearer tokens of requests (RFC 6750): where they stand, and what is answered to those that are not good."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewise.contracts.identity import Identity
from edgewise.contracts.policies import Denial
from edgewise.gateway.jwt import Outcome, TokenVerifier
from edgewise.gateway.jwt_keys import KeysUnavailable
from edgewise.http.head import RequestHead

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import Answer

_AUTHORIZATION = b"authorization"
_BEARER = b"authorization: bearer "
_START = len(_BEARER)
_NO_TOKEN = "The Authorization field has no bearer token."
_SEVERAL = "The request has more than one token."
_UNAVAILABLE = "The token cannot be verified at the moment."


@dataclass(frozen=True)
class Places:
    """Where tokens are looked for; a request has one of them at most."""

    header: bytes | None = _AUTHORIZATION
    """Lower-case; in Authorization the token follows `Bearer`, in others it stands alone."""
    cookie: bytes | None = None
    query: bytes | None = None


class BadRequest(Exception):
    """The request has a token in a way that is none (RFC 6750 section 3.1, invalid_request)."""


class BearerTokens:
    """A `contracts.policies.Authenticator` for JWTs."""

    def __init__(self, verifier: TokenVerifier, places: Places, realm: str) -> None:
        self.challenge = b'Bearer realm="%b"' % realm.encode()
        self._verifier = verifier
        self._places = places
        self._plain = places == Places()

    def authenticate(self, exchange: Exchange) -> Identity | Denial | Awaitable[Identity | Denial | None] | None:
        """Return whose token a request has."""
        try:
            request = exchange.plan.request
            token = _lone_token(request) if self._plain else None
            if token is None:
                token = find_token(request, self._places)
        except BadRequest as error:
            return self._denial(400, "invalid_request", str(error))
        if token is None:
            return None
        outcome = self._verifier.verify(token)
        if isinstance(outcome, Identity):
            return outcome
        return self._refusal(outcome) if isinstance(outcome, Exception) else self._wait(outcome)

    def begin(self, exchange: Exchange) -> Answer | None:
        """Return None: a client has to get its token elsewhere."""
        return None

    async def _wait(self, verifying: Awaitable[Outcome]) -> Identity | Denial:
        outcome = await verifying
        return outcome if isinstance(outcome, Identity) else self._refusal(outcome)

    def _refusal(self, error: Exception) -> Denial:
        if isinstance(error, KeysUnavailable):
            return Denial(503, "auth", _UNAVAILABLE, ((b"Retry-After", b"%d" % error.retry_after),), str(error))
        return self._denial(401, "invalid_token", str(error))

    def _denial(self, status: int, error: str, text: str) -> Denial:
        """Return a refusal (RFC 6750 section 3)."""
        value = b'%b, error="%b", error_description="%b"' % (self.challenge, error.encode(), text.encode())
        return Denial(status, "auth", text, ((b"WWW-Authenticate", value),))


def _lone_token(request: RequestHead) -> bytes | None:
    """Return the token of a request as most are: in an Authorization that stands apart, as its lines are kept.

    Lines with another Authorization are not.
    """
    secret = request.secret
    if secret[:_START].lower() != _BEARER or not request.lines.kept:
        return None
    token = secret[_START:-2]
    return None if b" " in token else token


def authorization(request: RequestHead) -> bytes | None:
    """Return the bearer token in Authorization (RFC 6750 section 2.1), None where there is none. Raises BadRequest."""
    value = _field(request, _AUTHORIZATION)
    if value is None:
        return None
    scheme, _, token = value.partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    token = token.lstrip(b" ")
    if not token or b" " in token:
        raise BadRequest(_NO_TOKEN)
    return token


def find_token(request: RequestHead, places: Places) -> bytes | None:
    """Return the one token of a request. Raises BadRequest where there are more, or something else in its place."""
    found: list[bytes] = []
    if places.header is not None:
        token = authorization(request) if places.header == _AUTHORIZATION else _field(request, places.header)
        found += [token] if token is not None else []
    if places.cookie is not None:
        found += _cookies(request, places.cookie)
    if places.query is not None and request.query:
        pairs = (pair.partition(b"=") for pair in request.query.split(b"&"))
        found += [value for name, _, value in pairs if name == places.query]
    if len(found) > 1:
        raise BadRequest(_SEVERAL)
    return found[0] if found else None


def _field(request: RequestHead, name: bytes) -> bytes | None:
    """Return the value of a field. Raises BadRequest where there is more than one."""
    found = None
    secret = request.secret
    size = len(name)
    if secret[size : size + 1] == b":" and secret[:size].lower() == name:
        found = secret[size + 1 :].strip(b" \t\r\n")
    lines = request.lines
    for field in lines.before + lines.after if lines.after else lines.before:
        if field.name == name:
            if found is not None:
                raise BadRequest(_SEVERAL)
            found = field.value
    return found


def _cookies(request: RequestHead, name: bytes) -> list[bytes]:
    found = []
    for field in request.fields:
        if field.name == b"cookie":
            pairs = (pair.strip(b" \t").partition(b"=") for pair in field.value.split(b";"))
            found += [value for key, _, value in pairs if key == name]
    return found
