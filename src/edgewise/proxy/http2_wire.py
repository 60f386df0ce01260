"""A socket with an HTTP/2 codec on it: reads, writes what the codec has to say in one piece, back-pressure."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from edgewise.protocols.http2 import Event, Http2Connection
from edgewise.proxy.wire import FOREVER, REQUEST_READ, WOULD_BLOCK, close_quietly, reset

if TYPE_CHECKING:
    from edgewise.proxy.engine import Engine

NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 2, 7, 8
"""Error codes (RFC 9113 section 7)."""


class Http2Wire:
    """What both ends of HTTP/2 connections have in common; subclasses handle events and know the streams."""

    __slots__ = (
        "_dirty", "_going_on", "_idle_until", "_out", "_settle_by", "_write_deadline", "codec", "engine", "fd", "heard",
        "sock", "streams",
    )  # fmt: skip

    def __init__(self, engine: Engine, sock: Any, codec: Http2Connection) -> None:
        self.engine = engine
        self.sock: Any = sock
        self.fd: int = sock.fileno()
        self.codec = codec
        self._out: memoryview | None = None
        self._write_deadline = 0.0
        self._dirty = False
        """A flush is due."""
        self._going_on = False
        """Is there something left to do of the bytes read last?"""
        self.heard = 0.0
        """When bytes came last (monotonic seconds)."""
        self._idle_until = FOREVER
        """When a connection without streams has waited for long enough."""
        self._settle_by = FOREVER
        """When the peer's SETTINGS must have come, where something waits for them."""
        self.streams: dict[int, Any] = {}
        """By stream identifier; each has a `deadline`."""

    def handle(self, events: list[Event]) -> None:
        """Do what the codec says."""
        raise NotImplementedError

    def ended(self) -> None:
        """The connection is no more: tell the streams."""
        raise NotImplementedError

    @property
    def deadline(self) -> float:
        """The nearest of the deadlines that the streams and the connection itself have (monotonic seconds)."""
        own = self._settle_by if self._out is None else self._write_deadline
        if self.streams:
            nearest: float = min([stream.deadline for stream in self.streams.values()])
            return min(own, nearest)
        return own if self._out is not None else min(own, self._idle_until)

    def stuck(self, now: float) -> bool:
        """Has the peer read nothing for too long?"""
        return self._out is not None and self._write_deadline < now

    def on_readable(self) -> None:
        """Read once, and do what the bytes ask for."""
        if self._going_on:
            return
        try:
            data = self.sock.recv(REQUEST_READ)
        except WOULD_BLOCK:
            return
        except OSError:
            data = b""
        if data:
            self.received(data)
        else:
            self.close()

    def received(self, data: bytes) -> None:
        """Take bytes from the peer."""
        codec = self.codec
        self.heard = monotonic()
        self.handle(codec.receive(data))
        if codec.error is not None:
            self.flush()
            self.close()
            return
        self.flush_later()
        if codec.unfinished:
            self.go_on_later()

    def go_on_later(self) -> None:
        """Let others have their turn before more is done of the bytes read last."""
        if not self._going_on:
            self._going_on = True
            self.engine.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._going_on = False
        if self.sock is not None:
            self.received(b"")

    def flush_later(self) -> None:
        """Write at the end of the present batch of ready sockets, with what else there will be to say by then."""
        if not self._dirty:
            self._dirty = True
            self.engine.after_batch(self.flush)

    def flush(self) -> None:
        """Write what the codec has for the peer, as far as the socket takes it."""
        self._dirty = False
        codec = self.codec
        while self._out is None and self.sock is not None:
            data = codec.take()
            if not data:
                return
            try:
                sent = self.sock.send(data)
            except WOULD_BLOCK:
                sent = 0
            except OSError:
                self.peer_left()
                return
            if sent < len(data):
                self._out = memoryview(data)[sent:]
                codec.blocked = True
                self._write_deadline = monotonic() + self.engine.limits.send_timeout
                self.engine.add_writer(self.fd, self._on_writable)
            elif codec.blocked:
                self.handle(codec.unblock())

    def _on_writable(self) -> None:
        assert self._out is not None
        try:
            sent = self.sock.send(self._out)
        except WOULD_BLOCK:
            return
        except OSError:
            self.peer_left()
            return
        if sent:
            self._write_deadline = monotonic() + self.engine.limits.send_timeout
        if sent < len(self._out):
            self._out = self._out[sent:]
            return
        self._out = None
        self.engine.remove_writer(self.fd)
        self.handle(self.codec.unblock())
        self.flush()

    def peer_left(self) -> None:
        """Writing failed: the peer has closed."""
        self.close()

    def close(self, *, cut: bool = False) -> None:
        """Close now, and tell the streams; idempotent."""
        if self.sock is None:
            return
        sock, self.sock = self.sock, None
        self.engine.remove_reader(self.fd)
        self.engine.remove_writer(self.fd)
        self.engine.connections.discard(self)
        self._out = None
        if cut:
            reset(sock)
        else:
            close_quietly(sock)
        self.ended()
