"""A gRPC call under way: its deadline, failures in gRPC's words, and gRPC-Web to gRPC and back."""

from __future__ import annotations

from asyncio import TimerHandle
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from edgewise.contracts.plan import Answer, GrpcRequest
from edgewise.http.statuses import reason
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.grpc import (
    Kind,
    edge_status,
    find_status,
    format_timeout,
    parse_timeout,
    status_fields,
    trailers_only,
)
from edgewise.protocols.grpc_web import ResponseEncoder, TextDecoder
from edgewise.proxy import lifecycle
from edgewise.proxy.content import RequestContent
from edgewise.proxy.relay import Relay
from edgewise.proxy.wire import FOREVER, Buffer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import ResponsePlan
    from edgewise.proxy.downstream import Downstream
    from edgewise.proxy.http2_downstream import Http2Stream
    from edgewise.proxy.lifecycle import Connection

_LONGEST_TEXT = 1024
"""Characters of grpc-message."""
_CONTENT_FIELDS = frozenset((b"content-type", b"content-encoding", b"content-language"))


class Call:
    """What an exchange has beside the rest where it is a gRPC call."""

    __slots__ = ("_deadline", "_exchange", "_request", "_timer", "relay", "status")

    def __init__(self, exchange: Exchange, request: GrpcRequest) -> None:
        self._exchange = exchange
        self._request = request
        self._deadline = FOREVER
        self._timer: TimerHandle | None = None
        self.status: int | None = None
        """The grpc-status that the client got; None where it got none."""
        self.relay: CallRelay | None = None
        """What passes on an answer that has messages."""

    # ---- the deadline ------------------------------------------------------------------------------------------------

    def expire_in(self, seconds: float) -> None:
        """End the call that long after it began."""
        exchange = self._exchange
        self._deadline = exchange.started + seconds
        self._timer = exchange.client.engine.loop.call_later(seconds, self._expired)

    def _expired(self) -> None:
        self._timer = None
        if not self._exchange.client.finishing:  # else all there is to say is on its way
            lifecycle.fail(self._exchange, 504, "edge-deadline", "the call's deadline passed")

    def timeout(self) -> bytes:
        """Return the grpc-timeout for a server: what is left of the deadline; b"" without one."""
        return b"" if self._deadline == FOREVER else format_timeout(max(0.0, self._deadline - monotonic()))

    def ended(self) -> None:
        """The exchange is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def make_relay(self, connection: Connection, plan: ResponsePlan, head: bytes) -> Relay:
        """Return what passes on an HTTP/2 server's answer."""
        make = WebRelay if plan.web else CallRelay
        self.relay = make(self._exchange, connection, plan, head)
        return self.relay

    # ---- failures ----------------------------------------------------------------------------------------------------

    def answer(self, response: Answer) -> Answer:
        """Return an error answer of the edge in gRPC's words; what is no error, or has a status, stays as it is."""
        self.status = find_status(b"".join([b"%b: %b\r\n" % field for field in response.fields]))
        if self.status is not None or response.status < 400:
            return response
        self.status = edge_status(response.status)
        others = [field for field in response.fields if field[0].lower() not in _CONTENT_FIELDS]
        told = trailers_only(self.status, _text(response), self._request.answer_type)
        return Answer(200, (*told, *others), b"")

    def cut(self, status: int) -> bool:
        """End an answer that has begun with what an HTTP status means; False where the client could not tell that."""
        relay = self.relay
        if relay is None or not status or not relay.open_ended:
            return False
        fields = status_fields(edge_status(status), f"{status} {reason(status).decode()}")
        relay.end(b"", b"".join([b"%b: %b\r\n" % field for field in fields]), clean=False)
        return True


def begin(exchange: Exchange, request: GrpcRequest, timeout: bytes | None) -> bool:
    """Make the record of a call; `timeout` as in its head, None where the head has it. False: it was refused."""
    call = exchange.grpc = Call(exchange, request)
    timeout = timeout or request.timeout
    if timeout is not None:
        try:
            call.expire_in(parse_timeout(timeout))
        except ProtocolError as error:
            lifecycle.fail(exchange, error.status, "client-head", error.detail)
            return False
    return True


def _text(response: Answer) -> str:
    """Return the grpc-message for an error answer: its text where it is one."""
    if any(name.lower() == b"content-type" and value.startswith(b"text/plain") for name, value in response.fields):
        return response.content.decode("utf-8", "replace").strip()[:_LONGEST_TEXT]
    return f"{response.status} {reason(response.status).decode()}"


# ---- requests --------------------------------------------------------------------------------------------------------


class CallContent(RequestContent):
    """A stream of requests: it may rest for as long as the answers may, whichever side spoke last."""

    __slots__ = ()

    timed: ClassVar[bool] = False

    def __init__(self, exchange: Exchange, client: Downstream | Http2Stream, replay_limit: int) -> None:
        super().__init__(exchange, client, replay_limit)
        self._limit = exchange.route.call_limit

    def extend_deadline(self) -> None:
        """Nothing is expected of the client once a server is there."""
        if self.upstream is None:
            super().extend_deadline()
        else:
            self._client.deadline = FOREVER


class WebTextContent(RequestContent):
    """Content of gRPC-Web in the text form, on its way to a server of gRPC."""

    __slots__ = ("_text",)

    def __init__(self, exchange: Exchange, client: Downstream | Http2Stream, replay_limit: int) -> None:
        super().__init__(exchange, client, replay_limit)
        self._text = TextDecoder()

    def _forward(self, data: bytes) -> None:
        try:
            data = self._text.feed(data)
            if self.complete:
                self._text.end()
        except ProtocolError as error:
            lifecycle.fail(self._exchange, error.status, "client-body", error.detail)
            return
        if data or self.complete:
            super()._forward(data)


def content(
    exchange: Exchange, request: GrpcRequest, client: Downstream | Http2Stream, replay_limit: int
) -> RequestContent:
    """Return what carries the content of a call's request. That of gRPC-Web is never a stream of several messages."""
    if request.kind == Kind.GRPC:
        return CallContent(exchange, client, replay_limit)
    if request.kind == Kind.WEB_TEXT and request.translated:
        return WebTextContent(exchange, client, replay_limit)
    return RequestContent(exchange, client, replay_limit)


# ---- answers ---------------------------------------------------------------------------------------------------------


class CallRelay(Relay):
    """An answer of messages and trailers."""

    __slots__ = ()

    def end(self, content: Buffer, trailers: bytes, *, clean: bool) -> None:
        """Send the last content on, and the trailers."""
        self._exchange.grpc.status = find_status(trailers)
        super().end(content, trailers, clean=clean)

    @property
    def open_ended(self) -> bool:
        """Can the client be told a status at any point?"""
        client, plan = self._exchange.client, self._plan
        return plan.chunk or client.multiplexed


class WebRelay(CallRelay):
    """The same for a gRPC-Web client: trailers go with the content."""

    __slots__ = ("_encoder",)

    def __init__(self, exchange: Exchange, connection: Connection, plan: ResponsePlan, head: bytes) -> None:
        super().__init__(exchange, connection, plan, head)
        self._encoder = ResponseEncoder(text=plan.web == Kind.WEB_TEXT)

    def pass_on(self, content: Buffer) -> None:
        """Send content on, in a chunk where the client needs it so."""
        super().pass_on(self._encoder.feed(bytes(content)))

    def end(self, content: Buffer, trailers: bytes, *, clean: bool) -> None:
        """Send the last content on, with the trailers as its last frame."""
        self._exchange.grpc.status = find_status(trailers)
        last = self._encoder.feed(bytes(content)) + self._encoder.end(trailers)
        Relay.end(self, last, b"", clean=clean)

    @property
    def open_ended(self) -> bool:
        """The status goes where content goes."""
        return True
