"""The doors for what requests must pass before they go on: policies, ways to authenticate, and what both may need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from edgewise.contracts.identity import Identity
from edgewise.contracts.plan import Answer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

POLICIES = (
    "maintenance", "ip", "cors", "rate-limit", "rate-limit-dry-run", "concurrency", "auth", "authorize", "idempotency",
    "transform", "transcode",
)  # fmt: skip
"""Names of all that may refuse a request, as logs (`end` is "edge-" and the name) and metrics have them."""

Fields: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""(name, value) of header fields."""


class Denial(NamedTuple):
    """A request does not pass: answered with problem details (RFC 9457)."""

    status: int
    policy: str
    """One of POLICIES."""
    detail: str
    """What the client is told; never more than it may know."""
    fields: Fields = ()
    """Such as WWW-Authenticate and Retry-After."""
    reason: str = ""
    """For the log, where it may say more than `detail`."""
    page: tuple[bytes, bytes] | None = None
    """(Content-Type, content) that browsers get in place of the problem details."""


Outcome: TypeAlias = Answer | Denial | None
"""None: the request goes on. An Answer ends it without being a refusal: a preflight, a login page to go to."""

Policy: TypeAlias = "Callable[[Exchange], Outcome | Awaitable[Outcome]]"
"""Looks at a request. It may set `exchange.identity`, `forward_lines`, `answer_lines`, and add to `held`."""

Verified: TypeAlias = Identity | Denial | Answer | None


class Refused(Exception):
    """Raised by a policy in place of returning its Denial, from within a function that it calls."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.detail)
        self.denial = denial


def gathered(exchange: Exchange, most: int, policy: str) -> bytes | Awaitable[bytes]:
    """Return the whole content of a request (b"" where it has none), at once where all of it is here.

    It is read only now: a client that waits for 100 (Continue) is told to send it. `most`: bytes, past which Refused is
    raised with a Denial of `policy` (413). What was gathered still goes on to the server, unless it is replaced
    (`exchange.body.replace`). To be called by policies, before a server is chosen.
    """
    if exchange.body is None:
        return b""
    content: bytes | Awaitable[bytes] = exchange.body.gather(most, policy)
    return content


class Authenticator(Protocol):
    """One way to tell who asks."""

    challenge: bytes
    """For WWW-Authenticate (RFC 9110 section 11.6.1); b"" where the way has none."""

    def authenticate(self, exchange: Exchange) -> Verified | Awaitable[Verified]:
        """Return who asks; None where the request has no credential of this kind; a Denial where it has one that is
        not good; an Answer to a request that is part of the way itself, such as the return from a login."""

    def begin(self, exchange: Exchange) -> Answer | None:
        """Nobody was verified: return where to send the client so that it can be; None: it gets 401."""


class Telling(Protocol):
    """Tells servers who asks."""

    def tell(self, exchange: Exchange) -> None:
        """Add what servers are told of `exchange.identity` to its `forward_lines`."""

    def tell_other(self, exchange: Exchange, identity: Identity | None) -> None:
        """Make `identity` the exchange's, and tell it in place of what was told before."""


class Service(Protocol):
    """What policies need done aside from requests, in each worker; kept over reloads while its settings stay."""

    async def run(self) -> None:
        """Do it until cancelled. An exception is logged, and it is run again after a while."""


class Fetched(NamedTuple):
    """An answer that edgewise asked for itself."""

    status: int
    fields: Fields
    """Names in lower case."""
    content: bytes

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of the field `name` (lower-case), or None."""
        return next((value for key, value in self.fields if key == name), None)


class FetchError(Exception):
    """No answer came, or none that could be used; the text says why, without secrets."""


class Fetch(Protocol):
    """Asks an http or https server in the name of edgewise itself, such as an identity provider."""

    def __call__(
        self,
        method: str,
        url: str,
        *,
        fields: Fields = (),
        content: bytes = b"",
        timeout: float = 5.0,
        most: int = 1 << 20,
    ) -> Awaitable[Fetched]:
        """Return the answer, of at most `most` bytes, within `timeout` seconds; redirects are answers too.

        Raises FetchError.
        """


class Ask(Protocol):
    """Asks a server of an upstream about a request, by the engine's own way to it."""

    def __call__(self, exchange: Exchange, target: bytes, lines: bytes, *, timeout: float) -> Awaitable[Fetched]:
        """Return the answer to a GET of `target` with these field lines, each with its CRLF, within `timeout` seconds.

        Host, X-Forwarded-For, X-Request-ID and traceparent are added. Raises FetchError.
        """
