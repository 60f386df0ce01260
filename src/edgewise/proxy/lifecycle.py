"""The life of a request, in order: begin, admitted, dispatch, respond, finish; and the ways it can end early.

Control goes down this list once. A step that must wait (a queue, a connect, an async filter, content to buffer)
returns, and whoever it waits for calls the next step.
"""

from __future__ import annotations

from time import monotonic, time
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import Answer, Plan, ResponsePlan
from edgewise.http.dates import format_date
from edgewise.protocols.errors import ProtocolError
from edgewise.proxy import (
    accel,
    attempts,
    caching,
    early_hints,
    files,
    grpc,
    hedging,
    phases,
    policies,
    pool,
    tunnel,
)
from edgewise.proxy.content import UNREAD, RequestContent
from edgewise.proxy.interposed import goes_on
from edgewise.proxy.messages import error_answer, render
from edgewise.proxy.plans import closing_responses, internal_plan, response_memo
from edgewise.proxy.wire import FOREVER

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Endpoint, Upstream
    from edgewise.proxy.downstream import Downstream
    from edgewise.proxy.http2_downstream import Http2Stream
    from edgewise.proxy.http2_upstream import UpstreamStream
    from edgewise.proxy.upstream import UpstreamConnection

    Connection: TypeAlias = UpstreamConnection | UpstreamStream
    """What carries one request to a server."""

_INTERNAL_REDIRECTS = 8


def begin(client: Downstream | Http2Stream, plan: Plan, grpc_timeout: bytes | None = None) -> None:
    """A head is in: make the record, and go straight to a server where nothing has to be looked at first.

    `grpc_timeout` is that of a gRPC call in whose plan it is not.
    """
    engine = client.engine
    exchange = Exchange(client, plan, monotonic(), engine.next_id())
    client.exchange = exchange
    client.deadline = FOREVER
    engine.requests += 1
    if plan.simple:
        dispatch(exchange)
    elif plan.grpc is None or grpc.begin(exchange, plan.grpc, grpc_timeout):
        _check(exchange)


def begin_tunnel(client: Downstream, plan: Plan, group: Upstream) -> None:
    """A layer 4 session came: it takes the same way through balancer and pool, with bytes in place of messages."""
    engine = client.engine
    exchange = Exchange(client, plan, monotonic(), engine.next_id())
    exchange.group = group
    client.exchange = exchange
    client.deadline = FOREVER
    client.pause_reading()
    engine.requests += 1
    dispatch(exchange)


def _check(exchange: Exchange) -> None:
    """What only some requests need before they are admitted."""
    client, plan, route = exchange.client, exchange.plan, exchange.route
    if plan.forwarded_for is not None:
        client.peer_ip = client.engine.client_behind(client.peer[0], plan.forwarded_for)
    elif client.peer_ip is not client.peer[0]:
        client.peer_ip = client.peer[0]
    if plan.tls_key and plan.tls_key != client.tls_key:
        return fail(exchange, 421, "edge-tls", "this host needs a connection made with its own TLS settings")
    if plan.body:
        if 0 < (route.body_limit if plan.grpc is None else route.call_limit) < plan.body:
            return fail(exchange, 413, "edge-limit", "request content over the route's limit")
        limit = exchange.group.retry.body_limit if exchange.group is not None else 0
        if plan.grpc is None:
            content = RequestContent(exchange, client, limit)
        else:
            content = grpc.content(exchange, plan.grpc, client, limit)
        exchange.body = content
        if content.buffering:
            return _read_first(exchange, content)
        if client.buffer:
            _take_buffered(exchange, content)
            if exchange.answered:
                return None
    admitted(exchange)
    return None


def _read_first(exchange: Exchange, content: RequestContent) -> None:
    """Gather the content before a server is chosen; the content calls `admitted` once it has it."""
    content.ask()
    _take_buffered(exchange, content)


def _take_buffered(exchange: Exchange, content: RequestContent) -> None:
    """Hand over what came with the head before anything that is read later can overtake it."""
    client = exchange.client
    data, client.buffer = client.buffer, b""
    if data and client.multiplexed:
        content.feed_content(data, end=True)
    elif data:
        content.feed(data)


def admitted(exchange: Exchange) -> None:
    """The request may be looked at: by policies, by filters, then comes the route's own answer or a server's."""
    if exchange.route.policies:
        policies.run(exchange)
    else:
        run_filters(exchange)


def run_filters(exchange: Exchange) -> None:
    """Run the filters where there are some."""
    if exchange.route.request_filters and exchange.request is None:
        phases.run_request(exchange)
    else:
        choose(exchange)


def choose(exchange: Exchange) -> None:
    """Filters passed: answer here, or go on to the upstream."""
    plan = exchange.plan
    if plan.answer is not None:
        return answer_planned(exchange)
    route = exchange.route
    if route.files is not None:
        return files.answer(exchange)
    if route.cache is None or not caching.look(exchange):
        send_on(exchange)
    return None


def send_on(exchange: Exchange) -> None:
    """Nothing here answers: choose the upstream, then a server of it."""
    route = exchange.route
    if route.early_hints:
        early_hints.send(exchange)
    if route.split is not None:
        exchange.group = route.split(exchange)
    group = exchange.group
    assert group is not None
    if group.breaker is not None and not group.breaker.allow():
        return fail(exchange, 503, "edge-breaker", "circuit open")
    dispatch(exchange)
    return None


def dispatch(exchange: Exchange, endpoint: Endpoint | None = None) -> None:
    """Choose a server, unless one is given; take an idle connection to it, else open one or wait in its queue."""
    group = exchange.group
    assert group is not None
    if endpoint is None:
        endpoint = group.pick(exchange)
        if endpoint is None:
            return fail(exchange, 503, "edge-balancer", "no server available")
    exchange.endpoint = endpoint
    exchange.attempts += 1
    exchange.attempting = True
    endpoint.active += 1
    endpoint.requests += 1
    group.active += 1
    if group.hedge_after:
        hedging.arm(exchange)
    idle = endpoint.idle
    while idle:
        connection = idle.pop()
        if connection.sock is not None:
            exchange.connected = 0.0
            connection.start(exchange)
            return None
    return pool.open_or_wait(exchange, endpoint)


def own_lines(exchange: Exchange) -> bytes:
    """Return the lines of an upstream head that differ by request and connection, through the empty line."""
    plan = exchange.plan
    client = exchange.client
    request_id = exchange.request_id
    exchange.span_id = span_id = request_id[:16] if exchange.attempts == 1 else client.engine.span_id()
    if plan.simple and plan.trace is None:
        return f"X-Request-ID: {request_id}\r\ntraceparent: 00-{request_id}-{span_id}-00\r\n{client.suffix}".encode()
    trace_id, flags = plan.trace or (request_id, "00")
    own = f"X-Request-ID: {request_id}\r\ntraceparent: 00-{trace_id}-{span_id}-{flags}\r\n{origin(exchange)}"
    timeout = b"" if exchange.grpc is None else exchange.grpc.timeout()
    if timeout:
        own = f"grpc-timeout: {timeout.decode()}\r\n{own}"
    return exchange.forward_lines + own.encode("latin-1")


def origin(exchange: Exchange) -> str:
    """Return the lines that tell where a request came from, through the empty line: the peer, behind what a trusted
    proxy said."""
    plan, client = exchange.plan, exchange.client
    if not (plan.forwarded_for or plan.forwarded_proto):
        suffix: str = client.suffix
        return suffix
    chain = client.peer[0]
    if plan.forwarded_for:
        chain = plan.forwarded_for.decode("latin-1") + ", " + chain
    proto = "" if plan.forwarded_proto else f"X-Forwarded-Proto: {'https' if client.tls else 'http'}\r\n"
    return f"X-Forwarded-For: {chain}\r\n{proto}\r\n"


def content_wanted(exchange: Exchange, connection: Connection) -> bytes:
    """A server is connected: let content flow, and tell a client that waits for 100 (Continue) to send it."""
    body: Any = exchange.body  # the client's, or made here
    body.ask()
    held: bytes = body.attach(connection)
    return held


def respond(exchange: Exchange, connection: Connection, head: bytes, rest: bytes) -> None:
    """The server's response head is in: prepare the client's, send it with the content that came along."""
    if exchange.hedge is not exchange.primary:  # None and None where nothing is hedged
        exchange = hedging.settle(exchange)
    exchange.first_byte = monotonic()
    body = exchange.body
    responses = exchange.plan.responses
    if body is not None and not body.complete and not exchange.client.multiplexed:
        responses = closing_responses(exchange.plan, exchange.client.engine.limits)
    plan = responses.memo.young.get(head) or responses.find(head)
    if plan.sendable and not exchange.set_cookie:
        send_response(exchange, connection, plan, plan.head, rest)
    else:
        _look_at_response(exchange, connection, plan, rest)


def _look_at_response(exchange: Exchange, connection: Connection, plan: ResponsePlan, rest: bytes) -> None:
    """What only some responses need: interim ones, upgrades, retries, filters, files, fields that differ by request."""
    status = plan.status
    if status < 200:
        return _interim(exchange, connection, plan, rest)
    if attempts.retry_answer(exchange, connection, plan):
        return None
    if exchange.route.cache is not None:
        caching.passed(exchange, exchange.route.cache, plan)
    if plan.grpc_status is not None:
        exchange.grpc.status = plan.grpc_status
    if plan.accel is not None:
        attempts.ended(exchange, ok=True)
        exchange.upstream = None
        connection.abandon()
        return _redirect_internally(exchange, plan, plan.accel)
    if exchange.route.response_filters:
        return phases.run_response(exchange, connection, plan, rest)
    return send_response(exchange, connection, plan, finished_head(exchange, plan), rest)


def _redirect_internally(exchange: Exchange, plan: ResponsePlan, target: bytes) -> None:
    """X-Accel-Redirect or X-Sendfile: a file of the route's directories, else an internal route's answer."""
    if accel.send(exchange, plan):
        return None
    client, original, body = exchange.client, exchange.plan, exchange.body
    if body is not None and not body.complete:
        return fail(exchange, 502, "upstream-head", "internal redirect before the request's content was read")
    exchange.body = None  # the redirected request is a GET: a retry must not send the content behind it
    try:
        inner = internal_plan(client.engine.table, original.request, target, b"https" if client.tls else b"http")
    except ProtocolError:
        inner = None
    if inner is None or exchange.attempts > _INTERNAL_REDIRECTS:
        return answer(exchange, error_answer(404))
    inner.is_head, inner.close = original.is_head, original.close
    inner.simple = False  # its server, too, is told what policies say of the request
    inner.responses = response_memo(inner.route, inner.is_head, inner.close, inner.request.minor, client.engine.limits)
    exchange.plan, exchange.route, exchange.group = inner, inner.route, inner.upstream
    exchange.tried, exchange.head = (), None
    return choose(exchange)


def finished_head(exchange: Exchange, plan: ResponsePlan, head: bytes | None = None) -> bytes:
    """Return a response head with the fields that differ by request."""
    head = plan.head if head is None else head
    if not (plan.dateless or exchange.set_cookie or exchange.cache_status):
        return head
    if not plan.dateless:
        head = head[:-2]
    date = b"Date: " + format_date(time()) + b"\r\n" if plan.dateless else b""
    return b"".join((head, exchange.set_cookie, exchange.cache_status, date, b"\r\n"))


def _interim(exchange: Exchange, connection: Connection, plan: ResponsePlan, rest: bytes) -> None:
    """1xx: upgrade on a valid 101, swallow 100 (asked for here), pass the rest on (RFC 9110 section 15.2)."""
    if plan.status == 101:
        wanted = exchange.plan.upgrade
        if wanted is None or plan.response.upgrade is None or plan.response.upgrade.lower() != wanted:
            return attempts.failed(exchange, 502, "upstream-head", "101 without a matching upgrade")
        one = cast("UpstreamConnection", connection)  # HTTP/2 has no 101
        return tunnel.upgrade(exchange, one, finished_head(exchange, plan), rest)
    if plan.status != 100 and exchange.plan.request.minor:
        exchange.client.send_interim(plan.head)
    connection.after_interim(rest)
    return None


def send_response(exchange: Exchange, connection: Connection, plan: ResponsePlan, head: bytes, rest: bytes) -> None:
    """Send the head, and the content as it comes."""
    exchange.status = plan.status
    exchange.answered = True
    client = exchange.client
    if plan.body == len(rest) and not plan.chunk:
        exchange.response_bytes = len(head) + len(rest)
        client.send_head(head, rest, end=True)
        whole(exchange, connection, plan, reusable=plan.keep_alive)
        return
    client.source = connection
    connection.relay(plan, head, rest)


def whole(exchange: Exchange, connection: Connection, plan: ResponsePlan, *, reusable: bool) -> None:
    """The server's answer is complete: free its connection, and finish once the client has it all."""
    now = monotonic()
    attempts.ended(exchange, not plan.gateway_error)
    exchange.upstream = None  # it may serve others from here on, while the client has not read everything yet
    body = exchange.body
    if reusable and (body is None or body.complete):
        connection.release(now)
    else:
        connection.abandon()
        if body is not None and not body.complete:
            exchange.body = UNREAD
    client = exchange.client
    if client.flushed:
        finish(exchange, now)
    else:
        client.source = None
        client.finishing = True


def finish(exchange: Exchange, now: float = 0.0) -> None:
    """All is written: tell the observers and free the client for its next request."""
    exchange.ended = now = now or monotonic()
    client = exchange.client
    client.engine.finished += 1
    if exchange.grpc is not None:
        exchange.grpc.ended()
    if exchange.held:
        for release in exchange.held:
            release()
    for done in exchange.route.done:
        done(exchange)
    body = exchange.body
    if body is not None and not body.complete:
        client.linger()
    else:
        client.ended(now, close=exchange.plan.close or client.engine.draining or exchange.end[:6] == "client")


def _closes(exchange: Exchange) -> bool:
    """`Connection: close`, a drain, or a client at fault: the connection ends. A server's fault is no reason to end it,
    or an outage would add a storm of new connections to its errors."""
    return exchange.plan.close or exchange.client.closing or exchange.end[:6] == "client"


# ---- answers made here -----------------------------------------------------------------------------------------------


def answer_planned(exchange: Exchange) -> None:
    """Send the answer that the route holds; rendered once a plan, all but its date."""
    plan, client = exchange.plan, exchange.client
    assert plan.answer is not None
    if exchange.grpc is not None or exchange.body is not None or plan.close or client.closing:
        return answer(exchange, plan.answer)
    if plan.rendered is None:
        secured = _secured(exchange, plan.answer)
        head, content = render(secured, head_only=plan.is_head, close=False, minor=plan.request.minor)
        plan.rendered = head[:-2], content
    start, content = plan.rendered
    head = b"%bDate: %b\r\n\r\n" % (start, format_date(time()))
    return send_whole(exchange, plan.answer.status, head, content)


def send_whole(exchange: Exchange, status: int, head: bytes, content: bytes) -> None:
    """Send an answer that is complete."""
    exchange.status = status
    exchange.answered = True
    exchange.response_bytes = len(head) + len(content)
    client = exchange.client
    client.finishing = True
    if client.send_head(head, content, end=True):
        finish(exchange)


def answer(exchange: Exchange, response: Answer) -> None:
    """Send a whole answer made at the edge."""
    if exchange.grpc is not None:
        response = exchange.grpc.answer(response)
    response = _secured(exchange, response)
    exchange.status = response.status
    exchange.answered = True
    client, plan = exchange.client, exchange.plan
    body = exchange.body
    close = _closes(exchange) or (plan.body != 0 and (body is None or not body.complete))
    head, content = render(
        response._replace(fields=(*response.fields, (b"Date", format_date(time())))),
        head_only=plan.is_head,
        close=close,
        minor=plan.request.minor,
    )
    if plan.body and (body is None or not body.complete):
        exchange.body = UNREAD
        client.buffer = b""
    exchange.response_bytes += len(head) + len(content)
    client.finishing = True
    if client.send_head(head, content, end=True):
        finish(exchange)


def _secured(exchange: Exchange, response: Answer) -> Answer:
    """Return an answer with the route's default fields, over TLS with Strict-Transport-Security too: errors as well
    (RFC 6797 section 7.1)."""
    client = exchange.client
    hsts = client.engine.table.hsts
    fields = exchange.route.default_fields
    if hsts is not None and client.tls:
        fields += (hsts,)
    if not fields:
        return response
    names = {name.lower() for name, _ in response.fields}
    return response._replace(fields=response.fields + tuple(field for field in fields if field[0].lower() not in names))


def fail(exchange: Exchange, status: int, end: str, reason: str, *, retry_after: int = 1) -> None:
    """End an exchange with an error answer, or by cutting the connection where an answer had begun.

    `status` 0: the client takes no answer. `retry_after` (seconds) goes with 429 and 503.
    """
    exchange.end = end
    exchange.failure = reason
    attempts.abandon(exchange)
    client = exchange.client
    if exchange.answered and exchange.grpc is not None and exchange.grpc.cut(status):
        return
    if exchange.answered or exchange.plan.tunnel:
        client.close(cut=True)
        finish(exchange)
        return
    extra = ((b"Retry-After", b"%d" % retry_after),) if status in (429, 503) else ()
    answer(exchange, error_answer(status, extra))


def refuse(client: Downstream | Http2Stream, plan: Plan, status: int, reason: str) -> None:
    """Answer a head that could not be understood, and close: what follows cannot be trusted (RFC 9112 section 11.2)."""
    engine = client.engine
    exchange = Exchange(client, plan, monotonic(), engine.next_id())
    client.exchange = exchange
    client.deadline = FOREVER
    client.buffer = b""
    engine.requests += 1
    exchange.end, exchange.failure = "client-head", reason
    exchange.body = UNREAD
    answer(exchange, error_answer(status))


def client_left(exchange: Exchange, end: str = "client", reason: str = "client closed the connection") -> None:
    """The client closed its connection or stream before it had its answer (status 499, as in nginx)."""
    if goes_on(exchange):
        return
    if not exchange.answered:
        exchange.status = 499
    exchange.end, exchange.failure = end, reason
    attempts.abandon(exchange)
    exchange.client.close()
    finish(exchange)


def client_late(exchange: Exchange, *, stalled: bool) -> None:
    """A deadline passed that the client, or the queue it waits in, had to keep."""
    if stalled:
        if goes_on(exchange):
            return
        exchange.answered = True
        fail(exchange, 0, "client-read", "client reads too slowly")
    elif exchange.waiting:
        fail(exchange, 503, "edge-queue", "no connection became free in time")
    else:
        fail(exchange, 408, "client-body", "request content took too long")
