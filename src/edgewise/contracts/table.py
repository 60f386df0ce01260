"""What the engine needs of a compiled configuration."""

from __future__ import annotations

import ssl
from collections.abc import Callable
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
    memo_entries: int = 4096
    memo_bytes: int = 16 << 20


class TlsContexts(Protocol):
    """Chooses the TLS settings of a connection before its handshake."""

    def choose(self, server_name: str | None) -> ssl.SSLContext:
        """Return the context for a ClientHello's server name."""

    def key(self, server_name: str | None) -> str:
        """Return a key equal for names whose connections may be shared (same client-certificate policy)."""


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
    match: Callable[[RequestHead], tuple[Route, Params] | Refusal]
    routes: tuple[Route, ...]
    upstreams: dict[str, Upstream]
    unmatched: Route
    """Stands for requests that no route answers or that were refused, in logs and counters."""
    match_internal: Callable[[RequestHead], tuple[Route, Params] | Refusal] | None = None
    """The same with internal routes, for targets of X-Accel-Redirect; None where there are no internal routes."""
    limits: Limits = field(default_factory=Limits)
    is_trusted: Callable[[str], bool] = lambda ip: False
    """Is this peer address one of `trusted_proxies`?"""
    accept_proxy_protocol: bool = False
    contexts: TlsContexts | None = None
    tcp: dict[str, TcpRoute] = field(default_factory=dict)
    """By the listen address as written in the configuration."""
