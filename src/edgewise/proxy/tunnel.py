"""Bytes relayed both ways and not understood: WebSockets after their 101, layer 4 sessions."""

from __future__ import annotations

import socket
import ssl
from time import monotonic
from typing import TYPE_CHECKING, Any

from edgewise.proxy import attempts, lifecycle, pool
from edgewise.proxy.wire import REQUEST_READ, WOULD_BLOCK, close_quietly, end_writing

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.proxy.engine import Engine
    from edgewise.proxy.upstream import UpstreamConnection

_LAST_WORDS = 5.0
"""Seconds without a byte that a TLS peer is given once the other side has ended."""


def upgrade(exchange: Exchange, connection: UpstreamConnection, head: bytes, rest: bytes) -> None:
    """A valid 101 came: pass it on, and relay from here on (RFC 9110 section 7.8)."""
    exchange.status = 101
    exchange.answered = True
    client = exchange.client
    early, client.buffer = client.buffer, b""
    _begin(exchange, connection, to_client=head + rest, to_server=early)


def join(exchange: Exchange, connection: UpstreamConnection) -> None:
    """A layer 4 session's server is connected: relay what the client sent so far and all that follows."""
    exchange.answered = True
    exchange.first_byte = monotonic()
    early, exchange.client.buffer = exchange.client.buffer, b""
    _begin(exchange, connection, to_client=b"", to_server=early)


def _begin(exchange: Exchange, connection: UpstreamConnection, *, to_client: bytes, to_server: bytes) -> None:
    attempts.judge(exchange, ok=True)
    client = exchange.client
    engine: Engine = client.engine
    to_client = client.pending_output() + to_client
    client_sock = client.take_socket()
    server_sock, unsent = connection.take_socket()
    tunnel = Tunnel(engine, exchange, connection, client_sock, server_sock)
    engine.connections.add(tunnel)
    tunnel.start(to_client, unsent + to_server)


class _Side:
    """One socket of a tunnel, and what waits to be written to it."""

    __slots__ = ("eof", "fd", "out", "paused", "sock")

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.out: memoryview | None = None
        self.eof = False
        self.paused = False


class Tunnel:
    """Two sockets joined; each direction holds at most one read, and ends on its own (half-close)."""

    __slots__ = ("_client", "_connection", "_deaf", "_server", "_timeout", "deadline", "engine", "exchange")

    def __init__(
        self, engine: Engine, exchange: Exchange, connection: UpstreamConnection, client: Any, server: Any
    ) -> None:
        self.engine = engine
        self.exchange: Exchange | None = exchange
        self._connection = connection
        self._client = _Side(client)
        self._server = _Side(server)
        self._deaf = False
        """Nothing of what the client sends is passed on any more."""
        self._timeout = engine.limits.tunnel_timeout
        self.deadline = monotonic() + self._timeout

    def start(self, to_client: bytes, to_server: bytes) -> None:
        """Write what is already at hand, then relay."""
        self.engine.add_reader(self._client.fd, self._from_client)
        self.engine.add_reader(self._server.fd, self._from_server)
        if to_client:
            self._write(self._client, self._server, to_client)
        if to_server and self.exchange is not None:
            self._write(self._server, self._client, to_server)

    def _from_client(self) -> None:
        if self._deaf:
            self._drop()
        else:
            self._relay(self._client, self._server)

    def _from_server(self) -> None:
        self._relay(self._server, self._client)

    def _relay(self, source: _Side, target: _Side) -> None:
        if source.paused:
            self.engine.remove_reader(source.fd)
            return
        try:
            data = source.sock.recv(REQUEST_READ)
        except WOULD_BLOCK:
            return
        except OSError:
            self.close("client" if source is self._client else "upstream-body")
            return
        if data:
            self._write(target, source, data)
        else:
            self._half_close(source, target)

    def _write(self, target: _Side, source: _Side, data: bytes) -> None:
        exchange = self.exchange
        assert exchange is not None
        self.deadline = monotonic() + self._timeout
        if target is self._client:
            exchange.response_bytes += len(data)
        else:
            exchange.request_bytes += len(data)
        try:
            sent = target.sock.send(data)
        except WOULD_BLOCK:
            sent = 0
        except OSError:
            self.close("client" if target is self._client else "upstream-body")
            return
        if sent < len(data):
            target.out = memoryview(data)[sent:]
            source.paused = True
            self.engine.add_writer(target.fd, self._flush_client if target is self._client else self._flush_server)

    def _flush_client(self) -> None:
        self._flush(self._client, self._server)

    def _flush_server(self) -> None:
        self._flush(self._server, self._client)

    def _flush(self, target: _Side, source: _Side) -> None:
        assert target.out is not None
        try:
            sent = target.sock.send(target.out)
        except WOULD_BLOCK:
            return
        except OSError:
            self.close("client" if target is self._client else "upstream-body")
            return
        self.deadline = monotonic() + self._timeout
        if sent < len(target.out):
            target.out = target.out[sent:]
            return
        target.out = None
        self.engine.remove_writer(target.fd)
        source.paused = False
        self.engine.add_reader(source.fd, self._from_client if source is self._client else self._from_server)

    def _half_close(self, source: _Side, target: _Side) -> None:
        source.eof = True
        self.engine.remove_reader(source.fd)
        if target.eof:
            self.close("")
            return
        if isinstance(target.sock, ssl.SSLSocket):
            self._end_tls(target)
            return
        try:
            target.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close("")

    def _end_tls(self, target: _Side) -> None:
        """End a direction toward a TLS peer, which `ssl` cannot tell without dropping what that peer sent meanwhile.

        A client is told, and not heard any more; a server may still answer, and is waited for.
        """
        self._timeout = min(self._timeout, _LAST_WORDS)
        self.deadline = monotonic() + self._timeout
        if target is not self._client:
            return
        try:
            end_writing(target.sock)
        except OSError:
            self.close("")
            return
        self._deaf = True
        self.engine.add_reader(target.fd, self._from_client)

    def _drop(self) -> None:
        """Read what a client still sends, until its end: closing before would take back what it has not received."""
        try:
            data = self._client.sock.recv(REQUEST_READ)
        except WOULD_BLOCK:
            return
        except OSError:
            data = b""
        if not data:
            self.close("")

    def expired(self, now: float) -> None:
        """Nothing was relayed for too long."""
        self.close("" if self._client.eof or self._deaf else "edge-timeout")

    def close(self, end: str = "", *, cut: bool = False) -> None:
        """End both directions and the exchange; idempotent."""
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        self.engine.connections.discard(self)
        for side in (self._client, self._server):
            self.engine.remove_reader(side.fd)
            if side.out is not None:
                self.engine.remove_writer(side.fd)
            close_quietly(side.sock)
        exchange.end = end
        attempts.ended(exchange, None)
        exchange.upstream = None
        pool.forget(self._connection)
        lifecycle.finish(exchange)
