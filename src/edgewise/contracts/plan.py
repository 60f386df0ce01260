"""What is decided once about a request head, a response head and a route."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from edgewise.http.head import Field, RequestHead, ResponseHead
from edgewise.protocols.grpc import Kind

if TYPE_CHECKING:
    from edgewise.contracts.cache import RouteCache
    from edgewise.contracts.compression import Compression
    from edgewise.contracts.endpoint import Upstream
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.files import Files
    from edgewise.contracts.identity import Identity
    from edgewise.contracts.policies import Policy, Telling


Params = dict[str, bytes]
"""Path parameters of a match, percent-encoded as sent."""


class Answer(NamedTuple):
    """A response made at the edge."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    content: bytes


class GrpcRequest(NamedTuple):
    """What a head says that speaks of gRPC."""

    kind: Kind
    """How the request speaks of it."""
    form: Kind
    """How servers' answers go to the client: GRPC for as they come, another for translated ones."""
    answer_type: bytes
    """Content type of an answer that is made here."""
    timeout: bytes | None
    """grpc-timeout; None where there is none, or where it was taken out of the head."""

    @property
    def translated(self) -> bool:
        """Is it gRPC-Web or JSON for a server that is spoken to in gRPC?"""
        return self.form != Kind.GRPC


class Route:
    """A route compiled from configuration; request code reads nothing else of it. Immutable once built."""

    __slots__ = (
        "accel_internal", "accel_roots", "answer", "body_limit", "body_timeout", "buffer_request", "cache",
        "call_limit", "client_edits", "compression", "decides", "default_fields", "device", "direct", "done",
        "early_hints", "early_hints_http1", "fetching", "files", "filter_timeout", "forward_edits", "http2", "index",
        "internal", "name", "policies", "preflights", "preserve_host", "progress", "request_filters",
        "response_edits", "response_filters", "response_memos", "response_timeout", "rewrite", "rule", "spec", "split",
        "stripped", "telling", "tunnel_lifetime", "tunnel_timeout", "upstream", "websocket",
    )  # fmt: skip

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        """Shown in metrics, logs and `explain`: the configured name, else host and path pattern."""
        self.index = index
        """Row of this route in shared counters."""
        self.upstream: Upstream | None = None
        self.http2 = False
        """Every server there is for it speaks HTTP/2."""
        self.split: Callable[[Exchange], Upstream] | None = None
        """Weighted choice between upstreams (canary); None where there is one upstream."""
        self.answer: Callable[[RequestHead, Params, bytes], Answer] | None = None
        """Redirects and fixed responses: (head, path parameters, scheme) -> answer."""
        self.compression: Compression | None = None
        """How answers of servers are compressed."""
        self.early_hints = b""
        """Head of a 103 that goes out before a server is asked."""
        self.early_hints_http1 = False
        """It goes to clients that speak HTTP/1.1 too."""
        self.files: Files | None = None
        """Finds the files that the route answers with; `rewrite` leads to their paths."""
        self.rewrite: Callable[[RequestHead, Params, bytes], bytes] | None = None
        """(head, path parameters, scheme) -> target to forward; None: the target as matched."""
        self.forward_edits: tuple[tuple[str, bytes, bytes], ...] = ()
        """(set | add | remove, lower-case name, line) on the request head, and (rename, lower-case name, new name)."""
        self.response_edits: tuple[tuple[str, bytes, bytes], ...] = ()
        """The same on the head of an answer; (default, lower-case name, line) too, where it has none of that name."""
        self.device: Callable[[tuple[Field, ...]], bytes] | None = None
        """Tells the kind of device that sent a request, which servers are told."""
        self.client_edits: tuple[tuple[str, bytes, bytes], ...] = ()
        """Those at the end of `response_edits` that are made for clients, and not on what the cache keeps."""
        self.direct = False
        """One upstream without circuit breaker, no filters: a request without content goes straight to a server."""
        self.policies: tuple[Policy, ...] = ()
        """What requests must pass, in order, before filters run."""
        self.stripped: frozenset[bytes] = frozenset()
        """Lower-case names of fields that no client may send on: only policies speak in them."""
        self.preflights = False
        """It answers those of pages of other origins."""
        self.default_fields: tuple[tuple[bytes, bytes], ...] = ()
        """Fields of answers made here that have none of that name; for others they are in `response_edits`."""
        self.decides = False
        """It has policies that tell who asks, or what that one may."""
        self.rule: Callable[[Identity | None, bytes], str | None] | None = None
        """(who asks, method) -> the rule that allows it: a pure function, for logs; None where there are no rules."""
        self.telling: Telling | None = None
        """Tells servers who asks; None where they are not told."""
        self.request_filters: tuple[Any, ...] = ()
        self.response_filters: tuple[Any, ...] = ()
        self.filter_timeout = 5.0
        self.cache: RouteCache | None = None
        self.fetching: Route | None = None
        """The route as fetches for the cache take it; made on first use."""
        self.done: tuple[Callable[[Exchange], None], ...] = ()
        """Observers, run once an exchange ended."""
        self.progress: tuple[Callable[[Exchange], None], ...] = ()
        """Observers, run when a tunnel opens and four times a second while it relays, its bytes counted so far."""
        self.body_limit = 0
        self.call_limit = 0
        """The same for gRPC calls."""
        """Bytes of request content at most; 0 for no limit."""
        self.body_timeout = 60.0
        """Seconds without a byte of request content after which 408 is sent."""
        self.response_timeout = 0.0
        """Seconds; 0: the upstream's."""
        self.tunnel_timeout = 3600.0
        """Seconds without a byte in either direction after which a tunnel ends."""
        self.tunnel_lifetime = 0.0
        """Seconds a tunnel lasts at most; 0 for no limit."""
        self.buffer_request = False
        """Read the whole request content (bounded by body_limit) before a server is chosen."""
        self.preserve_host = True
        self.websocket = True
        self.internal = False
        """Reached only by X-Accel-Redirect."""
        self.accel_roots: tuple[tuple[bytes, str], ...] = ()
        """(URI prefix, directory) pairs for X-Accel-Redirect and X-Sendfile."""
        self.accel_internal = False
        """X-Accel-Redirect may lead to an internal route."""
        self.response_memos: dict[Any, Any] = {}
        self.spec: Any = None

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Let `copy` make another one, also when this class is compiled (docs/building.md)."""
        return (self.name, self.index)


class Plan:
    """All that follows from a request head alone: a pure function of (listener, peer trusted?, head, generation).

    Never holds the peer's address, time, authentication results or anything that outlives a credential.
    """

    __slots__ = (
        "answer", "body", "cached", "close", "coding", "expect", "file", "forwarded_for", "forwarded_proto", "grpc",
        "head", "idempotent", "is_head", "log", "prototype", "rendered", "request", "responses", "revised", "route",
        "simple", "tls_key", "trace", "transcoded", "tunnel", "upgrade", "upstream",
    )  # fmt: skip

    def __init__(self, route: Route, request: RequestHead) -> None:
        self.route = route
        self.request = request
        self.upstream: Upstream | None = route.upstream
        self.head = b""
        """Upstream request head up to, not including, the fields that differ by request and connection."""
        lines = request.lines
        self.body = lines.body
        self.is_head = request.method == b"HEAD"
        self.close = not lines.keep_alive
        self.upgrade = lines.upgrade
        self.expect = lines.expect_continue
        self.idempotent = False
        self.answer: Answer | None = None
        self.coding = b""
        """Content coding for answers that may be compressed, b"" for none."""
        self.file: Any = None
        """What is asked for of a route's files (`contracts.files.Wanted`)."""
        self.rendered: tuple[bytes, bytes] | None = None
        """Head of `answer` without its date and its end, and content; filled on first use."""
        self.forwarded_for: bytes | None = None
        """Chain of a trusted peer's X-Forwarded-For to append to; None: overwrite."""
        self.trace: tuple[str, str] | None = None
        """(trace id, flags) of a valid traceparent (W3C Trace Context section 3.2); None: start one."""
        self.forwarded_proto = False
        """`head` already carries a trusted peer's X-Forwarded-Proto."""
        self.responses: Any = None
        """Memo response head bytes -> ResponsePlan for this route and kind of request."""
        self.simple = False
        """Nothing to check, read or run before a server is chosen."""
        self.tls_key: str | None = None
        """TLS settings this host wants; a connection made under others gets 421 (RFC 9110 section 7.4)."""
        self.tunnel = False
        """A layer 4 session: bytes are relayed, not parsed."""
        self.log: str | None = None
        """Rendered part of the access-log line that follows from the head; filled by telemetry on first use."""
        self.cached: Any = None
        """What the head says to the route's cache; filled on first use."""
        self.transcoded: Any = None
        """What a request with JSON calls, and the plan of that call (`proxy.transcoding`); filled on first use."""
        self.grpc: GrpcRequest | None = None
        """Of a gRPC or gRPC-Web request; such a plan has no prototype."""
        self.revised: RequestHead | None = None
        """The request as filters left it, where they changed it: what the cache goes by."""
        self.prototype: Prototype | None = None
        """What the plan shares with those of other targets; None where it shares nothing."""

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Let `copy` make another one, also when this class is compiled (docs/building.md)."""
        return (self.route, self.request)


class Prototype:
    """What follows from route, method and shared field lines, for requests that differ in target and secret only."""

    __slots__ = ("after", "before", "calls", "coding", "idempotent", "log", "responses", "simple", "upgrade")

    def __init__(self, plan: Plan, before: bytes, after: bytes) -> None:
        self.before = before
        """Of the upstream head, what stands between target and secret."""
        self.after = after
        """Of the upstream head, what follows the secret."""
        self.upgrade = plan.upgrade
        self.coding = plan.coding
        self.idempotent = plan.idempotent
        self.responses = plan.responses
        self.simple = plan.simple
        self.calls: dict[Any, Any] = {}
        """Of requests with JSON that have no secret: parts of their calls' plans, by what they call."""
        self.log: str | None = None
        """As `Plan.log`: what does not follow from the target."""


class ResponsePlan:
    """All that follows from a response head alone, for one route and kind of request."""

    __slots__ = (
        "accel",
        "body",
        "chunk",
        "close",
        "coding",
        "dateless",
        "gateway_error",
        "grpc_status",
        "head",
        "keep_alive",
        "response",
        "sendable",
        "status",
        "web",
    )

    def __init__(self, response: ResponseHead) -> None:
        self.response = response
        self.status = response.status
        self.head = b""
        """Downstream head without its final CRLF where `dateless`, else complete."""
        self.body = response.body
        """How the upstream frames the content (`http.head`), already NO_BODY for HEAD, 204 and 304."""
        self.chunk = False
        """Content goes to the client chunked, or compressed."""
        self.coding = b""
        """Content coding that is put on the content, b"" for none."""
        self.close = False
        """The client's connection ends after this answer."""
        self.keep_alive = response.keep_alive
        """The upstream connection may be reused."""
        self.dateless = False
        """The upstream sent no Date: one is added at each use (RFC 9110 section 6.6.1)."""
        self.gateway_error = response.status in (502, 503, 504)
        self.accel: bytes | None = None
        """Target of X-Accel-Redirect, or path of X-Sendfile where honoured."""
        self.grpc_status: int | None = None
        """Of a gRPC answer that is nothing but its head."""
        self.web = Kind.NONE
        """What content and trailers have to be translated to; NONE where they pass as they are."""
        self.sendable = True
        """No filter, 1xx, accel or retry needs a look: head and content may go out at once."""

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Let `copy` make another one, also when this class is compiled (docs/building.md)."""
        return (self.response,)
