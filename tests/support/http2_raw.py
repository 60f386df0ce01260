"""An HTTP/2 client that sends exactly the frames it is given (RFC 9113) and keeps every frame that comes back."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

from hpack import Decoder, Encoder

from support.raw_http import PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
FRAMES = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
          "CONTINUATION")  # fmt: skip

ACK, END_STREAM, END_HEADERS, PADDED, PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = 0, 1, 2, 3, 4, 5
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = 6, 7, 8, 9, 10, 11
ERRORS = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
          "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
          "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED")  # fmt: skip

LARGEST_WINDOW = 2**31 - 1

Fields = Iterable[tuple[str, str]]


class Frame(NamedTuple):
    """One frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[:4] if self.kind == RST_STREAM else self.payload[4:8], "big")


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """One frame; `length` lies about the payload's size."""
    size = len(payload) if length is None else length
    return struct.pack(">BHBBL", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    """A SETTINGS frame of (identifier, value)."""
    return frame(SETTINGS, payload=b"".join(struct.pack(">HL", *pair) for pair in pairs))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", increment))


def rst_stream(stream: int, code: int = CANCEL) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, struct.pack(">L", code))


def literal(name: bytes, value: bytes, *, indexed: bool = False) -> bytes:
    """A field as a literal without Huffman coding; `indexed` puts it into the dynamic table (RFC 7541 section 6.2)."""
    return (b"\x40" if indexed else b"\x00") + integer(len(name), 7) + name + integer(len(value), 7) + value


def integer(value: int, prefix: int, first: int = 0) -> bytes:
    """An integer with a prefix of so many bits, the bits above it from `first` (RFC 7541 section 5.1)."""
    full = (1 << prefix) - 1
    if value < full:
        return bytes((first | value,))
    encoded, value = bytearray((first | full,)), value - full
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes((*encoded, value))


def request_fields(path: str = "/", method: str = "GET", *extra: tuple[str, str]) -> list[tuple[str, str]]:
    """The pseudo-fields of a request to example.com and more fields."""
    return [(":method", method), (":scheme", "http"), (":authority", "example.com"), (":path", path), *extra]


def request_block(path: str = "/", method: str = "GET", *extra: tuple[str, str]) -> bytes:
    """A request's field block that neither reads nor changes the dynamic table."""
    return b"".join(literal(name.encode(), value.encode()) for name, value in request_fields(path, method, *extra))


@dataclass
class Answer:
    """What came on one stream."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    interim: list[list[tuple[str, str]]] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    """Content as it came."""
    size: int = 0
    """Bytes of it."""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    reset: int | None = None
    """The code of RST_STREAM."""
    ended: bool = False

    @property
    def body(self) -> bytes:
        """The content so far."""
        return b"".join(self.pieces)

    @property
    def status(self) -> int:
        """The final status; 0 where none came."""
        return int(self.get(":status") or 0)

    def get(self, name: str) -> str | None:
        """Return the first value of a field or trailer, or None."""
        return next((value for key, value in [*self.fields, *self.trailers] if key == name), None)


class Http2Client:
    """One connection. It sends the preface with `opening` (SETTINGS by default) and acknowledges the peer's SETTINGS;
    everything else is up to the caller. `read=False` leaves all that comes in the kernel until something is awaited.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        tls: ssl.SSLContext | None = None,
        opening: bytes | None = None,
        receive_buffer: int = 0,
        source: str = "",
        before: bytes = b"",
    ) -> None:
        """`source` is the client's own address; `before` is sent ahead of everything, TLS too."""
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            sock.bind((source, 0))
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if before:
            sock.sendall(before)
        self.sock: socket.socket = tls.wrap_socket(sock, server_hostname="localhost") if tls else sock
        self.encoder, self.decoder = Encoder(), Decoder()
        self.frames: list[Frame] = []
        """Every frame that came, in order."""
        self.answers: dict[int, Answer] = {}
        self.goaway: int | None = None
        """The code of the last GOAWAY."""
        self.closed = False
        """The peer ended the connection."""
        self.acknowledge = True
        self.windows: dict[int, int] = {0: 65535}
        """Bytes that may be sent, by stream, and on all of them under 0."""
        self._first_window = 65535
        self._buffer = bytearray()
        self._block = bytearray()
        self._next = 1
        self.send(PREFACE + (settings() if opening is None else opening))

    @property
    def ended(self) -> bool:
        """Has the peer said goodbye with an error, or closed?"""
        return self.closed or bool(self.goaway)

    def send(self, data: bytes) -> bool:
        """Send exactly `data`; False when the peer has closed."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.closed = True
        return not self.closed

    def stream(self) -> int:
        """Return the next stream id of a client."""
        self._next += 2
        return self._next - 2

    def request(self, fields: Fields, *, end: bool = True) -> int:
        """Send HEADERS on a new stream and return its id."""
        stream = self.stream()
        flags = END_HEADERS | (END_STREAM if end else 0)
        self.windows[stream] = self._first_window
        self.send(frame(HEADERS, flags, stream, self.encoder.encode(list(fields))))
        return stream

    def room(self, stream: int) -> int:
        """Return how many bytes of content may be sent on a stream now."""
        return min(self.windows[0], self.windows[stream])

    def send_content(self, stream: int, content: bytes, *, end: bool = True) -> None:
        """Send content as the windows allow, reading meanwhile."""
        at = 0
        while at < len(content):
            self.wait(lambda: self.room(stream) > 0)
            piece = content[at : at + min(self.room(stream), 16384)]
            at += len(piece)
            self.windows[0] -= len(piece)
            self.windows[stream] -= len(piece)
            self.send(frame(DATA, END_STREAM if end and at == len(content) else 0, stream, piece))
            self.read()

    def pong(self) -> None:
        """Send a PING and wait for its answer: what was sent before has been looked at."""
        count = sum(came.kind == PING for came in self.frames)
        self.send(frame(PING, payload=b"measured"))
        self.wait(lambda: sum(came.kind == PING for came in self.frames) > count)

    def get(self, path: str = "/", *extra: tuple[str, str]) -> Answer:
        """GET and return the whole answer."""
        return self.answer(self.request(request_fields(path, "GET", *extra)))

    def answer(self, stream: int) -> Answer:
        """Wait until the stream has ended, or the connection, and return what came on it."""
        self.wait(lambda: self.of(stream).ended or self.closed)
        return self.of(stream)

    def of(self, stream: int) -> Answer:
        """Return what has come on a stream so far."""
        return self.answers.setdefault(stream, Answer())

    def wait(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        """Read until the condition holds; fails after `patience` seconds."""
        deadline = time.monotonic() + patience
        while not condition():
            if self.closed or time.monotonic() > deadline:
                state = "closed" if self.closed else "still open"
                raise AssertionError(f"waited in vain ({state}); came: {self.story()}")
            self.read(deadline - time.monotonic())

    def wait_end(self, patience: float = PATIENCE) -> int | None:
        """Wait until the peer has closed the connection, and return its GOAWAY's code (None without one)."""
        self.wait(lambda: self.closed, patience)
        return self.goaway

    def read(self, seconds: float = 0.0) -> list[Frame]:
        """Read what is there, waiting at most so long for a first byte; the frames that were completed by it."""
        pending = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
        if self.closed or not (pending or select.select([self.sock], [], [], max(0.0, seconds))[0]):
            return []
        try:
            data = self.sock.recv(1 << 18)
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            data = b""
        if not data:
            self.closed = True
        self._buffer += data
        count = len(self.frames)
        while (came := self._frame()) is not None:
            self.frames.append(came)
            self._take(came)
        return self.frames[count:]

    def story(self) -> str:
        """The last frames that came, in words."""
        return ", ".join(
            f"{FRAMES[kind] if kind < 10 else kind} {stream}"
            + (f" {ERRORS[of.code]}" if kind in (RST_STREAM, GOAWAY) and of.code < len(ERRORS) else "")
            for of in self.frames[-20:]
            for kind, stream in [(of.kind, of.stream)]
        )

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self.sock.close()

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _frame(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 9:
            return None
        size = int.from_bytes(buffer[:3], "big")
        if len(buffer) < 9 + size:
            return None
        came = Frame(
            buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big") & LARGEST_WINDOW, bytes(buffer[9 : 9 + size])
        )
        del buffer[: 9 + size]
        return came

    def _take(self, came: Frame) -> None:
        if came.kind == SETTINGS and not came.flags & ACK:
            self._set(came.payload)
            if self.acknowledge:
                self.send(frame(SETTINGS, ACK))
        elif came.kind == WINDOW_UPDATE:
            self.windows[came.stream] = self.windows.get(came.stream, 0) + int.from_bytes(came.payload, "big")
        elif came.kind == GOAWAY:
            self.goaway = came.code
        elif came.kind == RST_STREAM:
            self.of(came.stream).reset, self.of(came.stream).ended = came.code, True
        elif came.kind in (HEADERS, CONTINUATION):
            self._block += came.payload
            if came.flags & END_HEADERS:
                self._head(came.stream)
        elif came.kind == DATA:
            self.of(came.stream).pieces.append(came.payload)
            self.of(came.stream).size += len(came.payload)
        if came.kind in (HEADERS, DATA) and came.flags & END_STREAM:
            self.of(came.stream).ended = True

    def _set(self, payload: bytes) -> None:
        values = dict(struct.iter_unpack(">HL", payload))
        before, self._first_window = self._first_window, values.get(INITIAL_WINDOW_SIZE, self._first_window)
        for stream in self.windows:
            self.windows[stream] += self._first_window - before if stream else 0

    def _head(self, stream: int) -> None:
        fields = [(str(name), str(value)) for name, value in self.decoder.decode(bytes(self._block))]
        self._block.clear()
        answer = self.of(stream)
        if answer.fields:
            answer.trailers = fields
        elif fields[0][1].startswith("1"):
            answer.interim.append(fields)
        else:
            answer.fields = fields
