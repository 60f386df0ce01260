"""A client's connection: reads heads in order, one exchange at a time, and writes the answers."""

from __future__ import annotations

import re
import socket
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import Plan
from edgewise.protocols.errors import ProtocolError
from edgewise.proxy import lifecycle
from edgewise.proxy.messages import with_lines
from edgewise.proxy.plans import Plans, empty_plan
from edgewise.proxy.wire import (
    FOREVER,
    HEAD_READ,
    REQUEST_READ,
    WOULD_BLOCK,
    Buffer,
    Source,
    close_quietly,
    end_writing,
    kept,
    peer_certificate,
    reset,
)

if TYPE_CHECKING:
    from edgewise.proxy.engine import Engine

_BARE_LF = re.compile(rb"(?<!\r)\n")
_LINGER_BYTES = 1 << 20
_PREFACE = b"PRI * HTTP/2.0\r\n\r\n"
_LINGER_SECONDS = 2.0


class Downstream:
    """One client connection. Between requests it holds no buffer and no exchange."""

    multiplexed: ClassVar[bool] = False
    """Does each exchange have a stream of its own on the connection (HTTP/2)?"""

    __slots__ = (
        "_certificate", "_discarded", "_fresh", "_lingering", "_out", "_paused", "_processing", "_write_began",
        "_written", "broken", "buffer", "deadline", "engine", "exchange", "fd", "finishing", "peer", "peer_ip", "plans",
        "sock", "source", "splicing", "suffix", "tls", "tls_key",
    )  # fmt: skip

    def __init__(self, engine: Engine, sock: socket.socket, peer: tuple[str, int], plans: Plans, *, tls: bool) -> None:
        self.engine = engine
        self.sock: socket.socket | None = sock
        self.fd = sock.fileno()
        self.plans = plans
        self.peer = peer
        """Address and port of the connection's other end (as a trusted PROXY header gives it)."""
        self.peer_ip = peer[0]
        """The client the present exchange is for: the peer, or whom a trusted proxy names."""
        self.tls = tls
        self.tls_key: str | None = None
        self._certificate: bytes | None = None
        self.suffix = _origin_fields(peer[0], b"https" if tls else b"http")
        self.buffer = b""
        """Bytes read that belong to no exchange yet."""
        self.exchange: Exchange | None = None
        self.finishing = False
        """The answer is whole but not all of it is written."""
        self.source: Source | None = None
        """What produces the answer's bytes, paused while the client does not read."""
        self.broken = False
        self.splicing = False
        """Content waits in a pipe for the client to read."""
        self.deadline = monotonic() + engine.limits.header_timeout
        self._out: memoryview | None = None
        self._write_began = 0.0
        self._written = 0
        self._paused = False
        self._processing = False
        self._lingering = False
        self._discarded = 0
        self._fresh = True
        """Nothing was asked yet: the preface of HTTP/2 may come (RFC 9113 section 3.3)."""

    # ---- reading -----------------------------------------------------------------------------------------------------

    def on_readable(self) -> None:
        """Read once and hand the bytes to whom they belong."""
        if self._paused:
            self.engine.remove_reader(self.fd)
            return
        assert self.sock is not None
        try:
            data = self.sock.recv(HEAD_READ if self.exchange is None else REQUEST_READ)
        except WOULD_BLOCK:
            return
        except OSError:
            data = b""
        if not data:
            self._on_eof()
            return
        if self.exchange is None and not self.buffer and not self._lingering:
            plan = self.plans.memo.young.get(data)
            if plan is not None:
                self._fresh = False
                lifecycle.begin(self, plan)
            else:
                self.buffer = data
                self.next_request()
            return
        self._received(data)

    def _received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.body is not None and not exchange.body.complete:
            exchange.body.feed(data)
            return
        if self._lingering:
            self._discard(data)
            return
        self.buffer = self.buffer + data if self.buffer else data
        if exchange is None:
            self.next_request()
        elif len(self.buffer) > REQUEST_READ:
            self.pause_reading()

    def next_request(self) -> None:
        """Begin the exchanges whose heads are in the buffer, in order, until one has to wait."""
        if self._processing:
            return
        self._processing = True
        try:
            while self.buffer and self.exchange is None and not self._lingering and self.sock is not None:
                plan = self._next_plan()
                if plan is None:
                    return
                lifecycle.begin(self, plan)
        finally:
            self._processing = False

    def _next_plan(self) -> Plan | None:
        """Take a whole head off the buffer and return its plan; None when there is none or it was refused."""
        data = self.buffer
        if data.startswith(_PREFACE) and self._fresh and self.engine.limits.http2:
            self.engine.switch_to_http2(self, data)
            return None
        if data.startswith(b"\r\n"):  # RFC 9112 section 2.2: at least one empty line before a request is ignored
            data = self.buffer = data.lstrip(b"\r\n") if len(data) <= 8 else data[2:]
            if not data:
                return None
        end = data.find(b"\r\n\r\n") + 4
        limits = self.engine.limits
        if end < 4:
            self._check_partial_head(data)
            return None
        try:
            if end > limits.head_bytes:
                raise ProtocolError(_too_large(data, limits.head_bytes), "request head too large")
            plan = self.plans.find(data if end == len(data) else data[:end])
        except ProtocolError as error:
            lifecycle.refuse(self, empty_plan(self.engine.table.unmatched), error.status, error.detail)
            return None
        self.buffer = data[end:]
        self._fresh = False
        return plan

    def _check_partial_head(self, data: bytes) -> None:
        status = 0
        if len(data) > self.engine.limits.head_bytes:
            status = _too_large(data, self.engine.limits.head_bytes)
        elif _BARE_LF.search(data):
            status = 400
        if status:
            lifecycle.refuse(
                self, empty_plan(self.engine.table.unmatched), status, "request head incomplete or too large"
            )
        elif self.deadline > (latest := monotonic() + self.engine.limits.header_timeout):
            self.deadline = latest

    def _on_eof(self) -> None:
        """The client closed its side: give up what was under way for it."""
        exchange = self.exchange
        if exchange is None or self.sock is None:
            self.close()
        else:
            lifecycle.client_left(exchange)

    def pause_reading(self) -> None:
        """Read no more until told; the reader is removed when next woken, which often never happens."""
        self._paused = True

    def resume_reading(self) -> None:
        """Read again."""
        if self._paused and self.sock is not None:
            self._paused = False
            self.engine.add_reader(self.fd, self.on_readable)

    # ---- writing -----------------------------------------------------------------------------------------------------

    def send_head(self, head: bytes, content: Buffer, *, end: bool) -> bool:
        """Send a response head and the content that is at hand, all of it with `end`; False as with `send`."""
        exchange = self.exchange
        if exchange is not None and exchange.answer_lines:
            head = with_lines(exchange, head)
        return self.send(head + content if content else head)

    def send_interim(self, head: bytes) -> None:
        """Send a 1xx response."""
        self.send(head)

    def send(self, data: Buffer, *, end: bool = False) -> bool:
        """Write or keep `data`; False when some had to be kept, so that the source pauses."""
        if self._out is not None:
            self._out = memoryview(bytes(self._out) + data)
            return False
        if self.broken or self.sock is None:
            return True
        try:
            sent = self.sock.send(data)
        except WOULD_BLOCK:
            sent = 0
        except OSError:
            self.lost()
            return True
        if sent == len(data):
            return True
        self._out = kept(data, sent)
        self.begin_write()
        self.engine.add_writer(self.fd, self._on_writable)
        return False

    def _on_writable(self) -> None:
        assert self._out is not None
        assert self.sock is not None
        try:
            sent = self.sock.send(self._out)
        except WOULD_BLOCK:
            return
        except OSError:
            self._out = None
            self.engine.remove_writer(self.fd)
            self.lost()
            return
        if sent < len(self._out):
            self._out = self._out[sent:]
            self.wrote(sent)
            return
        self._out = None
        self.engine.remove_writer(self.fd)
        self.deadline = FOREVER
        exchange = self.exchange
        if exchange is not None and exchange.body is not None and not exchange.body.complete:
            exchange.body.extend_deadline()
        if self.finishing:
            assert self.exchange is not None
            lifecycle.finish(self.exchange)
        elif self.source is not None:
            self.source.resume()

    def begin_write(self) -> None:
        """The client reads more slowly than it is sent to: its time counts from here."""
        self._written = 0
        self._write_began = monotonic()
        self.wrote(0)

    def wrote(self, size: int) -> None:
        """The client took `size` bytes: it must go on within `send_timeout`, and keep above the minimum rate."""
        self._written += size
        if size and not self.splicing and self._out is None:
            return
        limits = self.engine.limits
        now = monotonic()
        self.deadline = now + limits.send_timeout
        if limits.min_rate:
            slowest = self._write_began + limits.send_timeout + self._written / limits.min_rate
            self.deadline = min(self.deadline, slowest)

    @property
    def flushed(self) -> bool:
        """Is everything written?"""
        return self._out is None

    def lost(self) -> None:
        """The client is gone; tell whoever works for it after the present step."""
        if not self.broken:
            self.broken = True
            self.engine.loop.call_soon(self._on_eof)

    # ---- ends --------------------------------------------------------------------------------------------------------

    def ended(self, now: float, *, close: bool) -> None:
        """An exchange is over at `now`: wait for the next request, or close."""
        self.exchange = None
        self.source = None
        self.finishing = False
        if close or self.broken:
            self.close()
            return
        self.deadline = now + self.engine.limits.keepalive_timeout
        if self._paused:
            self.resume_reading()
        if self.buffer:
            self.next_request()

    def linger(self) -> None:
        """Close after an answer the client may still be sending content for, so that it can read the answer first."""
        self.exchange = None
        self.source = None
        self.finishing = False
        self.buffer = b""
        if self.sock is None or self.broken:
            self.close()
            return
        self._lingering = True
        self.deadline = monotonic() + _LINGER_SECONDS
        try:
            end_writing(self.sock)
        except OSError:
            self.close()
            return
        self.resume_reading()

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > _LINGER_BYTES:
            self.close()

    def expired(self, now: float) -> None:
        """The deadline passed: what for depends on what the client owed."""
        exchange = self.exchange
        if self.sock is None:
            return
        if exchange is not None:
            self.deadline = FOREVER
            lifecycle.client_late(exchange, stalled=self._out is not None or self.splicing)
        elif self.buffer:
            lifecycle.refuse(self, empty_plan(self.engine.table.unmatched), 408, "request head took too long")
        else:
            self.close()

    @property
    def closing(self) -> bool:
        """Must the connection end after the present answer (the worker drains)?"""
        return self.engine.draining

    def close_if_idle(self) -> None:
        """Serve a request that has already arrived; close where there is none."""
        if self.exchange is None and not self.buffer:
            self.on_readable()
            if self.exchange is None and not self.buffer:
                self.close()

    def certificate(self) -> bytes:
        """Return the client's certificate (DER) as its handshake verified it, b"" where it has none."""
        if self._certificate is None:
            self._certificate = peer_certificate(self.sock)
        return self._certificate

    def client_ip(self) -> str:
        """Return the client's address: the peer's, or the one a chain of trusted proxies vouches for."""
        return self.peer_ip

    def take_socket(self) -> socket.socket:
        """Give the socket away (to a tunnel); this object does nothing more with it."""
        assert self.sock is not None
        sock, self.sock = self.sock, None
        self.engine.remove_reader(self.fd)
        self.engine.remove_writer(self.fd)
        self.engine.connections.discard(self)
        return sock

    def pending_output(self) -> bytes:
        """Return bytes accepted by `send` and not yet written."""
        return b"" if self._out is None else bytes(self._out)

    def close(self, *, cut: bool = False) -> None:
        """Close now; with `cut`, by reset, so that a truncated answer is seen as such."""
        if self.sock is None:
            return
        sock = self.take_socket()
        if cut:
            reset(sock)
        else:
            close_quietly(sock)


def _too_large(data: bytes, limit: int) -> int:
    """Return the status for a head over `limit` bytes: 414 where the request line alone is."""
    return 431 if data.find(b"\r\n", 0, limit) >= 0 else 414


def _origin_fields(ip: str, scheme: bytes) -> str:
    return f"X-Forwarded-For: {ip}\r\nX-Forwarded-Proto: {scheme.decode()}\r\n\r\n"
