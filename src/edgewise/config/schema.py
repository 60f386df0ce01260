"""The whole configuration as one model: each key, its type, its default and what it means."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from edgewise.config.authorize import DecisionLog
from edgewise.config.caching import CacheMemory, RouteCache
from edgewise.config.cluster import Cluster
from edgewise.config.consumers import Consumer
from edgewise.config.credentials import CONSUMERS
from edgewise.config.database import Database
from edgewise.config.identity import Identity
from edgewise.config.jwt import Jwt
from edgewise.config.oidc import Oidc
from edgewise.config.policies import Policies
from edgewise.config.routes import HeaderEdits, Redirect, Respond, Route, RouteTimeouts, TunnelTimeouts
from edgewise.config.sessions import Sessions
from edgewise.config.signatures import Signature
from edgewise.config.state import State
from edgewise.config.static import Static
from edgewise.config.tls import Acme, Certificate, ClientAuth, ExternalAccount, Hsts, Tls, TlsHost
from edgewise.config.types import (
    Count,
    Duration,
    HostName,
    ListenAddress,
    LogPath,
    Model,
    Name,
    Network,
    PositiveCount,
    PositiveDuration,
    Size,
    Text,
)
from edgewise.config.upstreams import (
    Breaker,
    Eject,
    Health,
    Hedge,
    Retry,
    Sticky,
    Upstream,
    UpstreamServer,
    UpstreamTimeouts,
    UpstreamTls,
)

__all__ = [
    "AccessLog", "Acme", "Breaker", "CacheMemory", "Certificate", "ClientAuth", "Cluster", "Config", "Database",
    "Eject", "ExternalAccount", "HeaderEdits", "Health", "Hedge", "Hsts", "Model", "Redirect", "Respond", "Retry",
    "Route", "RouteCache", "RouteTimeouts", "Server", "Sessions", "State", "Static", "Sticky", "TcpRoute", "Tls",
    "TlsHost", "TunnelTimeouts", "Upstream", "UpstreamServer", "UpstreamTimeouts", "UpstreamTls",
]  # fmt: skip


def _off_is_none(value: Any) -> Any:
    return None if value == "off" else value


def _of_consumers(level: Policies) -> bool:
    """Are there credentials of consumers that may come?"""
    if level.auth is None:
        return False
    basic = level.auth.basic
    return level.auth.api_keys is not None or (basic is not None and basic.users == CONSUMERS)


class Server(Model):
    """Listeners, workers and the limits of every connection."""

    listen: list[ListenAddress] = Field(default=["127.0.0.1:8080"])
    """Addresses for plain HTTP: "host:port", "[IPv6]:port", ":port" on every IPv4 address, "unix:/path"."""
    tls_listen: list[ListenAddress] = Field(default=[])
    """Addresses for HTTPS."""
    workers: PositiveCount = Field(default_factory=lambda: os.cpu_count() or 1)
    """Worker processes; by default one a core."""
    admin: Annotated[ListenAddress | None, BeforeValidator(_off_is_none)] = "127.0.0.1:9900"
    """Address of the admin API, /metrics and /healthz; "off" for none."""
    trusted_proxies: list[Network] = Field(default=[])
    """Addresses and networks of proxies in front, whose X-Forwarded-* fields are believed."""
    accept_proxy_protocol: bool = False
    """Expect a PROXY protocol header on each connection."""
    drain_timeout: Duration = 30.0
    """Time that requests under way may take to end at shutdown."""
    head_bytes: Annotated[Size, Field(ge=1024, le=1_048_576)] = 16384
    """Size of a request or response head at most."""
    head_fields: Annotated[int, Field(ge=10, le=10_000)] = 100
    """Header fields of a message at most."""
    header_timeout: PositiveDuration = 10.0
    """Time within which a request head must be complete."""
    keepalive_timeout: PositiveDuration = 75.0
    """Time an idle client connection is kept."""
    send_timeout: PositiveDuration = 60.0
    """Time without progress after which sending to a client is given up."""
    tunnel_timeout: PositiveDuration = 3600.0
    """Time without a byte in either direction after which a WebSocket or a layer 4 session is ended."""
    tunnel_lifetime: Duration = 0.0
    """Time a WebSocket or a layer 4 session may last at most; 0: no limit."""
    min_rate: Count = 240
    """Bytes a second at least at which clients must send and read; 0: no such limit."""
    max_connections: PositiveCount = 16384
    """Client connections of each worker at most."""
    http2: bool = True
    """Speak HTTP/2 with clients that want it: those that say so in the TLS handshake, or at once without TLS."""
    http2_max_concurrent_streams: Annotated[int, Field(ge=1, le=10_000)] = 128
    """Requests that a client may have under way on one HTTP/2 connection."""
    http2_address_glitches: Count = 4096
    """Requests in vain, or as much other vain work, on all HTTP/2 connections of one address to a worker within half a
    minute, after which it is refused new ones for half a minute; 0: no limit."""
    memo_bytes: Size = 16_777_216
    """Memory for remembered heads, of each listener in each worker; answers have a quarter of it for each route."""
    memo_entries: Count = 4096
    """Remembered heads of each worker at most."""


class AccessLog(Model):
    """Log of finished requests."""

    path: LogPath = "off"
    """File, "stdout" or "off"."""
    format: Literal["json", "combined"] = "json"
    """Format of the lines."""
    mask: list[Text] = Field(default=[])
    """Query parameters whose values are secrets, beside the usual ones such as "token", "key" and "password"."""
    show: list[Text] = Field(default=[])
    """Of the usual ones, those whose values are not secrets here, such as "code"."""


class TcpRoute(Model):
    """A layer 4 route: bytes of a listener go to an upstream unread."""

    listen: ListenAddress
    """Address to listen on."""
    upstream: str | None = None
    """Name of the upstream; with sni, that of connections whose name is not listed."""
    sni: dict[HostName, str] = Field(default={})
    """Names of upstreams by the host name in the TLS ClientHello (passthrough)."""
    accept_proxy_protocol: bool = False
    """Expect a PROXY protocol header on each connection."""
    timeouts: TunnelTimeouts = TunnelTimeouts()
    """Time limits."""


class Config(Model):
    """Everything edgewise is told. Without routes, exactly one upstream answers every request."""

    server: Server = Field(default_factory=Server)
    """Listeners, workers, limits."""
    access_log: AccessLog = AccessLog()
    """Log of finished requests."""
    decision_log: DecisionLog = DecisionLog()
    """Log of who was allowed what."""
    tls: Tls = Tls()
    """Certificates and TLS settings."""
    state: State | None = None
    """Shared state; without this table there is none, unless something configured needs it."""
    cluster: Cluster | None = None
    """What nodes share beside state; without this table each runs what its own file says."""
    database: Database | None = None
    """A database whose writes purge what was read of it; without this table none is listened to."""
    policies: Policies = Policies()
    """What all requests must pass."""
    hosts: dict[HostName, Policies] = Field(default={})
    """What requests for a host must pass, "*.example.com" for any name below: of several the most specific holds."""
    jwt: dict[Name, Jwt] = Field(default={})
    """Issuers whose tokens say who asks, by name."""
    oidc: dict[Name, Oidc] = Field(default={})
    """Providers that users log in at, by name."""
    signatures: dict[Name, Signature] = Field(default={})
    """How senders of webhooks and others sign their requests, by name."""
    identity: Identity = Identity()
    """How upstreams learn who asks."""
    consumers: dict[Name, Consumer] = Field(default={})
    """Who has credentials of their own, by name."""
    cache: CacheMemory = CacheMemory()
    """Room for answers that routes keep."""
    sessions: Sessions = Sessions()
    """Sessions held by the gateway."""
    upstreams: dict[Name, Upstream] = Field(default={})
    """Groups of servers, by name."""
    routes: list[Route] = Field(default=[])
    """Routes; their order does not matter."""
    tcp: list[TcpRoute] = Field(default=[])
    """Layer 4 routes."""

    def levels(self) -> list[Policies]:
        """Return every table that has policies."""
        upstreams = (upstream.policies for upstream in self.upstreams.values())
        return [*self.routes, *upstreams, *self.hosts.values(), self.policies]

    def secret_parameters(self) -> list[str]:
        """Return the names of query parameters that are secrets: those said to be, those of API keys and of tokens."""
        keys = (level.auth.api_keys for level in self.levels() if level.auth is not None)
        places = [*(key.query for key in keys if key is not None), *(issuer.query for issuer in self.jwt.values())]
        return [*self.access_log.mask, *(name for name in places if name is not None)]

    def holds_sessions(self) -> bool:
        """Does a route need sessions of the gateway, for itself or for logins?"""
        asked = any(level.auth is not None and level.auth.oidc is not None for level in self.levels())
        return asked or any(route.session is not None for route in self.routes)

    @model_validator(mode="after")
    def _default_state(self, info: ValidationInfo) -> Self:
        """Quotas, sessions, consumers, answers are kept somewhere, and strict limits counted."""
        limited = any(one.strict or one.counted == "fixed" for level in self.levels() for one in level.limits())
        held = self.holds_sessions() and self.sessions.mode == "stateful"
        added = not self.consumers and any(_of_consumers(level) for level in self.levels())
        keyed = any(level.idempotency is not None for level in self.levels())
        if self.state is None and (limited or held or added or keyed):
            object.__setattr__(self, "state", State.model_validate({}, context=info.context))
        return self

    @model_validator(mode="after")
    def _default_route(self) -> Self:
        if len(self.upstreams) == 1 and not self.routes and not self.tcp:
            object.__setattr__(self, "routes", [Route(upstream=next(iter(self.upstreams)))])
        return self
