"""An upstream and its endpoints: the state that balancing, health and pooling share."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgewise.contracts.balancing import BalancingPolicy, Outlier
    from edgewise.contracts.exchange import Exchange

Address = tuple[str, int] | str
"""`(ip or host name, port)` for TCP, a path for a Unix socket."""


class Move(IntEnum):
    """Why a request is sent to another server than its session's."""

    GONE = 0
    """It is not there any more."""
    DRAINED = 1
    """It takes no new requests."""
    UNHEALTHY = 2
    """Checks found it failing."""
    EJECTED = 3
    """Its answers did."""
    BACKUP = 4
    """It was used while no other was available."""
    FAILED = 5
    """The first attempt there failed."""
    FULL = 6
    """It has more than its share of requests."""


class Endpoint:
    """One server of an upstream, as one worker sees it. Kept across reloads where its key is unchanged."""

    __slots__ = (
        "active", "address", "backup", "connecting", "connections", "drained", "ejected", "ejected_until", "ejections",
        "errors", "ewma", "ewma_at", "failures", "health", "http2", "idle", "key", "max_connections", "moved", "name",
        "origin",
        "requests", "slot", "slow_start_from", "successes", "waiting", "weight",
    )  # fmt: skip

    def __init__(
        self, key: str, address: Address, weight: int = 1, *, backup: bool = False, max_connections: int = 0
    ) -> None:
        self.key = key
        """`upstream/server`, unique in the configuration; what `edgewise drain` names."""
        self.name = key.partition("/")[2]
        self.origin = key
        """Key of the configured server this came from: another endpoint's where a name has several addresses."""
        self.address = address
        self.weight = weight
        self.backup = backup
        self.max_connections = max_connections
        """Open connections at most, 0 for no limit."""
        self.slot = -1
        """Index of this endpoint's row in shared memory; -1 when not shared."""
        self.idle: deque[Any] = deque()
        """Connections that can take a request, most recently used at the right: idle ones, or HTTP/2 with room."""
        self.connections = 0
        """Open connections, idle ones included."""
        self.connecting: Any = None
        """The connection being made that others may share once it is known to speak HTTP/2; None for none."""
        self.http2 = True
        """The last connection spoke HTTP/2, or none was made, where the upstream wants it: worth waiting for one."""
        self.waiting: deque[Exchange] = deque()
        """Exchanges queued for a connection, oldest at the left."""
        self.active = 0
        """Exchanges under way."""
        self.requests = 0
        self.failures = 0
        """Attempts that failed, ever."""
        self.errors = 0
        """Consecutive failed attempts; 0 after a success."""
        self.successes = 0
        """Successes in the outlier detector's present interval."""
        self.health = True
        """Verdict of the active checks; True while nothing is known."""
        self.drained = False
        """Told to take no new requests."""
        self.ejected = False
        """Passively ejected until `ejected_until` (monotonic seconds)."""
        self.ejected_until = 0.0
        self.ejections = 0
        self.moved = [0] * len(Move)
        """Requests that came here though another server is their session's, ever, by `Move`."""
        self.slow_start_from = 0.0
        """Monotonic time at which the endpoint came (back) into service; 0 when slow start does not apply."""
        self.ewma = 0.0
        """Peak-EWMA latency in seconds, as of `ewma_at` (monotonic seconds)."""
        self.ewma_at = 0.0

    @property
    def available(self) -> bool:
        """May new requests be sent here?"""
        return self.health and not self.drained and not self.ejected


@dataclass(slots=True, frozen=True)
class Retry:
    """When an attempt may be repeated (counts include the first attempt)."""

    attempts: int = 2
    on_connect: bool = True
    on_statuses: frozenset[int] = frozenset()
    """Only for idempotent methods (RFC 9110 section 9.2.2)."""
    on_grpc: frozenset[int] = frozenset()
    """Statuses of calls that a server ended with that and nothing else, whatever their method does."""
    body_limit: int = 65536
    """Bytes of request content kept for a replay; a longer body is not retried once it was sent."""
    budget_ratio: float = 0.2
    budget_min: int = 3


class Upstream:
    """A named group of endpoints with one policy. The same object lives on across reloads where unchanged."""

    __slots__ = (
        "active", "authority", "breaker", "connect_timeout", "endpoints", "hedge_after", "http2", "idle_timeout",
        "max_idle", "max_waiting", "name", "names", "outlier", "pick", "policy", "proxy_protocol", "queue_timeout",
        "response_timeout", "retries", "retry", "server_name", "spec", "timed", "tls",
    )  # fmt: skip

    def __init__(self, name: str, endpoints: list[Endpoint], policy: BalancingPolicy) -> None:
        self.name = name
        self.endpoints = endpoints
        self.policy = policy
        self.pick: Callable[[Exchange], Endpoint | None] = policy.pick
        """Chooses an endpoint for an exchange; None when no endpoint is available."""
        self.outlier: Outlier | None = None
        """Told of attempts' ends; None when neither ejection nor an observing policy needs it."""
        self.timed = False
        """Detector or breaker want to know of good attempts too; else only failures are judged."""
        self.breaker: Any = None
        self.retry = Retry()
        self.connect_timeout = 2.0
        self.response_timeout = 60.0
        """Seconds between two reads from the upstream while an answer is due."""
        self.queue_timeout = 5.0
        """Seconds an exchange may wait for a connection of an endpoint at its limit."""
        self.max_waiting = 1024
        self.max_idle = 64
        """Idle connections kept an endpoint and worker."""
        self.idle_timeout = 60.0
        self.hedge_after = 0.0
        """Seconds after which a GET is sent to a second endpoint; 0 for never."""
        self.tls: ssl.SSLContext | None = None
        self.http2 = False
        """Servers speak HTTP/2: by prior knowledge, or where they agree to it in the TLS handshake."""
        self.server_name: str | None = None
        """Name verified in the upstream's certificate and sent as SNI; None: the endpoint's host name."""
        self.authority = b""
        """Host sent upstream by routes that do not preserve the client's."""
        self.proxy_protocol = 0
        """0, 1 or 2: version of the PROXY protocol header sent on each new connection."""
        self.active = 0
        """Exchanges under way, for the retry budget."""
        self.retries = 0
        """Retries under way."""
        self.names: dict[str, Endpoint] = {}
        """Patterns of the endpoints that names will give, by the key of the configured server."""
        self.spec: Any = None
        """The configuration this was made from; equal specs keep the object at a reload."""
        self.changed()

    def changed(self) -> None:
        """Tell the policy which endpoints may take requests now: primaries, else backups, never slower than O(n)."""
        ready = [endpoint for endpoint in self.endpoints if endpoint.available and not endpoint.backup]
        if not ready:
            ready = [endpoint for endpoint in self.endpoints if endpoint.available]
        self.policy.update(tuple(ready))
