"""A server's HTTP/2 connection: each stream is an upstream connection of its own to the rest of the engine."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import ResponsePlan
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1_chunked import passing_trailers
from edgewise.protocols.http2 import (
    DATA,
    GOAWAY,
    HEAD,
    RESET,
    SETTLED,
    TRAILERS,
    WRITABLE,
    Event,
    Http2Connection,
    Http2Error,
    Http2Limits,
)
from edgewise.proxy import attempts, compressing, lifecycle, pool
from edgewise.proxy.http2_fields import own_block
from edgewise.proxy.http2_wire import CANCEL, REFUSED_STREAM, Http2Wire
from edgewise.proxy.relay import Relay
from edgewise.proxy.wire import FOREVER, REQUEST_READ

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Endpoint, Upstream
    from edgewise.proxy.upstream import UpstreamConnection

_MOST_STREAMS = 100
"""Streams on a connection at most, where the server would take more: others get a connection of their own."""
_STREAM_WINDOW = 262144
_LIMITS = Http2Limits(
    head_bytes=65536,
    initial_window=_STREAM_WINDOW,
    connection_window=_MOST_STREAMS * _STREAM_WINDOW,
    turn=256,
)
"""The connection's window is that of all its streams: clients that do not read must not stop the others' answers."""
_INTERIM_LIMIT = 16


class Queued:
    """A place in the queue for a connection that is being made: it can be left."""

    __slots__ = ("_queue", "exchange")

    def __init__(self, exchange: Exchange, queue: list[Queued]) -> None:
        self.exchange: Exchange | None = exchange
        self._queue = queue
        queue.append(self)
        exchange.upstream = self

    def abandon(self) -> None:
        """The exchange does not want it any more."""
        self.exchange = None
        if self in self._queue:
            self._queue.remove(self)


def take_over(connected: UpstreamConnection) -> None:
    """A connection that speaks HTTP/2 was made: begin the first exchange. The others wait on, for the server's word of
    how many it takes at once."""
    engine, endpoint = connected.engine, connected.endpoint
    first = connected.exchange
    assert first is not None
    engine.remove_reader(connected.fd)
    engine.connections.discard(connected)
    sock, connected.sock = connected.sock, None
    connection = Http2Upstream(connected, sock)
    endpoint.http2 = True
    if endpoint.connecting is connected:
        endpoint.connecting = connection
    engine.connections.add(connection)
    engine.add_reader(connection.fd, connection.on_readable)
    connection.begin(first)


class Http2Upstream(Http2Wire):
    """The connection. It is among its endpoint's idle ones while it has room for another stream."""

    __slots__ = ("_listed", "_scheme", "begun", "endpoint", "group", "queue", "reused")

    def __init__(self, connected: UpstreamConnection, sock: Any) -> None:
        codec = Http2Connection(server=False, limits=_LIMITS)
        super().__init__(connected.engine, sock, codec)
        self.group: Upstream = connected.group
        self.endpoint: Endpoint = connected.endpoint
        self.queue = connected.queue
        """Who waits for the server's SETTINGS."""
        self._settle_by = monotonic() + self.group.connect_timeout
        self.reused = False
        """An answer came on it."""
        self._listed = False
        """Is it among the endpoint's idle connections?"""
        self.begun: list[UpstreamStream] | None = None
        """Streams whose head came with the events at hand: it waits for the content that may have come along."""
        self._scheme = b"http" if self.group.tls is None else b"https"

    @property
    def room(self) -> bool:
        """May another stream be opened now?"""
        codec = self.codec
        settled = self._settle_by == FOREVER
        return settled and not codec.closing and codec.open_streams < min(codec.peer_max_streams, _MOST_STREAMS)

    @property
    def exchange(self) -> Exchange | None:
        """One of the exchanges under way; None when the connection is idle."""
        return next((stream.exchange for stream in self.streams.values()), None)

    # ---- requests ----------------------------------------------------------------------------------------------------

    def start(self, exchange: Exchange) -> None:
        """Take an exchange; called with the connection taken off the idle ones."""
        self._listed = False
        self.begin(exchange)
        self.offer()

    def begin(self, exchange: Exchange) -> None:
        """Open a stream for an exchange's request."""
        exchange.dispatched = monotonic()
        stream = exchange.upstream = UpstreamStream(self, exchange)
        head = exchange.head or exchange.plan.head
        body = exchange.body
        try:
            stream_id = self.codec.open_with(head, own_block(exchange), end=body is None, scheme=self._scheme)
        except Http2Error as error:
            attempts.failed(exchange, 502, "upstream-send", str(error), sent=False, stale=True)
            return
        stream.stream_id = stream_id
        self.streams[stream_id] = stream
        self.flush_later()
        if body is not None:
            held = lifecycle.content_wanted(exchange, stream)
            if held or body.complete:
                stream.send_content(held, body)

    def offer(self) -> None:
        """While there is room, take those who wait for it; then be among the idle ones."""
        endpoint = self.endpoint
        while endpoint.waiting and self.room:
            self.begin(pool.next_waiting(endpoint))
        if not self._listed and self.room:
            self._listed = True
            endpoint.idle.append(self)

    def _settle(self) -> None:
        """The server's SETTINGS are known: begin the exchanges that wait for them, as many as it takes."""
        self._settle_by = FOREVER
        queue = self._leave_queue()
        while queue and self.room:
            self.begin(queue.pop(0))
        self.offer()
        for exchange in queue:
            exchange.upstream = None
            pool.open_or_wait(exchange, self.endpoint)

    def _leave_queue(self) -> list[Exchange]:
        """Take no more into the queue; return who is in it."""
        if self.endpoint.connecting is self:
            self.endpoint.connecting = None
        left = [queued.exchange for queued in self.queue if queued.exchange is not None]
        self.queue.clear()
        return left

    def finished(self, stream: UpstreamStream) -> None:
        """An exchange needs its stream no more: there is room for one who waits, or for a later one."""
        if self.streams.pop(stream.stream_id, None) is None or self.sock is None:
            return
        if not self.streams:
            self._idle_until = monotonic() + self.group.idle_timeout
            if self.codec.closing or self.endpoint.drained:
                self.close()
                return
        self.offer()

    # ---- answers -----------------------------------------------------------------------------------------------------

    def handle(self, events: list[Event]) -> None:
        """Do what the codec says."""
        streams = self.streams
        begun = self.begun = []
        for kind, stream_id, value, flag in events:
            stream = streams.get(stream_id)
            if stream is None:
                if kind == DATA:
                    self.codec.consumed(stream_id, len(value))
                elif kind == SETTLED:
                    self._settle()
                elif kind == GOAWAY:
                    self._leave()
            elif kind == HEAD:
                stream.received_head(value, end=flag)
            elif kind == DATA:
                stream.received(value, end=flag)
            elif kind == TRAILERS:
                stream.received(b"", end=True, trailers=passing_trailers(value))
            elif kind == RESET:
                stream.was_reset(value)
            elif kind == WRITABLE:
                stream.writable()
        self.begun = None
        for stream in begun:
            stream.send_begun()

    def peer_left(self) -> None:
        """What the server said before it closed may tell which streams it did not look at."""
        try:
            data = self.sock.recv(REQUEST_READ)
        except OSError:
            data = b""
        self.handle(self.codec.receive(data))
        while self.codec.unfinished:
            self.handle(self.codec.receive(b""))
        self.close()

    def _leave(self) -> None:
        """The server takes no more streams (RFC 9113 section 6.8)."""
        self._listed = False
        if self in self.endpoint.idle:
            self.endpoint.idle.remove(self)
        if not self.streams:
            self.close()

    # ---- ends --------------------------------------------------------------------------------------------------------

    def expired(self, now: float) -> None:
        """Some deadline passed."""
        if self.stuck(now) or self._settle_by < now:
            self.close()
            return
        for stream in [one for one in self.streams.values() if one.deadline < now]:
            stream.expired(now)
        if not self.streams and self._idle_until < now:
            self.retire()

    def retire(self) -> None:
        """Take no new streams; close when the last one has ended."""
        if self.sock is None:
            return
        if not self.codec.closing:
            self.codec.goaway(last=True)
            self.flush()
        self._leave()

    def ended(self) -> None:
        """The connection is no more: so are the attempts on it."""
        self.engine.servers -= 1
        pool.forget(self)
        streams, self.streams = self.streams, {}
        reason = "closed by the server" if self.codec.error is None else self.codec.error[1]
        queue = self._leave_queue()
        for stream in streams.values():
            stream.lost(reason)
        for exchange in queue:
            attempts.failed(exchange, 502, "upstream-connect", reason, sent=False)


class UpstreamStream:
    """One request on an HTTP/2 connection: to an exchange what an `UpstreamConnection` is."""

    __slots__ = (
        "_held", "_interim", "_paused", "_relay", "_timeout", "_unread", "connection", "deadline", "endpoint", "engine",
        "exchange", "fd", "group", "over", "reused", "stream_id", "whole",
    )  # fmt: skip

    def __init__(self, connection: Http2Upstream, exchange: Exchange) -> None:
        self.connection = connection
        self.engine = connection.engine
        self.group = connection.group
        self.endpoint = connection.endpoint
        self.reused = connection.reused
        self.exchange: Exchange | None = exchange
        self.stream_id = 0
        self.fd = -1
        self.over = False
        """The server ended the stream."""
        self.whole = False
        """All of the content came."""
        self._timeout = exchange.route.response_timeout or connection.group.response_timeout
        self.deadline = exchange.dispatched + self._timeout
        self._relay: Relay | None = None
        self._held: list[tuple[bytes, bool, bytes]] = []
        """Content that came while a filter looks at the head."""
        self._paused = False
        self._unread = 0
        self._interim = 0

    @property
    def sock(self) -> Any:
        """The connection's socket; None once it is closed."""
        return self.connection.sock

    # ---- the request -------------------------------------------------------------------------------------------------

    def send_content(self, content: bytes, body: Any) -> bool:
        """Send some of a request's content, and its end with the last of it; False: pause the client."""
        codec = self.connection.codec
        if body.complete and body.trailers:
            taken = codec.send_data(self.stream_id, content, end=False)
            codec.send_trailers(self.stream_id, body.trailers)
        else:
            taken = codec.send_data(self.stream_id, content, end=body.complete)
        self.connection.flush_later()
        return taken

    def writable(self) -> None:
        """The server took all that was kept for it."""
        exchange = self.exchange
        if exchange is not None and exchange.body is not None:
            self.await_answer()
            exchange.body.flow()

    def await_answer(self) -> None:
        """The request is whole, or some of the answer came: the time for the next bytes counts from here."""
        self.deadline = monotonic() + self._timeout

    # ---- the answer --------------------------------------------------------------------------------------------------

    def received_head(self, head: bytes, *, end: bool) -> None:
        """A response head came; `end`: that is all."""
        exchange = self.exchange
        assert exchange is not None
        self.over = end
        connection = self.connection
        connection.reused = True
        self.deadline = connection.heard + self._timeout
        try:
            lifecycle.respond(exchange, self, head, b"")
        except ProtocolError as error:
            attempts.failed(exchange, 502, "upstream-head", error.detail)

    def after_interim(self, rest: bytes) -> None:
        """A 1xx response is dealt with: the next head comes by itself, within bounds."""
        self._interim += 1
        if self._interim > _INTERIM_LIMIT:
            assert self.exchange is not None
            attempts.failed(self.exchange, 502, "upstream-head", "too many interim responses")

    def relay(self, plan: ResponsePlan, head: bytes, rest: bytes) -> None:
        """Pass the content on, behind `head`, as it comes."""
        exchange = self.exchange
        assert exchange is not None
        if exchange.grpc is not None:
            self._relay = exchange.grpc.make_relay(self, plan, head)
        else:
            make = compressing.CompressingRelay if plan.coding else Relay
            self._relay = make(exchange, self, plan, head)
        held, self._held = self._held, []
        for content, end, trailers in held:
            self._pass_on(content, end, trailers)
        if held and not self._paused:
            self._give_back()
        if self.connection.begun is None:  # a filter looked at the head meanwhile
            self.send_begun()
        else:
            self.connection.begun.append(self)

    def send_begun(self) -> None:
        """Send a head whose content lets wait for itself."""
        if self._relay is not None and self.exchange is not None:
            self._relay.begin()

    def received(self, content: bytes, *, end: bool, trailers: bytes = b"") -> None:
        """Content came, or the end; the server may send more once it is passed on."""
        self.over = self.whole = end
        self.deadline = self.connection.heard + self._timeout
        if content:
            self._unread += len(content)
        if self._relay is None:
            self._held.append((content, end, trailers))
            return
        self._pass_on(content, end, trailers)
        if content and not self._paused:
            self._give_back()

    def _pass_on(self, content: bytes, end: bool, trailers: bytes) -> None:
        relay = self._relay
        assert relay is not None
        if end:
            relay.end(content, trailers, clean=True)
        else:
            relay.pass_on(content)

    def pause(self) -> None:
        """Let the server's window run out."""
        self._paused = True

    def resume(self) -> None:
        """Let the server send again."""
        self._paused = False
        self.await_answer()
        if self._relay is not None:
            self._give_back()

    def _give_back(self) -> None:
        if self._unread:
            size, self._unread = self._unread, 0
            self.connection.codec.consumed(self.stream_id, size)
            self.connection.flush_later()

    # ---- ends --------------------------------------------------------------------------------------------------------

    def was_reset(self, code: int) -> None:
        """The server, or our codec for what the server did, gave the stream up."""
        if self.over:  # the answer is whole: this only ends an upload (RFC 9113 section 8.1)
            return
        self.over = True
        exchange = self.exchange
        if exchange is None:
            self.connection.finished(self)
        elif code == REFUSED_STREAM:  # nothing was done with the request (RFC 9113 section 8.7)
            attempts.failed(exchange, 502, "upstream-head", "stream refused", sent=False, stale=True)
        else:
            self.lost(f"stream reset by error {code}")

    def lost(self, reason: str) -> None:
        """No more of the answer will come."""
        exchange = self.exchange
        if exchange is None or (self.whole and exchange.answered):  # all of it is here, and still being compressed
            return
        if exchange.answered:
            attempts.ended(exchange, ok=False)
            lifecycle.fail(exchange, 502, "upstream-body", reason)
        else:
            attempts.failed(exchange, 502, "upstream-head", reason, stale=self.reused and self.sock is None)

    def expired(self, now: float) -> None:
        """The deadline passed: no answer, or no more of it."""
        exchange = self.exchange
        self.deadline = FOREVER
        if exchange is None:
            return
        body = exchange.body
        if self._paused:
            self.deadline = now + self._timeout
        elif exchange.answered:
            attempts.ended(exchange, ok=False)
            lifecycle.fail(exchange, 504, "upstream-body", "no content in time")
        elif body is not None and not body.complete and body.timed and not self.connection.codec.waits(self.stream_id):
            self.deadline = now + self._timeout  # the client is still sending: its own deadline counts
        else:
            if self.connection.heard < exchange.dispatched:
                self.connection.retire()  # not a sign of life: others had better not wait for it too
            attempts.failed(exchange, 504, "upstream-head", "no answer in time")

    def release(self, now: float) -> None:
        """The exchange is over and its answer was whole."""
        if self.over:
            self.exchange = None
            self._relay = None
            self.connection.finished(self)
        else:
            self.abandon()

    def abandon(self) -> None:
        """The stream is of no further use; the connection is."""
        self.exchange = None
        self._relay = None
        connection = self.connection
        if connection.sock is not None and self.stream_id:
            connection.codec.reset(self.stream_id, CANCEL)
            connection.flush_later()
        connection.finished(self)
