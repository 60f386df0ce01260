"""The one per-request record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Endpoint, Upstream
    from edgewise.contracts.identity import Identity
    from edgewise.contracts.plan import Plan


class Exchange:
    """One request and its answer, from the first byte read to the log line.

    Times are monotonic seconds; 0.0 where the point was not reached.
    """

    __slots__ = (
        "answer_lines", "answered", "attempting", "attempts", "body", "cache_status", "cached", "client", "connected",
        "context", "dispatched", "end", "ended", "endpoint", "failure", "first_byte", "forward_lines", "group", "grpc",
        "head", "hedge", "held", "identity", "plan", "primary", "refused", "request", "request_bytes", "request_id",
        "response_bytes", "retrying", "route", "set_cookie", "span_id", "stale", "started", "status", "task", "tried",
        "upstream", "waiting",
    )  # fmt: skip

    def __init__(self, client: Any, plan: Plan, started: float, request_id: str) -> None:
        self.client = client
        """The downstream connection (`proxy.downstream.Downstream`): has `.peer_ip` (str), `.tls` (bool),
        `.certificate()` (bytes)."""
        self.plan = plan
        self.route = plan.route
        self.group: Upstream | None = plan.upstream
        """The upstream in use: the plan's, or the one that a split chose."""
        self.started = started
        self.request_id = request_id
        """32 hexadecimal digits; also the trace id where the client sent no valid traceparent."""
        self.span_id = ""
        self.status = 0
        """Status sent to the client; 499 when the client left first (nginx's convention)."""
        self.end = ""
        """Who ended the exchange, and where: "" for a whole answer, else e.g. client-body, upstream-connect,
        upstream-head, upstream-body, edge-timeout, edge-filter (HAProxy's termination states, spelled out)."""
        self.failure = ""
        """Human-readable reason of a failed exchange, for the log."""
        self.endpoint: Endpoint | None = None
        self.upstream: Any = None
        """The upstream connection in use (`proxy.upstream.UpstreamConnection`)."""
        self.attempts = 0
        self.attempting = False
        """An attempt is under way and counted in its endpoint's `active`."""
        self.stale = 0
        """Reused connections that turned out to be closed."""
        self.tried: tuple[Endpoint, ...] = ()
        """Endpoints that earlier attempts used."""
        self.dispatched = 0.0
        """When a connection was at hand for the attempt that was answered."""
        self.connected = 0.0
        """When connecting for that attempt began and needed a new connection; 0.0 for a reused one."""
        self.first_byte = 0.0
        self.ended = 0.0
        self.request_bytes = 0
        """Bytes of request content received; of a tunnel, sent to the server up to the last tick."""
        self.response_bytes = 0
        """Bytes sent to the client, heads included; of a tunnel, up to the last tick."""
        self.set_cookie: bytes = b""
        """`Set-Cookie` line a sticky policy wants added to the answer, b"" for none."""
        self.cache_status: bytes = b""
        """`Cache-Status` line of an answer that the route's cache let pass, b"" for none."""
        self.cached = 0
        """What the route's cache did (`contracts.cache.Result`)."""
        self.identity: Identity | None = None
        """Who asks, as a policy verified."""
        self.forward_lines: bytes = b""
        """Field lines, each with its CRLF, that policies add to what a server gets."""
        self.answer_lines: bytes = b""
        """The same for what the client gets, whoever answers."""
        self.held: tuple[Callable[[], None], ...] = ()
        """What policies want called once the exchange has ended."""
        self.refused = 0
        """The policy that refused the request: its place in `contracts.policies.POLICIES`, from 1."""
        self.context: dict[str, Any] | None = None
        """Filters' own values; made on first use."""
        self.request: Any = None
        """`contracts.filters.Request`, made only for routes with filters."""
        self.head: bytes | None = None
        """Upstream head rebuilt by a filter; None: the plan's own is sent."""
        self.body: Any = None
        """State of the request content still to be relayed; None when there is none (left)."""
        self.grpc: Any = None
        """State of a gRPC call (`proxy.grpc.Call`): has `.status` (int or None); None for what is none."""
        self.answered = False
        """A final response head went to the client: nothing can be retried any more."""
        self.retrying = False
        """Counted in the upstream's retry budget."""
        self.hedge: Any = None
        """The twin exchange that hedges this one, or the timer that will begin it."""
        self.primary: Exchange | None = None
        """Of a twin: the exchange it hedges."""
        self.task: Any = None
        """asyncio.Task of an async filter that is running."""
        self.waiting = False
        """In an endpoint's queue."""
