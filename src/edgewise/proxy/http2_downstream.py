"""A client's HTTP/2 connection: each stream is a client of its own to the rest of the engine."""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from edgewise.contracts.exchange import Exchange
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1_chunked import passing_trailers
from edgewise.protocols.http2 import DATA, HEAD, RESET, TRAILERS, WRITABLE, Event, Http2Connection, Http2Limits
from edgewise.protocols.http2_abuse import GLITCH
from edgewise.proxy import lifecycle
from edgewise.proxy.http2_glitches import FORGIVE_SECONDS
from edgewise.proxy.http2_wire import CANCEL, INTERNAL_ERROR, NO_ERROR, Http2Wire
from edgewise.proxy.messages import with_lines
from edgewise.proxy.plans import Plans, empty_plan
from edgewise.proxy.wire import FOREVER, Buffer, Source, peer_certificate

if TYPE_CHECKING:
    from edgewise.proxy.engine import Engine

_MOST_UNSENT = 262144
"""Bytes the kernel takes ahead of what the network carries: what it has, no small answer can overtake."""
_TURN = 512
"""Frames decoded before others have their turn, of which heads and content count double."""
_MOST_EVENTS = 16
"""Requests begun, ended and gone on with before others have their turn."""
_PATIENCE = 1.0
"""Seconds after which a request is not given up in vain: its client waited for a server that may be in trouble."""
_UNCHARGED = 4 * GLITCH
"""Vain work that no address answers for: connections of HTTP/1.1, too, may be made to ask in vain."""


class Http2Downstream(Http2Wire):
    """The connection: bytes to events and back, one write for all that its streams have to say."""

    __slots__ = (
        "_certificate",
        "_charged",
        "_events",
        "_farewells",
        "_forgiven",
        "peer",
        "plans",
        "suffix",
        "tls",
        "tls_key",
    )

    def __init__(
        self,
        engine: Engine,
        sock: socket.socket,
        peer: tuple[str, int],
        plans: Plans,
        *,
        tls: bool,
        tls_key: str | None,
        suffix: str,
    ) -> None:
        limits = engine.limits
        bounds = Http2Limits(
            max_streams=limits.http2_streams, head_bytes=limits.head_bytes, head_fields=limits.head_fields, turn=_TURN
        )
        super().__init__(engine, sock, Http2Connection(server=True, limits=bounds))
        self.plans = plans
        self.peer = peer
        self.tls = tls
        self.tls_key = tls_key
        self.suffix = suffix
        self._certificate: bytes | None = None
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MOST_UNSENT)
        self._forgiven = monotonic()
        self._charged = 0
        """What the address was charged of the connection's score."""
        self._events: list[Event] = []
        """What is left of the events of the bytes read last."""
        self._farewells = 0
        """GOAWAY frames that a drain has sent."""
        self._idle_until = self._forgiven + limits.header_timeout
        self.flush()

    # ---- reading -----------------------------------------------------------------------------------------------------

    def handle(self, events: list[Event]) -> None:
        """Do what the codec says; the answers go out together."""
        codec = self.codec
        if codec.error is not None:  # the connection ends: no request is begun for that
            self._charge(codec.glitches.score)
            return
        if codec.given_up:
            self.engine.glitches.given_up += len(codec.given_up)
            events = [event for event in events if event[1] not in codec.given_up]
            codec.given_up.clear()
        streams = self.streams
        left = _MOST_EVENTS
        for at, (kind, stream_id, value, flag) in enumerate(events, 1):
            if kind != DATA:
                if not left:
                    self._events += events[at - 1 :]
                    self.go_on_later()
                    return
                left -= 1
            if kind == HEAD:
                self._begin(stream_id, value, b"" if flag else _whole_content(stream_id, events, at))
                continue
            stream = streams.get(stream_id)
            if stream is None:
                if kind == DATA:
                    codec.consumed(stream_id, len(value))
            elif kind == DATA:
                stream.received(value, end=flag)
            elif kind == WRITABLE:
                stream.writable()
            elif kind == RESET:
                stream.was_reset(value, by_codec=flag)
            elif kind == TRAILERS:
                stream.received_end(passing_trailers(value))
        if codec.glitches.score > self._charged + _UNCHARGED:
            self._charge(codec.glitches.score)

    def _go_on(self) -> None:
        if not self._events or self.sock is None:
            super()._go_on()
            return
        self._going_on = False
        events, self._events = self._events, []
        self.handle(events)
        if self.codec.error is not None:
            self.flush()
            self.close()
            return
        self.flush_later()
        if self.codec.unfinished:
            self.go_on_later()

    def _begin(self, stream_id: int, head: bytes, content: bytes) -> None:
        stream = self.streams[stream_id] = Http2Stream(self, stream_id)
        stream.buffer = content
        timeout = None
        try:
            plan = self.plans.memo.young.get(head)
            if plan is None:
                plan, timeout = self.plans.find_call(head)
        except ProtocolError as error:
            lifecycle.refuse(stream, empty_plan(self.engine.table.unmatched, minor=2), error.status, error.detail)
            return
        lifecycle.begin(stream, plan, timeout)

    def _charge(self, score: int) -> None:
        """Charge the client's address with what was done in vain; end the connection if it is too much."""
        cost, self._charged = score - self._charged, score
        limit = self.engine.limits.http2_address_glitches * GLITCH
        if limit and cost > _UNCHARGED and not self.plans.trusted:
            glitches = self.engine.glitches
            if glitches.charge(self.peer[0], cost, limit, self.heard) and self.codec.error is None:
                glitches.refused += 1
                self.codec.refuse("too much was asked in vain from this address")

    # ---- time --------------------------------------------------------------------------------------------------------

    def expired(self, now: float) -> None:
        """Some deadline passed."""
        if self.stuck(now):
            self.close(cut=True)
            return
        if now - self._forgiven > FORGIVE_SECONDS:
            self._forgiven = now
            self.codec.glitches.forgive()
            self._charged >>= 1
        for stream in [one for one in self.streams.values() if one.deadline < now]:
            stream.expired(now)
        if not (self.streams or self._going_on) and self._idle_until < now:
            self._say_goodbye()
        self.flush()

    def forget(self, stream: Http2Stream) -> None:
        """An exchange is over."""
        self.streams.pop(stream.stream_id, None)
        if not self.streams:
            self._idle_until = monotonic() + self.engine.limits.keepalive_timeout

    def close_if_idle(self) -> None:
        """The worker drains; called again and again: say so, serve what was on its way, take no new streams, and close
        when the last one has ended (RFC 9113 section 6.8)."""
        self._farewells += 1
        if self._farewells <= 2:
            self.codec.goaway(last=self._farewells == 2)
            self.flush()
        elif not (self.streams or self._going_on):
            self.close()

    def _say_goodbye(self) -> None:
        self.codec.goaway(last=True)
        self.flush()
        self.close()

    # ---- ends --------------------------------------------------------------------------------------------------------

    def certificate(self) -> bytes:
        """Return the client's certificate (DER) as its handshake verified it, b"" where it has none."""
        if self._certificate is None:
            self._certificate = peer_certificate(self.sock)
        return self._certificate

    @property
    def exchange(self) -> Exchange | None:
        """One of the exchanges under way; None when the connection is idle."""
        return next((stream.exchange for stream in self.streams.values()), None)

    def ended(self) -> None:
        """The connection is no more: so are the clients on it."""
        self._events = []
        for stream in list(self.streams.values()):
            stream.was_reset(CANCEL, by_codec=self.codec.error is not None)


def _whole_content(stream_id: int, events: list[Event], at: int) -> bytes:
    """Return a request's content where all of it came right behind its head: it need not be waited for."""
    if at < len(events):
        kind, of, value, end = events[at]
        if end and kind == DATA and of == stream_id:
            content: bytes = value
            return content
    return b""


class Http2Stream:
    """One request on an HTTP/2 connection: to exchanges what a `Downstream` is, for a single one of them."""

    __slots__ = (
        "_kept", "_paused", "_unread", "broken", "buffer", "connection", "deadline", "engine", "exchange", "finishing",
        "peer", "peer_ip", "plans", "source", "stream_id", "suffix", "tls", "tls_key",
    )  # fmt: skip

    multiplexed: ClassVar[bool] = True
    splicing: ClassVar[bool] = False

    def __init__(self, connection: Http2Downstream, stream_id: int) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.engine = connection.engine
        self.peer = connection.peer
        self.peer_ip = connection.peer[0]
        self.plans = connection.plans
        self.tls = connection.tls
        self.tls_key = connection.tls_key
        self.suffix = connection.suffix
        self.exchange: Exchange | None = None
        self.source: Source | None = None
        self.finishing = False
        self.broken = False
        self.buffer = b""
        """The whole content, where it came with the head."""
        self.deadline = FOREVER
        self._paused = False
        self._unread = 0
        """Bytes of content received whose window is kept back while the server is slower than the client."""
        self._kept = 0
        """Bytes that waited for the client when it was last looked at."""

    @property
    def sock(self) -> Any:
        """The connection's socket, None once the stream is of no use."""
        return None if self.broken else self.connection.sock

    @property
    def closing(self) -> bool:
        """Streams end by themselves; the connection says so where it ends."""
        return False

    def certificate(self) -> bytes:
        """Return the certificate of the connection's client."""
        return self.connection.certificate()

    def client_ip(self) -> str:
        """Return the client's address: the peer's, or the one a chain of trusted proxies vouches for."""
        return self.peer_ip

    # ---- reading -----------------------------------------------------------------------------------------------------

    def received(self, content: bytes, *, end: bool) -> None:
        """Content came; the client may send more of it once it is passed on."""
        self._unread += len(content)
        exchange = self.exchange
        if exchange is not None and exchange.body is not None and not exchange.body.complete:
            exchange.body.feed_content(content, end=end)
        if not self._paused:
            self._give_back()

    def received_end(self, trailers: bytes) -> None:
        """The content ended with trailers."""
        exchange = self.exchange
        if exchange is not None and exchange.body is not None and not exchange.body.complete:
            exchange.body.feed_content(b"", end=True, trailers=trailers)

    def pause_reading(self) -> None:
        """Let the client's window run out."""
        self._paused = True

    def resume_reading(self) -> None:
        """Let the client send again."""
        self._paused = False
        self._give_back()

    def _give_back(self) -> None:
        if self._unread:
            size, self._unread = self._unread, 0
            self.connection.codec.consumed(self.stream_id, size)
            self.connection.flush_later()

    def was_reset(self, code: int, *, by_codec: bool) -> None:
        """The client, or our codec for what the client did, gave the stream up."""
        self.broken = True
        exchange = self.exchange
        if exchange is None:
            self.connection.forget(self)
            return
        if by_codec:
            lifecycle.client_left(exchange, "client-body", "protocol error on the stream")
        else:
            if monotonic() - exchange.started > _PATIENCE:
                self.connection.codec.glitches.make_up(GLITCH)
            lifecycle.client_left(exchange)

    # ---- writing -----------------------------------------------------------------------------------------------------

    def send_head(self, head: bytes, content: Buffer, *, end: bool) -> bool:
        """Send a response head and the content that is at hand, all of it with `end`; False as with `send`."""
        exchange = self.exchange
        if exchange is not None and exchange.answer_lines:
            head = with_lines(exchange, head)
        codec = self.connection.codec
        if not content:
            codec.send_head(self.stream_id, head, end=end)
            self.connection.flush_later()
            return True
        codec.send_head(self.stream_id, head, end=False)
        return self.send(content, end=end)

    def send_interim(self, head: bytes) -> None:
        """Send a 1xx response."""
        self.connection.codec.send_head(self.stream_id, head, end=False)
        self.connection.flush_later()

    def send(self, data: Buffer, *, end: bool = False) -> bool:
        """Send content or keep it; False when some had to be kept, so that the source pauses."""
        taken = self.connection.codec.send_data(self.stream_id, data, end=end)
        self.connection.flush_later()
        if not taken:
            self._wait(monotonic())
        return taken

    def send_trailers(self, lines: bytes) -> None:
        """End the answer with trailers."""
        self.connection.codec.send_trailers(self.stream_id, lines)
        self.connection.flush_later()

    def _wait(self, now: float) -> None:
        self._kept = self.connection.codec.kept(self.stream_id)
        self.deadline = now + self.engine.limits.send_timeout

    def writable(self) -> None:
        """The client took all that was kept for it."""
        self.deadline = FOREVER
        exchange = self.exchange
        assert exchange is not None
        if exchange.body is not None and not exchange.body.complete:
            exchange.body.extend_deadline()
        if self.finishing:
            lifecycle.finish(exchange)
        elif self.source is not None:
            self.source.resume()

    @property
    def flushed(self) -> bool:
        """Is all on its way that was given to `send`?"""
        return not self.connection.codec.waits(self.stream_id)

    def expired(self, now: float) -> None:
        """A deadline passed: what for depends on what the client owed."""
        exchange = self.exchange
        assert exchange is not None
        kept = self.connection.codec.kept(self.stream_id)
        limits = self.engine.limits
        if kept and self._kept - kept >= max(1, limits.min_rate * limits.send_timeout):
            self._wait(now)  # slow, but above the minimum rate
            return
        self.deadline = FOREVER
        lifecycle.client_late(exchange, stalled=kept > 0)

    # ---- ends --------------------------------------------------------------------------------------------------------

    def ended(self, now: float, *, close: bool) -> None:
        """The exchange is over."""
        self.exchange = None
        self.connection.forget(self)

    def linger(self) -> None:
        """The answer is out and the client is still sending: ask it to stop (RFC 9113 section 8.1)."""
        self.connection.codec.reset(self.stream_id, NO_ERROR)
        self.connection.flush_later()
        self.ended(0.0, close=True)

    def close(self, *, cut: bool = False) -> None:
        """Give the stream up; with `cut`, so that a truncated answer is seen as such."""
        if not self.broken:
            self.broken = True
            self.connection.codec.reset(self.stream_id, INTERNAL_ERROR if cut else CANCEL)
            self.connection.flush_later()

    def lost(self) -> None:
        """Nothing to do: the connection tells its streams when it is gone."""
