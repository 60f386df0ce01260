"""What the engine needs of a compiled configuration."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from edgewise.http.head import RequestHead

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Upstream
    from edgewise.contracts.plan import Params, Route


@dataclass(slots=True, frozen=True)
class Limits:
    """Bounds of a worker: bytes, counts, seconds."""

    head_bytes: int = 16384
    head_fields: int = 100
    header_timeout: float = 10.0
    keepalive_timeout: float = 75.0
    send_timeout: float = 60.0
    min_rate: int = 240
    """Bytes a second below which a client's sending or reading is cut off; 0 for no bound."""
    max_connections: int = 16384
    http2: bool = True
    """HTTP/2 is spoken where clients ask for it."""
    http2_streams: int = 128
    """Streams that a client may have open on one connection."""
    http2_address_glitches: int = 4096
    """Requests in vain, or as much else, from one address in half a minute before it is refused; 0 for no bound."""
    memo_entries: int = 4096
    memo_bytes: int = 16 << 20


class TlsContexts(Protocol):
    """Chooses the TLS settings of a connection before its handshake."""

    def choose(self, server_name: str | None) -> ssl.SSLContext:
        """Return the context for a ClientHello's server name."""

    def challenge(self, server_name: str | None) -> ssl.SSLContext | None:
        """Return the context that answers a tls-alpn-01 challenge (RFC 8737); None where none is under way."""

    def certified(self, host: str) -> bool:
        """Is there a certificate for this very host?"""

    def refresh(self, challenges: Mapping[str, str]) -> None:
        """Load what edgewise got since; answer challenges: name -> file of the certificate. Raises TlsError."""

    def key(self, server_name: str | None) -> str:
        """Return a key equal for names whose connections may be shared (same client-certificate policy)."""


Match = Callable[[RequestHead], "tuple[Route, Params] | Refusal"]
"""Finds the route of a request."""


class PlainMatch(Protocol):
    """Finds the route of a request that came without TLS."""

    def for_peers(self, *, trusted: bool) -> Match:
        """Return how requests of peers match; `trusted`: they are `trusted_proxies`."""

    def with_tokens(self, tokens: Mapping[str, str]) -> PlainMatch:
        """Return the same that answers these http-01 challenges: token -> key authorization (RFC 8555 section 8.3)."""


@dataclass(slots=True, frozen=True)
class Refusal:
    """No route answers: 404, or 405 with the methods that would have matched (RFC 9110 section 15.5.6)."""

    status: int
    allow: tuple[bytes, ...] = ()


@dataclass(slots=True, frozen=True)
class TcpRoute:
    """A layer 4 route: the upstream by server name, else the default; None: the connection is closed."""

    route: Route
    default: Upstream | None
    by_name: Callable[[str], Upstream | None] | None = None
    """Server name -> upstream; None: the ClientHello is not looked at."""
    accept_proxy_protocol: bool = False


@dataclass(slots=True, frozen=True)
class Table:
    """One generation of the configuration, immutable but for the upstreams' live state."""

    generation: int
    match: Match
    routes: tuple[Route, ...]
    upstreams: dict[str, Upstream]
    unmatched: Route
    """Stands for requests that no route answers or that were refused, in logs and counters."""
    match_internal: Match | None = None
    """The same with internal routes, for targets of X-Accel-Redirect; None where there are no internal routes."""
    limits: Limits = field(default_factory=Limits)
    is_trusted: Callable[[str], bool] = lambda ip: False
    """Is this peer address one of `trusted_proxies`?"""
    accept_proxy_protocol: bool = False
    contexts: TlsContexts | None = None
    match_plain: PlainMatch | None = None
    """In place of `match` on plain listeners where those redirect to HTTPS or answer challenges."""
    match_tls: Match | None = None
    """In place of `match` on TLS listeners where answers differ there (Strict-Transport-Security)."""
    hsts: tuple[bytes, bytes] | None = None
    """The field Strict-Transport-Security, for what edgewise answers of itself over TLS."""
    own_routes: tuple[Route, ...] = ()
    """Routes that the configuration does not name: of `match_plain` and `match_tls`."""
    caches: object = None
    """What routes with a cache share, for the next table to go on with."""
    sessions: object = None
    """The gateway's sessions, for the next table to go on with."""
    gateway: object = None
    """What the policies of routes share, for the next table to go on with."""
    tcp: dict[str, TcpRoute] = field(default_factory=dict)
    """By the listen address as written in the configuration."""
