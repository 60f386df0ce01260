"""Bytes relayed both ways and not understood: WebSockets after their 101, layer 4 sessions.

Of a WebSocket only the heads of frames are followed, so that edgewise can say why it ends one.
"""

from __future__ import annotations

import socket
import ssl
from time import monotonic
from typing import TYPE_CHECKING, Any

from edgewise.protocols.websocket import FrameBoundaries, close_frame
from edgewise.proxy import attempts, lifecycle, pool
from edgewise.proxy.wire import FOREVER, REQUEST_READ, WOULD_BLOCK, Buffer, close_quietly, end_writing, kept

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.proxy.engine import Engine
    from edgewise.proxy.upstream import UpstreamConnection

_LAST_WORDS = 5.0
"""Seconds that peers are given to end a tunnel themselves: a TLS peer once the other side has ended, the peers of a
WebSocket once they were told that it ends."""
_GOING_AWAY = 1001
"""Close code of an endpoint that goes down (RFC 6455 section 7.4.1)."""


def upgrade(exchange: Exchange, connection: UpstreamConnection, head: bytes, rest: bytes) -> None:
    """A valid 101 came: pass it on, and relay from here on (RFC 9110 section 7.8)."""
    exchange.status = 101
    exchange.answered = True
    _begin(exchange, connection, head, rest)


def join(exchange: Exchange, connection: UpstreamConnection) -> None:
    """A layer 4 session's server is connected: relay what the client sent so far and all that follows."""
    exchange.answered = True
    exchange.first_byte = monotonic()
    _begin(exchange, connection, b"", b"")


def _begin(exchange: Exchange, connection: UpstreamConnection, head: bytes, to_client: bytes) -> None:
    attempts.judge(exchange, ok=True)
    client = exchange.client
    engine: Engine = client.engine
    to_server, client.buffer = client.buffer, b""
    waiting = client.pending_output()
    client_sock = client.take_socket()
    server_sock, unsent = connection.take_socket()
    tunnel = Tunnel(engine, exchange, connection, client_sock, server_sock)
    engine.connections.add(tunnel)
    if exchange.plan.upgrade == b"websocket":
        tunnel.follow_frames(to_client, to_server)
    tunnel.start(waiting + head + to_client, unsent + to_server)


class _Side:
    """One socket of a tunnel, and the log's word for the fault of its peer."""

    __slots__ = ("blame", "fd", "sock")

    def __init__(self, sock: Any, blame: str) -> None:
        self.sock = sock
        self.fd: int = sock.fileno()
        self.blame = blame


class _Flow:
    """One direction: what `source` sends is written to `target`, at most one read of it waits."""

    __slots__ = (
        "_moved", "_recv", "_recv_into", "_scratch", "_send", "deaf", "ended", "frames", "out", "paused", "sent",
        "source", "target", "tunnel",
    )  # fmt: skip

    def __init__(self, tunnel: Tunnel, source: _Side, target: _Side) -> None:
        self.tunnel = tunnel
        self.source = source
        self.target = target
        self._scratch = tunnel.engine.scratch
        self._recv = source.sock.recv
        self._recv_into = source.sock.recv_into
        self._send = target.sock.send
        self._moved = tunnel.engine.moved.add
        self.frames: FrameBoundaries | None = None
        self.sent = 0
        """Bytes written to the target."""
        self.out: memoryview | None = None
        self.paused = False
        self.ended = False
        """The source has sent its last byte."""
        self.deaf = False
        """What the source still sends is dropped."""

    def relay(self) -> None:
        """Pass one read on, by way of the worker's buffer: one of its own would be mapped and unmapped at each read."""
        if self.paused:
            self.tunnel.engine.remove_reader(self.source.fd)
            return
        try:
            size = self._recv_into(self._scratch, REQUEST_READ)
        except WOULD_BLOCK:
            return
        except OSError:
            self.tunnel.close(self.source.blame)
            return
        if not size:
            self.tunnel.half_close(self)
            return
        data = self._scratch[:size]
        if self.frames is not None:
            self.frames.feed(data)
        self.write(data)

    def write(self, data: Buffer) -> None:
        """Write what can be written now, keep the rest and read no more meanwhile."""
        try:
            sent = self._send(data)
        except WOULD_BLOCK:
            sent = 0
        except OSError:
            self.tunnel.close(self.target.blame)
            return
        self.sent += sent
        self._moved(self.tunnel)
        if sent < len(data):
            self.out = kept(data, sent)
            self.paused = True
            self.tunnel.engine.add_writer(self.target.fd, self._flush)

    def append(self, data: bytes) -> None:
        """Write `data` behind what waits."""
        if self.out is None:
            self.write(data)
        else:
            self.out = memoryview(bytes(self.out) + data)

    def _flush(self) -> None:
        assert self.out is not None
        try:
            sent = self._send(self.out)
        except WOULD_BLOCK:
            return
        except OSError:
            self.tunnel.close(self.target.blame)
            return
        self.sent += sent
        self._moved(self.tunnel)
        if sent < len(self.out):
            self.out = self.out[sent:]
            return
        self.out = None
        self.paused = False
        self.tunnel.engine.remove_writer(self.target.fd)
        if not self.ended:
            self.listen()

    def listen(self) -> None:
        """Read the source, to pass on what it sends or to drop it."""
        self.tunnel.engine.add_reader(self.source.fd, self._drop if self.deaf else self.relay)

    def drop(self) -> None:
        """Read on, to the source's end, but pass nothing on: closing before would take back what it has yet to read."""
        self.deaf = True
        self.listen()

    def _drop(self) -> None:
        try:
            data = self._recv(REQUEST_READ)
        except WOULD_BLOCK:
            return
        except OSError:
            data = b""
        if data and self.frames is not None:
            self.frames.feed(data)
        if not data or (self.frames is not None and self.frames.closed):
            self.ended = True
            self.tunnel.engine.remove_reader(self.source.fd)
            self.tunnel.check_ended()


class Tunnel:
    """Two sockets joined; each direction ends on its own (half-close)."""

    __slots__ = ("_connection", "_down", "_last_words", "_oldest", "_timeout", "_up", "deadline", "engine", "exchange")

    def __init__(
        self, engine: Engine, exchange: Exchange, connection: UpstreamConnection, client: Any, server: Any
    ) -> None:
        self.engine = engine
        self.exchange: Exchange | None = exchange
        self._connection = connection
        client_side, server_side = _Side(client, "client"), _Side(server, "upstream-body")
        self._up = _Flow(self, client_side, server_side)
        self._down = _Flow(self, server_side, client_side)
        self._last_words: str | None = None
        """Why the tunnel ends, once its peers were told that it does."""
        now = monotonic()
        self._timeout = exchange.route.tunnel_timeout
        self._oldest = now + (exchange.route.tunnel_lifetime or FOREVER)
        self.deadline = min(now + self._timeout, self._oldest)

    def follow_frames(self, to_client: bytes, to_server: bytes) -> None:
        """It is a WebSocket, which began with these bytes."""
        for flow, data in ((self._down, to_client), (self._up, to_server)):
            flow.frames = FrameBoundaries()
            flow.frames.feed(data)

    def start(self, to_client: bytes, to_server: bytes) -> None:
        """Write what is already at hand, then relay."""
        self._up.listen()
        self._down.listen()
        if to_client:
            self._down.write(to_client)
        if to_server and self.exchange is not None:
            self._up.write(to_server)
        if self.exchange is not None:
            self.moved(monotonic())

    def moved(self, now: float) -> None:
        """Account for what was relayed since the last tick: no time is taken and no counter touched while it passes."""
        exchange = self.exchange
        assert exchange is not None
        self._count(exchange)
        for progress in exchange.route.progress:
            progress(exchange)
        if self._last_words is None:
            self.deadline = min(now + self._timeout, self._oldest)

    def _count(self, exchange: Exchange) -> None:
        exchange.request_bytes = self._up.sent
        exchange.response_bytes = self._down.sent

    def half_close(self, flow: _Flow) -> None:
        """The source of `flow` has ended: tell its target, which may still send."""
        flow.ended = True
        self.engine.remove_reader(flow.source.fd)
        if self.check_ended():
            return
        if isinstance(flow.target.sock, ssl.SSLSocket):
            self._end_tls(flow)
            return
        try:
            flow.target.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def _end_tls(self, flow: _Flow) -> None:
        """End a direction toward a TLS peer, which `ssl` cannot tell without dropping what that peer sent meanwhile.

        A client is told, and not heard any more; a server may still answer, and is waited for.
        """
        self._timeout = min(self._timeout, _LAST_WORDS)
        self.deadline = min(monotonic() + self._timeout, self._oldest)
        if flow is not self._down:
            return
        try:
            end_writing(flow.target.sock)
        except OSError:
            self.close()
            return
        self._up.drop()

    def check_ended(self) -> bool:
        """Close where both directions have ended; did they?"""
        if not (self._up.ended and self._down.ended):
            return False
        self.close()
        return True

    def expired(self, now: float) -> None:
        """Nothing was relayed for too long, the tunnel is as old as it may become, or last words were not answered."""
        exchange = self.exchange
        assert exchange is not None
        if self._last_words is None and now >= self._oldest:
            self.go_away("edge-lifetime", f"tunnel open for {exchange.route.tunnel_lifetime:g} s")
        elif self._last_words is not None or self._up.ended or self._up.deaf:
            self.close()
        else:
            self.go_away("edge-timeout", f"nothing relayed for {self._timeout:g} s")

    def go_away(self, end: str, reason: str) -> None:
        """End the tunnel. A WebSocket's peers are told so and given time to close, where a frame fits in.

        It does between two frames only: a direction with one under way goes on, and anything else is just closed.
        """
        exchange = self.exchange
        if exchange is None or self._last_words is not None:
            return
        self._last_words = end
        exchange.failure = reason
        self.deadline = monotonic() + _LAST_WORDS
        told = [flow for flow in (self._down, self._up) if flow.frames and flow.frames.between() and not flow.ended]
        for flow in told:
            if self.exchange is not None:
                flow.append(close_frame(_GOING_AWAY, masked=flow is self._up))
                flow.drop()
        if not told:
            self.close()

    def close(self, end: str = "", *, cut: bool = False) -> None:
        """End both directions and the exchange; idempotent."""
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        self._count(exchange)
        self.engine.connections.discard(self)
        self.engine.moved.discard(self)
        for flow in (self._up, self._down):
            self.engine.remove_reader(flow.source.fd)
            self.engine.remove_writer(flow.target.fd)
        for flow in (self._up, self._down):
            close_quietly(flow.target.sock)
        exchange.end = self._last_words or end
        attempts.ended(exchange, None)
        exchange.upstream = None
        pool.forget(self._connection)
        lifecycle.finish(exchange)
