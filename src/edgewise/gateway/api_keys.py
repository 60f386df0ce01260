"""Who asks, by an API key in a header, in the query or in a cookie."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from edgewise.contracts.policies import Denial, Verified
from edgewise.gateway.consumers import Consumers

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.http.head import RequestHead

METHOD = "api_keys"
_UNKNOWN = Denial(401, "auth", "The API key is not valid.", reason="unknown API key")
_SEVERAL = Denial(401, "auth", "The request has more than one API key.", reason="several API keys")
NOT_KNOWN = Denial(
    503,
    "auth",
    "Credentials cannot be verified at the moment.",
    ((b"Retry-After", b"1"),),
    "consumers are not known yet",
)
Reader = Callable[["RequestHead"], list[bytes]]
"""Returns the keys in one place of a head; what is there and is no key of this kind is left out."""


class ApiKeyAuthenticator:
    """A `contracts.policies.Authenticator`."""

    def __init__(self, consumers: Consumers, readers: tuple[Reader, ...], challenge: bytes) -> None:
        """`readers`: of the places where a key may be; of several that have one the first counts."""
        self._consumers = consumers
        self._readers = readers
        self.challenge = challenge

    def authenticate(self, exchange: Exchange) -> Verified | Awaitable[Verified]:
        """Return whose key came with the request."""
        request = exchange.plan.request
        for read in self._readers:
            keys = read(request)
            if not keys:
                continue
            if len(keys) > 1:
                return _SEVERAL
            consumer = self._consumers.by_key(keys[0])
            if consumer is not None:
                return consumer.identity(METHOD)
            return _UNKNOWN if self._consumers.settled else self._wait(keys[0])
        return None

    async def _wait(self, key: bytes) -> Verified:
        """The same where it is not known yet who was added at run time."""
        if not await self._consumers.settle():
            return NOT_KNOWN
        consumer = self._consumers.by_key(key)
        return _UNKNOWN if consumer is None else consumer.identity(METHOD)

    def begin(self, exchange: Exchange) -> None:
        """Return None: a key is had before."""


# ---- where keys are --------------------------------------------------------------------------------------------------


def header_reader(name: bytes) -> Reader:
    """Return what reads a header; `name` in lower case."""

    prefix = name + b":"
    length = len(prefix)

    def read(request: RequestHead) -> list[bytes]:
        lines = request.lines
        found = [field.value for field in lines.before if field.name == name]
        if lines.after:
            found += [field.value for field in lines.after if field.name == name]
        if request.secret[:length].lower() == prefix:
            found.append(request.secret[length:].strip(b" \t\r\n"))
        return found

    return read


def authorization_reader(scheme: bytes) -> Reader:
    """Return what reads the credentials of a scheme in Authorization (RFC 9110 section 11.6.2)."""
    wanted = scheme.lower()

    def read(request: RequestHead) -> list[bytes]:
        return [key for value in authorizations(request) for key in _credentials(value, wanted)]

    return read


def authorizations(request: RequestHead) -> list[bytes]:
    """Return the values of Authorization."""
    return [field.value for field in request.fields if field.name == b"authorization"]


def _credentials(value: bytes, scheme: bytes) -> list[bytes]:
    found, _, rest = value.partition(b" ")
    return [rest.strip(b" ")] if found.lower() == scheme else []


def query_reader(name: bytes) -> Reader:
    """Return what reads a parameter of the query; values are percent-decoded, and "+" stands for itself."""

    def read(request: RequestHead) -> list[bytes]:
        if not request.query:
            return []
        pairs = (part.partition(b"=") for part in request.query.split(b"&"))
        return [unquote_to_bytes(value) for found, _, value in pairs if unquote_to_bytes(found) == name]

    return read


def cookie_reader(name: bytes) -> Reader:
    """Return what reads a cookie (RFC 6265 section 4.2.1)."""

    def read(request: RequestHead) -> list[bytes]:
        values = (field.value for field in request.fields if field.name == b"cookie")
        pairs = (pair.strip(b" \t").partition(b"=") for value in values for pair in value.split(b";"))
        return [value for found, equals, value in pairs if equals and found == name]

    return read


def without_parameter(target: bytes, name: bytes) -> bytes:
    """Return a request target without the parameters of that name in its query, however they are spelled."""
    path, mark, query = target.partition(b"?")
    if not mark:
        return target
    parts = query.split(b"&")
    kept = [part for part in parts if unquote_to_bytes(part.partition(b"=")[0]) != name]
    if len(kept) == len(parts):
        return target
    return path + b"?" + b"&".join(kept) if kept else path
