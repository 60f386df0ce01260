"""The tables of an upstream: where its servers are and how requests reach them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from edgewise.config.addresses import EXPECTED
from edgewise.config.policies import Policies
from edgewise.config.problems import BadValue, show
from edgewise.config.types import (
    Count,
    Duration,
    FileName,
    HashKey,
    HostName,
    ImportPath,
    Model,
    PathPrefix,
    PositiveCount,
    PositiveDuration,
    RetryCondition,
    ServerAddress,
    Share,
    Size,
    SrvName,
    StatusRange,
    Token,
)

Balance = Literal["round_robin", "least_connections", "random_two", "ewma", "ip_hash", "consistent_hash"]


class UpstreamServer(Model):
    """One server of an upstream. A text in place of the table is its address."""

    address: ServerAddress
    """"host:port", "[IPv6]:port", ":port" on 127.0.0.1, or "unix:/path"."""
    weight: PositiveCount = 1
    """Share of requests against the other servers."""
    backup: bool = False
    """Use only while no other server is available."""
    max_connections: Count = 0
    """Connections at once to this server; 0: the upstream's."""


class Sticky(Model):
    """Keep a client on the server that answered it first, by a signed cookie."""

    cookie: Token = "ew"
    """Name of the cookie."""
    secret: Annotated[str, Field(min_length=16)] | None = Field(default=None, repr=False)
    """Key that signs the cookie, at least 16 characters; by default one is made and kept by the server."""
    secure: bool = False
    """Mark the cookie Secure, so that browsers send it over TLS only."""
    max_age: PositiveDuration | None = None
    """Lifetime of the cookie; by default it ends with the browser's session."""


class Health(Model):
    """Active health checks."""

    path: PathPrefix | None = None
    """Path to ask for; its presence makes the check an HTTP request."""
    grpc: Annotated[str, Field(max_length=1000)] | None = None
    """Service to ask for by the gRPC health protocol, "" for the whole server; its presence makes the check a call."""
    type: Literal["http", "tcp", "grpc"] = "tcp"
    """Kind of check; by default "http" when path is set, "grpc" when grpc is, else "tcp" (a connection)."""
    interval: PositiveDuration = 5.0
    """Time between two checks of a server."""
    timeout: PositiveDuration = 2.0
    """Time a check may take."""
    status: Annotated[list[StatusRange], Field(min_length=1)] = Field(default=["200-399"])
    """Statuses that count as healthy: numbers and ranges."""
    body: Annotated[str, Field(min_length=1)] | None = None
    """Text that the body must contain."""
    healthy: PositiveCount = 2
    """Checks in a row that must pass before a server is used again."""
    unhealthy: PositiveCount = 2
    """Checks in a row that must fail before a server is no longer used."""
    host: HostName | None = None
    """Host field of the request; by default the server's address."""

    @model_validator(mode="before")
    @classmethod
    def _choose_type(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if "type" not in data and data.get("path") is not None:
            return {**data, "type": "http"}
        if data.get("type") == "http" and data.get("path") is None:
            return {**data, "path": "/"}
        if "type" not in data and data.get("grpc") is not None:
            return {**data, "type": "grpc"}
        if data.get("type") == "grpc" and data.get("grpc") is None:
            return {**data, "grpc": ""}
        return data


class Eject(Model):
    """Passive health: take servers out that fail the requests of clients. `false` turns it off."""

    consecutive_errors: Count = 5
    """Errors in a row that eject a server; 0: never for this reason."""
    success_rate: Share | None = None
    """Least share of successes within an interval, such as 0.8."""
    latency_factor: Annotated[float, Field(gt=1)] | None = None
    """Multiple of the median latency beyond which a server is ejected, such as 3.0."""
    interval: PositiveDuration = 10.0
    """Length of the interval that success_rate and latency_factor judge."""
    min_requests: PositiveCount = 20
    """Requests of a server within an interval below which it is not judged."""
    base_time: PositiveDuration = 10.0
    """Time of the first ejection; grows by as much with each further one."""
    max_time: PositiveDuration = 300.0
    """Longest time of an ejection."""
    max_share: Share = 0.5
    """Share of the servers that may be ejected at once."""


class Breaker(Model):
    """Circuit breaker: stop sending to an upstream that is overloaded or failing."""

    max_active: Count = 0
    """Requests under way at once beyond which further ones are refused; 0: no limit."""
    error_rate: Share | None = None
    """Share of errors within the window that opens the circuit, such as 0.5."""
    min_requests: PositiveCount = 20
    """Requests within the window below which error_rate is not judged."""
    window: PositiveDuration = 10.0
    """Length of the window."""
    open_time: PositiveDuration = 5.0
    """Time the circuit stays open before it is tried again."""


class Retry(Model):
    """Send a request again to another server, only where that is safe."""

    attempts: PositiveCount = 2
    """Attempts in all, the first included."""
    on: list[RetryCondition] = Field(default=["connect"])
    """Reasons: "connect" (no connection was made), statuses for idempotent methods, and gRPC's: "grpc-unavailable",
    "grpc-cancelled", "grpc-deadline-exceeded", "grpc-internal", "grpc-resource-exhausted".

    These are for gRPC calls that a server ended with that status before any message, whether or not the method is
    idempotent. Idempotent requests are also sent again when a connection broke or no answer came in time.
    """
    body_limit: Size = 65536
    """Request content kept for a retry; larger requests are not sent again."""
    budget_ratio: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Retries under way at most, as a share of the active requests."""
    budget_min: Count = 3
    """Retries under way that are always allowed."""


class Hedge(Model):
    """Send a GET to a second server when the first is slow; the earlier answer wins."""

    after: PositiveDuration
    """Time without an answer after which the second request is sent."""


class UpstreamTimeouts(Model):
    """How long each step toward a server may take."""

    connect: PositiveDuration = 2.0
    """Until a connection is made, TLS included."""
    response: PositiveDuration = 60.0
    """Without a byte of the answer."""
    queue: PositiveDuration = 5.0
    """In the queue for a connection."""
    idle: PositiveDuration = 60.0
    """Until an unused connection is closed."""


class UpstreamTls(Model):
    """TLS to the servers. `true` in place of the table means the defaults, `false` means plain TCP."""

    verify: bool = True
    """Verify the server's certificate."""
    ca: FileName | None = None
    """File of trusted certificates; by default the system's."""
    server_name: HostName | None = None
    """Name sent as SNI and verified; by default the host of the server's address."""
    cert: FileName | None = None
    """Client certificate (PEM)."""
    key: FileName | None = None
    """Key of the client certificate (PEM)."""


def _server_table(value: Any) -> Any:
    if isinstance(value, str):
        return {"address": value}
    if not isinstance(value, dict | UpstreamServer):
        raise BadValue(f"{show(value)} is not a server", f"an address, {EXPECTED}, or a table with address")
    return value


def _true_is_defaults(value: Any) -> Any:
    return {} if value is True else value


SERVER_VALIDATOR, TRUE_VALIDATOR = _server_table, _true_is_defaults
"""What lets a text or `true` stand for a table; known to the reference."""


def _switch(value: Any) -> str:
    return "<table>" if isinstance(value, dict | Model) else "<false>"


_Server = Annotated[UpstreamServer, BeforeValidator(_server_table, json_schema_input_type=str | UpstreamServer)]
_False = Annotated[Literal[False], Tag("<false>")]


class Upstream(Model):
    """A group of servers that answer the same requests: exactly one of servers, srv and app says where they are."""

    servers: list[_Server] = Field(default=[])
    """Addresses, or tables with address, weight, backup and max_connections."""
    srv: SrvName | None = None
    """Name of an SRV record that lists the servers, such as "_http._tcp.shop.internal"."""
    app: ImportPath | None = None
    """ASGI or WSGI application that edgewise runs itself, as "module:attribute"."""
    processes: PositiveCount = 1
    """Processes of the app."""
    app_interface: Literal["asgi", "wsgi", "auto"] = "auto"
    """Interface of the app; "auto" looks at the object."""
    protocol: Literal["http1", "h2", "h2c"] = "http1"
    """What the servers speak: "http1"; "h2", HTTP/2 where they agree to it in the TLS handshake; "h2c", HTTP/2 at once.

    HTTP/2 is needed for gRPC.
    """
    balance: Balance = "round_robin"
    """How a server is chosen."""
    hash_key: HashKey = "ip"
    """Key of consistent_hash: "ip", "path", "session" (that the gateway holds), "header:NAME" or "cookie:NAME"."""
    sticky: Sticky | None = None
    """Keep clients on one server."""
    health: Health | None = None
    """Active health checks."""
    eject: Annotated[
        Annotated[Eject, Tag("<table>")] | _False,
        Discriminator(_switch),
        BeforeValidator(_true_is_defaults, json_schema_input_type=bool | Eject),
    ] = Eject()
    """Passive health; `false` turns it off."""
    breaker: Breaker | None = None
    """Circuit breaker."""
    retry: Retry = Retry()
    """Retries."""
    hedge: Hedge | None = None
    """Hedged requests."""
    timeouts: UpstreamTimeouts = UpstreamTimeouts()
    """Time limits."""
    max_connections: Count = 0
    """Connections at once to a server; 0: no limit."""
    max_idle: Count = 64
    """Idle connections kept to a server by each worker."""
    max_waiting: Count = 1024
    """Requests that may wait for a connection."""
    slow_start: Duration = 0.0
    """Time over which a server that returns is brought back to its full share."""
    tls: Annotated[
        Annotated[UpstreamTls, Tag("<table>")] | _False,
        Discriminator(_switch),
        BeforeValidator(_true_is_defaults, json_schema_input_type=bool | UpstreamTls),
    ] = False
    """TLS to the servers: `true`, `false`, or a table."""
    proxy_protocol: Literal[0, 1, 2] = 0
    """Version of the PROXY protocol header sent on each new connection; 0: none."""
    policies: Policies = Policies()
    """What requests must pass that go to it."""
