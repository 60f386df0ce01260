"""A connection to an upstream server: sends one request at a time and reads its answer."""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING, Any

from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import ResponsePlan
from edgewise.protocols.errors import ProtocolError
from edgewise.proxy import attempts, compressing, http2_upstream, lifecycle, pool, splice, tunnel
from edgewise.proxy.relay import Relay
from edgewise.proxy.wire import FOREVER, HEAD_READ, WOULD_BLOCK, Buffer, close_quietly, handshake

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Endpoint, Upstream
    from edgewise.proxy.content import RequestContent
    from edgewise.proxy.engine import Engine

_HEAD_LIMIT = 65536
_INTERIM_LIMIT = 16
"""1xx responses taken before a final one."""


class UpstreamConnection:
    """One connection of an endpoint's pool."""

    __slots__ = (
        "_buffer", "_interim", "_out", "_paused", "_relay", "_timeout", "deadline", "endpoint", "engine", "exchange",
        "fd", "group", "queue", "ready", "reused", "sock",
    )  # fmt: skip

    def __init__(self, engine: Engine, group: Upstream, endpoint: Endpoint) -> None:
        self.engine = engine
        self.group = group
        self.endpoint = endpoint
        self.exchange: Exchange | None = None
        self.sock: Any = None
        self.fd = -1
        self.ready = False
        """Connected, and TLS agreed where wanted."""
        self.reused = False
        self.deadline = FOREVER
        self.queue: list[http2_upstream.Queued] = []
        """Who else waits for the connection to be made, should it speak HTTP/2."""
        self._buffer = b""
        self._out: memoryview | None = None
        self._relay: Relay | splice.Splice | None = None
        self._paused = False
        self._interim = 0
        self._timeout = 0.0

    # ---- connecting --------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Begin to connect for `self.exchange`; `start` follows when done."""
        self.deadline = monotonic() + self.group.connect_timeout
        address = self.endpoint.address
        family = (
            socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        )
        try:
            self.sock = sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            pool.forget(self)
            self._connect_failed(error)
            return
        self.fd = sock.fileno()
        self.engine.connections.add(self)
        self.engine.servers += 1
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            self.engine.add_writer(self.fd, self._on_connected)
        except OSError as error:
            self._connect_failed(error)
        else:
            self._connected()

    def _on_connected(self) -> None:
        self.engine.remove_writer(self.fd)
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._connect_failed(OSError(code, "connect failed"))
        else:
            self._connected()

    def _connected(self) -> None:
        exchange = self.exchange
        assert exchange is not None
        if self.group.proxy_protocol:
            header = pool.proxy_header(self.group.proxy_protocol, exchange.client.peer, self.sock)
            try:
                self.sock.send(header)
            except OSError as error:
                self._connect_failed(error)
                return
        if self.group.tls is None:
            self._usable()
            return
        name = self.group.server_name or pool.host_name(self.endpoint)
        try:
            # Content that ends with the connection is whole only after a closure alert (RFC 9112 section 9.8).
            self.sock = self.group.tls.wrap_socket(
                self.sock, server_hostname=name, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        except (OSError, ValueError) as error:
            self._connect_failed(error)
            return
        self._handshake()

    def _handshake(self) -> None:
        self.engine.remove_writer(self.fd)
        self.engine.remove_reader(self.fd)
        try:
            state = handshake(self.sock)
        except OSError as error:
            self._connect_failed(error)
            return
        if state == 1:
            self.engine.add_reader(self.fd, self._handshake)
        elif state == 2:
            self.engine.add_writer(self.fd, self._handshake)
        else:
            self._usable()

    def _usable(self) -> None:
        self.ready = True
        group = self.group
        exchange = self.exchange
        assert exchange is not None
        if (
            group.http2
            and not exchange.plan.tunnel
            and (group.tls is None or self.sock.selected_alpn_protocol() == "h2")
        ):
            http2_upstream.take_over(self)
            return
        self._dismiss_queue()
        if not exchange.plan.tunnel:
            self.endpoint.http2 = False
            self.engine.add_reader(self.fd, self.on_readable)
        self.start(exchange)

    def _connect_failed(self, error: Exception) -> None:
        exchange = self.exchange
        assert exchange is not None
        queue, self.queue = self.queue, []
        if self.endpoint.connecting is self:
            self.endpoint.connecting = None
        status = 504 if isinstance(error, TimeoutError) else 502
        reason = f"connect to {self.endpoint.name}: {error}"
        for each in [exchange, *[queued.exchange for queued in queue if queued.exchange is not None]]:
            attempts.failed(each, status, "upstream-connect", reason, sent=False)

    def _dismiss_queue(self) -> None:
        """The connection is for one exchange at a time: the others need their own."""
        queue, self.queue = self.queue, []
        if self.endpoint.connecting is self:
            self.endpoint.connecting = None
        for queued in queue:
            if queued.exchange is not None:
                queued.exchange.upstream = None
                pool.open_or_wait(queued.exchange, self.endpoint)

    # ---- the request -------------------------------------------------------------------------------------------------

    def start(self, exchange: Exchange) -> None:
        """Send an exchange's request on this connection."""
        self.exchange = exchange
        exchange.upstream = self
        self._timeout = timeout = exchange.route.response_timeout or self.group.response_timeout
        if exchange.plan.simple:
            now = exchange.dispatched = exchange.started if exchange.attempts == 1 and self.reused else monotonic()
            self.deadline = now + timeout
            self.send(exchange.plan.head + lifecycle.own_lines(exchange))
        else:
            exchange.dispatched = monotonic()
            self.deadline = exchange.dispatched + timeout
            self._start_with_care(exchange)

    def _start_with_care(self, exchange: Exchange) -> None:
        """A tunnel, content, or a request that must not be sent twice."""
        if exchange.plan.tunnel:
            tunnel.join(exchange, self)
            return
        if exchange.plan.grpc is not None and exchange.plan.grpc.translated:
            reason = "gRPC-Web is translated for servers that speak HTTP/2"
            attempts.failed(exchange, 502, "upstream-connect", reason, sent=False)
            return
        if self.reused and not exchange.plan.idempotent and not self._still_open():
            attempts.failed(exchange, 502, "upstream-send", "connection closed", sent=False, stale=True)
            return
        message = (exchange.head or exchange.plan.head) + lifecycle.own_lines(exchange)
        body = exchange.body
        if body is not None:
            message += body.framed(lifecycle.content_wanted(exchange, self))
        self.send(message)

    def send_content(self, content: bytes, body: RequestContent) -> bool:
        """Send some of a request's content, and its end with the last of it; False as with `send`."""
        return self.send(body.framed(content))

    def await_answer(self) -> None:
        """The request is whole, or some of the answer came: the time for the next bytes counts from here."""
        self.deadline = monotonic() + self._timeout

    def _still_open(self) -> bool:
        """Look before a request that must not be sent twice: did the server close while the connection was idle?"""
        try:
            socket.socket.recv(self.sock, 1, socket.MSG_PEEK)  # beneath TLS too: an alert, or data nobody asked for
        except WOULD_BLOCK:
            return True
        except OSError:
            return False
        return False

    def send(self, data: Buffer) -> bool:
        """Write or keep `data`; False when some had to be kept, so that the client is read no further."""
        if self._out is not None:
            self._out = memoryview(bytes(self._out) + data)
            return False
        try:
            sent = self.sock.send(data)
        except WOULD_BLOCK:
            sent = 0
        except OSError:
            return True  # the server closed: what it may have answered first is read next, or the end of file is
        if sent == len(data):
            return True
        self._out = memoryview(data)[sent:]
        self.engine.add_writer(self.fd, self._on_writable)
        return False

    def _on_writable(self) -> None:
        assert self._out is not None
        try:
            sent = self.sock.send(self._out)
        except WOULD_BLOCK:
            return
        except OSError:
            sent = len(self._out)
        if sent < len(self._out):
            self._out = self._out[sent:]
            return
        self._out = None
        self.engine.remove_writer(self.fd)
        if self.exchange is not None and self.exchange.body is not None:
            self.deadline = monotonic() + self._timeout
            self.exchange.body.flow()

    # ---- the answer --------------------------------------------------------------------------------------------------

    def on_readable(self) -> None:
        """Read once: a head, content, or the end of an idle connection."""
        if self._paused:
            self.engine.remove_reader(self.fd)
            return
        if self._relay is not None:
            self._relay.read()
            return
        try:
            data = self.sock.recv(HEAD_READ)
        except WOULD_BLOCK:
            return
        except OSError as error:
            self.lost(str(error))
            return
        if self.exchange is None:
            self.close()  # an idle server has nothing to say but goodbye
        elif data:
            self.next_head(data)
        else:
            self.lost("closed by the server")

    def next_head(self, data: bytes) -> None:
        """Take bytes where a response head is due; also called with what follows an interim one."""
        exchange = self.exchange
        assert exchange is not None
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            self._buffer = data
            if len(data) > _HEAD_LIMIT:
                attempts.failed(exchange, 502, "upstream-head", "response head too large")
            return
        try:
            if end == len(data):
                lifecycle.respond(exchange, self, data, b"")
            else:
                lifecycle.respond(exchange, self, data[:end], data[end:])
        except ProtocolError as error:
            attempts.failed(exchange, 502, "upstream-head", error.detail)

    def after_interim(self, rest: bytes) -> None:
        """A 1xx response is dealt with: go on with what follows it, within bounds."""
        assert self.exchange is not None
        self._interim += 1
        if self._interim > _INTERIM_LIMIT:
            attempts.failed(self.exchange, 502, "upstream-head", "too many interim responses")
        else:
            self.next_head(rest)

    def relay(self, plan: ResponsePlan, head: bytes, rest: bytes) -> None:
        """Pass the content on, behind `head`, as it comes."""
        exchange = self.exchange
        assert exchange is not None
        if exchange.client.flushed and splice.possible(exchange, self, plan, len(rest)):
            exchange.response_bytes += len(head) + len(rest)
            self._relay = splice.Splice(exchange, self, plan, plan.body - len(rest))
            if not exchange.client.send_head(head, rest, end=False):
                self.pause()
            return
        make = compressing.CompressingRelay if plan.coding else Relay
        relay = self._relay = make(exchange, self, plan, head)
        relay.feed(rest)

    def lost(self, reason: str) -> None:
        """The connection broke."""
        exchange = self.exchange
        if exchange is None:
            self.close()
        elif exchange.answered:
            attempts.ended(exchange, ok=False)
            lifecycle.fail(exchange, 502, "upstream-body", reason)
        else:
            attempts.failed(exchange, 502, "upstream-head", reason, stale=self.reused and not self._buffer)

    def expired(self, now: float) -> None:
        """The deadline passed: no connection, no answer, or idle for long enough."""
        exchange = self.exchange
        self.deadline = FOREVER
        if exchange is None:
            self.close()
        elif not self.ready:
            self._connect_failed(TimeoutError("timed out"))
        elif self._paused:
            self.deadline = now + self._timeout
        elif exchange.answered:
            attempts.ended(exchange, ok=False)
            lifecycle.fail(exchange, 504, "upstream-body", "no content in time")
        elif exchange.body is not None and not exchange.body.complete and exchange.body.timed and self._out is None:
            self.deadline = now + self._timeout  # the client is still sending: its own deadline counts
        else:
            attempts.failed(exchange, 504, "upstream-head", "no answer in time")

    def pause(self) -> None:
        """Read no more until told; the reader is removed when next woken, which often never happens."""
        self._paused = True

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            if self.sock is not None:
                self.deadline = monotonic() + self._timeout
                self.engine.add_reader(self.fd, self.on_readable)

    # ---- ends --------------------------------------------------------------------------------------------------------

    def release(self, now: float) -> None:
        """The exchange is over and the connection is clean: give it to who waits, else keep it for the next."""
        self.exchange = None
        self.reused = True
        self._interim = 0
        if self._relay is not None:
            self._relay.close()
            self._relay = None
            self.resume()
        endpoint, group = self.endpoint, self.group
        if self._out is not None:
            self.close()
        elif endpoint.waiting:
            pool.serve_waiting(self)
        elif len(endpoint.idle) >= group.max_idle or endpoint.drained:
            self.close()
        else:
            self.deadline = now + group.idle_timeout
            endpoint.idle.append(self)

    def abandon(self) -> None:
        """The connection is of no further use, unless others wait for it to be made."""
        self.exchange = None
        while self.queue:
            self.exchange = self.queue.pop(0).exchange
            if self.exchange is not None:
                self.exchange.upstream = self
                return
        self.close()

    def retire(self) -> None:
        """An idle connection is not wanted any more."""
        self.close()

    def take_socket(self) -> tuple[Any, bytes]:
        """Give the socket away (to a tunnel) with what was not yet written; the pool's count is kept until `forget`."""
        sock, self.sock = self.sock, None
        self.engine.remove_reader(self.fd)
        out = b"" if self._out is None else bytes(self._out)
        self.engine.remove_writer(self.fd)
        self.engine.connections.discard(self)
        self.engine.servers -= 1
        if self._relay is not None:
            self._relay.close()
        return sock, out

    def close(self) -> None:
        """Close now; idempotent."""
        if self.sock is None:
            return
        sock, _ = self.take_socket()
        close_quietly(sock)
        self._dismiss_queue()
        pool.forget(self)
