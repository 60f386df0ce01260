"""Requests with JSON as calls of gRPC: the policy that makes them so, and what becomes of the answers."""

from __future__ import annotations

import binascii
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote_to_bytes

from edgewise.contracts.plan import Answer, GrpcRequest, Plan
from edgewise.contracts.policies import Denial, Outcome, Refused, gathered
from edgewise.contracts.transcoding import Call, Failure, Told, Transcoder, Transcoders, Untranslatable
from edgewise.http.head import RequestHead
from edgewise.http.statuses import reason
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.grpc import (
    COMPRESSED,
    Kind,
    MessageDecoder,
    Status,
    edge_status,
    find_status,
    format_timeout,
    parse_timeout,
    status_fields,
)
from edgewise.protocols.http1_chunked import encode_chunk
from edgewise.proxy import attempts, grpc, lifecycle
from edgewise.proxy.content import RequestContent
from edgewise.proxy.messages import error_answer
from edgewise.proxy.plans import request_bytes, response_memo
from edgewise.proxy.relay import Relay
from edgewise.proxy.wire import FOREVER, Buffer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import ResponsePlan
    from edgewise.proxy.lifecycle import Connection

_POLICY = "transcode"
_AT_ONCE = 65536
"""Bytes of JSON that are read on the spot: a few milliseconds at most."""
_threads = ThreadPoolExecutor(2, "transcode")
_JSON = (b"Content-Type", b"application/json")
_TYPES = {Kind.LINES: b"application/x-ndjson", Kind.EVENTS: b"text/event-stream"}
_USUAL_TRAILERS = b"grpc-status: 0\r\n"
_OWN_TRAILERS = frozenset((b"grpc-status", b"grpc-message", b"grpc-status-details-bin"))
_UNKNOWN_YET = Denial(503, _POLICY, "The services are not known yet.", ((b"Retry-After", b"1"),))


class Transcoding:
    """The policy of a route whose servers speak gRPC. Clients that speak it themselves pass."""

    def __init__(self, transcoders: Transcoders) -> None:
        self._transcoders = transcoders

    def check(self, exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """Make a request the call that it is bound to."""
        if exchange.grpc is not None:
            return None
        transcoder = self._transcoders.current
        if transcoder is None:
            return _UNKNOWN_YET
        plan = exchange.plan
        known = plan.transcoded
        if known is None or known[0] is not transcoder or known[3] is not plan.head or known[4] is not plan.revised:
            request = _sent_on(plan)
            found = transcoder.find(request)
            if isinstance(found, Denial | Answer):
                self._transcoders.missed()
                return found
            call_plan = _call_plan(exchange, found, request)
            known = plan.transcoded = (transcoder, found, call_plan, plan.head, plan.revised)
        if exchange.body is None:
            _begin(exchange, transcoder, known[1], known[2], known[1].messages(b""))
            return None
        content = gathered(exchange, transcoder.most_request, _POLICY)
        if isinstance(content, bytes) and len(content) <= _AT_ONCE:
            _begin(exchange, transcoder, known[1], known[2], known[1].messages(content))
            return None
        return _wait(exchange, transcoder, known[1], known[2], content)


def _sent_on(plan: Plan) -> RequestHead:
    """Return a request as the route and its policies send it on: with the target that they made of the client's."""
    request: RequestHead = plan.revised or plan.request
    target = plan.head.split(b" ", 2)[1]
    if target == request.target:
        return request
    path, mark, query = target.partition(b"?")
    sent = query if mark else None
    return RequestHead(request.method, target, path, sent, request.minor, request.lines, request.secret)


async def _wait(
    exchange: Exchange, transcoder: Transcoder, call: Call, plan: Plan, content: bytes | Awaitable[bytes]
) -> None:
    """Begin once the content is here; a long one is read in a thread, so that others need not wait for it."""
    whole = content if isinstance(content, bytes) else await content
    if len(whole) <= _AT_ONCE:
        messages = call.messages(whole)
    else:
        messages = await exchange.client.engine.loop.run_in_executor(_threads, call.messages, whole)
    _begin(exchange, transcoder, call, plan, messages)


def _begin(exchange: Exchange, transcoder: Transcoder, call: Call, plan: Plan, messages: bytes) -> None:
    """Put the call in the place of the request. Raises Refused."""
    request = plan.grpc
    assert request is not None
    made = TranscodedCall(exchange, request, transcoder, call)
    if request.timeout is not None:
        try:
            made.expire_in(parse_timeout(request.timeout))
        except ProtocolError as error:
            raise Refused(Denial(error.status, _POLICY, error.detail)) from None
    exchange.grpc = made
    exchange.plan = plan
    exchange.body = MadeContent(exchange, messages)


def _call_plan(exchange: Exchange, call: Call, request: RequestHead) -> Plan:
    """Return the plan of a call: what servers get, and how their answers are read. What clients sent stays as it is.

    `request` is what they sent, or what a policy made of that.
    """
    original = exchange.plan
    prototype = original.prototype if original.revised is None else None
    plan = Plan(original.route, original.request)
    plan.revised = original.revised
    plan.upgrade, plan.idempotent, plan.tls_key = None, original.idempotent, original.tls_key
    shared = prototype is not None and not request.secret
    if shared and prototype is not None and (call.target, call.form) in prototype.calls:
        plan.grpc, plan.head, plan.responses = prototype.calls[call.target, call.form]
        return plan
    plan.grpc = GrpcRequest(Kind.JSON, call.form, b"application/json", request.get(b"grpc-timeout"))
    plan.head = request_bytes(plan, request, call.target, trusted=exchange.client.plans.trusted)
    limits = exchange.client.engine.limits
    plan.responses = response_memo(plan.route, False, plan.close, request.minor, limits, call.form)
    if shared and prototype is not None:
        prototype.calls[call.target, call.form] = plan.grpc, plan.head, plan.responses
    return plan


class MadeContent(RequestContent):
    """Content of a request that was made here: it is whole, and kept for a retry."""

    __slots__ = ()

    def __init__(self, exchange: Exchange, content: bytes) -> None:
        super().__init__(exchange, exchange.client, len(content))
        exchange.client.deadline = FOREVER  # nothing more is expected of it
        self.complete = True
        self.buffering = False
        self.pending.append(content)
        self.pending_bytes = len(content)
        self._replay = [content]


class TranscodedCall(grpc.Call):
    """What an exchange has beside the rest where its call came as JSON."""

    __slots__ = ("call", "told", "transcoder")

    def __init__(self, exchange: Exchange, request: GrpcRequest, transcoder: Transcoder, call: Call) -> None:
        super().__init__(exchange, request)
        self.transcoder = transcoder
        self.call = call
        self.told: UnaryRelay | StreamRelay | None = None
        """What translates the answer."""

    def timeout(self) -> bytes:
        """Return the grpc-timeout for a server: for as long as it is waited for, where the client said nothing."""
        if self._deadline != FOREVER:
            return super().timeout()
        exchange = self._exchange
        if self.call.form != Kind.JSON or exchange.group is None:
            return b""
        return _timeout(exchange.route.response_timeout or exchange.group.response_timeout)

    def make_relay(self, connection: Connection, plan: ResponsePlan, head: bytes) -> Relay:
        """Return what translates an answer; one that is not gRPC passes as it is."""
        if not plan.web:
            return Relay(self._exchange, connection, plan, head)
        make = UnaryRelay if plan.web == Kind.JSON else StreamRelay
        self.told = make(self._exchange, connection, plan, head, self)
        return self.told

    def answer(self, response: Answer) -> Answer:
        """Return an error answer of the edge as those of servers are told; others, and those of filters, stay."""
        plain = any(name == b"Content-Type" and value.startswith(b"text/plain") for name, value in response.fields)
        if response.status < 400 or not plain:
            return response
        self.status = edge_status(response.status)
        failure = self.transcoder.failure(self.status, reason(response.status).decode(), None)
        others = [field for field in response.fields if field[0] != b"Content-Type"]
        return Answer(response.status, (_JSON, *others), failure.content)

    def cut(self, status: int) -> bool:
        """End an answer that has begun with what an HTTP status means; False where the client could not tell that."""
        told = self.told
        if told is None or not status:
            return False
        if told.begun:
            fields = status_fields(edge_status(status), reason(status).decode())
            told.end(b"", b"".join([b"%b: %b\r\n" % field for field in fields]), clean=False)
        else:
            exchange = self._exchange
            exchange.answered = False
            exchange.client.source = None
            lifecycle.answer(exchange, error_answer(status))
        return True


_timeouts: dict[float, bytes] = {}
"""Of routes and upstreams."""


def _timeout(seconds: float) -> bytes:
    if seconds not in _timeouts:
        if len(_timeouts) > 1000:  # of configurations that are gone
            _timeouts.clear()
        _timeouts[seconds] = format_timeout(seconds)
    return _timeouts[seconds]


# ---- answers ---------------------------------------------------------------------------------------------------------


class UnaryRelay(Relay):
    """An answer of one message. Its head waits for the status that comes last."""

    __slots__ = ("_call", "_messages", "_reader")

    begun: ClassVar[bool] = False

    def __init__(
        self, exchange: Exchange, connection: Connection, plan: ResponsePlan, head: bytes, call: TranscodedCall
    ) -> None:
        super().__init__(exchange, connection, plan, head)
        self._call = call
        self._reader = MessageDecoder(call.transcoder.most_answer)
        self._messages: list[tuple[int, bytes]] = []

    def begin(self) -> None:
        """Go on to the end where the head was all."""
        if self._plan.grpc_status is not None:
            self.end(b"", _lines(self._plan), clean=True)

    def pass_on(self, content: Buffer) -> None:
        """Gather the message."""
        _take(self, bytes(content))

    def received(self, messages: list[tuple[int, bytes]]) -> None:
        """Keep what came."""
        self._messages += messages

    def end(self, content: Buffer, trailers: bytes, *, clean: bool) -> None:
        """Send the message, or the status where it is none of success."""
        if content and not _take(self, bytes(content)):
            return
        status = find_status(trailers)
        if status is None or status != Status.OK:
            self._fail(_failure(self._call, status, trailers), trailers, clean=clean)
            return
        self._call.status = status
        messages = self._messages
        try:
            if len(messages) != 1 or messages[0][0] & COMPRESSED or not self._reader.whole:
                raise Untranslatable("not one message in answer to a unary call")
            told = self._call.call.told(messages[0][1])
        except Untranslatable as error:
            self._fail(_broken(self._exchange, self._call, error), b"", clean=clean)
            return
        self._answer(200, told, _trailing(trailers) if trailers != _USUAL_TRAILERS else b"", clean=clean)

    def _fail(self, failure: Failure, trailers: bytes, *, clean: bool) -> None:
        told, lines = _failed(failure)
        self._answer(failure.status, told, lines + _trailing(trailers), clean=clean)

    def _answer(self, status: int, told: Told, lines: bytes, *, clean: bool) -> None:
        exchange = self._exchange
        self._head = _whole_head(self._head, status, told, lines)
        exchange.status = status
        self._finish(b"" if exchange.plan.is_head else told.content, clean=clean)


class StreamRelay(Relay):
    """An answer of any number of messages: lines, or events. Its head goes out with the first one, or by itself once
    the server sent it so; a status that comes before that is told as of a unary call, one that comes later as the last
    line."""

    __slots__ = ("_call", "_reader", "begun")

    def __init__(
        self, exchange: Exchange, connection: Connection, plan: ResponsePlan, head: bytes, call: TranscodedCall
    ) -> None:
        super().__init__(exchange, connection, plan, head)
        self._call = call
        self._reader = MessageDecoder(call.transcoder.most_answer)
        self.begun = False

    def begin(self) -> None:
        """Send the head where nothing has taken it along yet."""
        if self._plan.grpc_status is not None:
            self.end(b"", _lines(self._plan), clean=True)
        elif not self.begun:
            self._start(_TYPES[self._plan.web])
            self._send(b"")

    def pass_on(self, content: Buffer) -> None:
        """Send the messages on that are whole."""
        _take(self, bytes(content))

    def received(self, messages: list[tuple[int, bytes]]) -> None:
        """Send messages. Raises Untranslatable."""
        if not messages:
            return
        parts = []
        for flags, message in messages:
            if flags & COMPRESSED:
                raise Untranslatable("a message is compressed")
            told = self._call.call.told(message)
            parts.append(told.content if told.raw else self._written(told.content))
        if not self.begun:
            self._start(told.content_type if told.raw else _TYPES[self._plan.web])
        self._chunked(b"".join(parts))

    def _written(self, content: bytes) -> bytes:
        return b"data: %b\n\n" % content if self._plan.web == Kind.EVENTS else content + b"\n"

    def _start(self, content_type: bytes) -> None:
        self.begun = True
        framing = b"Transfer-Encoding: chunked\r\n" if self._plan.chunk else b""
        self._head = b"%bContent-Type: %b\r\n%b\r\n" % (self._head[:-2], content_type, framing)

    def _chunked(self, content: bytes) -> None:
        if content:
            self._send(encode_chunk(content) if self._plan.chunk else content)

    def end(self, content: Buffer, trailers: bytes, *, clean: bool) -> None:
        """Send the last messages, and the status where it is none of success."""
        if content and not _take(self, bytes(content)):
            return
        status = find_status(trailers)
        failure = None
        if status is None or status != Status.OK:
            failure = _failure(self._call, status, trailers)
        else:
            self._call.status = status
        if failure is not None and not self.begun:
            told, lines = _failed(failure)
            self._head = _whole_head(self._head, failure.status, told, lines + _trailing(trailers))
            self._exchange.status = failure.status
            self._finish(told.content, clean=clean)
            return
        if not self.begun:
            self._start(_TYPES[self._plan.web])
        last = b"" if failure is None else self._last(failure)
        if self._plan.chunk:
            last = b"%b0\r\n\r\n" % (encode_chunk(last) if last else b"")
        self._finish(last, clean=clean)

    def _last(self, failure: Failure) -> bytes:
        if self._plan.web == Kind.EVENTS:
            return b"event: error\ndata: %b\n\n" % failure.content
        return b'{"error":%b}\n' % failure.content


def _take(relay: UnaryRelay | StreamRelay, content: bytes) -> bool:
    """Read messages out of content; False: they were none, and the exchange is over."""
    exchange, call = relay._exchange, relay._call
    try:
        relay.received(relay._reader.feed(content))
    except ProtocolError as error:
        attempts.ended(exchange, ok=False)
        lifecycle.fail(exchange, 502, "upstream-body", error.detail)
        return False
    except Untranslatable as error:
        failure = _broken(exchange, call, error)
        attempts.ended(exchange, ok=False)
        lifecycle.fail(exchange, failure.status, "upstream-body", exchange.failure)
        return False
    return True


def _lines(plan: ResponsePlan) -> bytes:
    return b"".join([field.line for field in plan.response.fields])


def _trailing(trailers: bytes) -> bytes:
    """Return the fields for metadata that came behind the messages."""
    lines = [line for line in trailers.splitlines(keepends=True) if line[:1] not in b"\r\n"]
    told = [line for line in lines if line.partition(b":")[0].lower() not in _OWN_TRAILERS]
    return b"".join([b"Grpc-Trailer-" + line for line in told])


def _field(lines: bytes, name: bytes) -> bytes:
    """Return the value of a field among lines, b"" where it is not there."""
    for line in lines.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip(b" \t")
    return b""


def _failure(call: TranscodedCall, status: int | None, trailers: bytes) -> Failure:
    """Return what the client gets for a status in trailers; None: there was none."""
    if status is None:
        call.status = Status.UNKNOWN
        return call.transcoder.failure(Status.UNKNOWN, "the server sent no status", None)
    call.status = status
    text = unquote_to_bytes(_field(trailers, b"grpc-message")).decode("utf-8", "replace")
    return call.transcoder.failure(status, text, _details(_field(trailers, b"grpc-status-details-bin")))


def _details(value: bytes) -> bytes | None:
    """Return binary metadata, which may come with or without padding; None for what is none."""
    try:
        return binascii.a2b_base64(value.rstrip(b"=") + b"=" * (-len(value.rstrip(b"=")) % 4)) if value else None
    except binascii.Error:
        return None


def _broken(exchange: Exchange, call: TranscodedCall, error: Untranslatable) -> Failure:
    """Note that a server's answer is no good."""
    exchange.end, exchange.failure = "upstream-body", str(error)
    call.status = Status.INTERNAL
    return call.transcoder.failure(Status.INTERNAL, "the server's answer cannot be read", None)


def _failed(failure: Failure) -> tuple[Told, bytes]:
    wait = failure.retry_after
    return Told(b"application/json", failure.content), b"" if wait is None else b"Retry-After: %d\r\n" % wait


def _whole_head(head: bytes, status: int, told: Told, lines: bytes) -> bytes:
    """Return the head of an answer that is whole, from that of the server."""
    if status != 200:
        head = b"HTTP/1.1 %d %b%b" % (status, reason(status), head[head.index(b"\r\n") :])
    framing = b"Content-Type: %b\r\nContent-Length: %d\r\n" % (told.content_type, len(told.content))
    return b"%b%b%b\r\n" % (head[:-2], framing, lines)
