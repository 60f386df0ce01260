"""A client that sends exactly the bytes it is given and interprets answers no more than framing needs."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from types import TracebackType

PATIENCE = 15.0
"""Seconds any single read may take before the test fails."""


class ClosedEarly(AssertionError):
    """The peer closed the connection where more bytes were due."""


@dataclass
class RawResponse:
    """One answer as it came over the wire."""

    status: int
    head: bytes
    """Status line and fields, with the final empty line."""
    body: bytes = b""
    """Content with the chunked coding removed."""
    raw_body: bytes = b""
    """Content as framed on the wire, trailers included."""
    interim: list[bytes] = field(default_factory=list)
    """Heads of 1xx answers that came before."""

    def all(self, name: str) -> list[str]:
        """Return every value of the field `name`."""
        wanted = name.lower().encode()
        lines = self.head.split(b"\r\n")[1:]
        pairs = [line.partition(b":") for line in lines if line]
        return [value.strip(b" \t").decode("latin-1") for key, _, value in pairs if key.lower() == wanted]

    def get(self, name: str) -> str | None:
        """Return the first value of the field `name`, or None."""
        return next(iter(self.all(name)), None)


class Reader:
    """Reads from a socket up to a mark, a count or the end, keeping what came too early."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.received = bytearray()
        """Every byte that ever arrived."""

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            data = b""
        self.buffer += data
        self.received += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        """Return the bytes through `mark`; raises ClosedEarly where the peer ends first."""
        while (at := self.buffer.find(mark)) < 0:
            if not self._more():
                raise ClosedEarly(f"closed before {mark!r}; got {bytes(self.buffer[:500])!r}")
        return self._take(at + len(mark))

    def exactly(self, count: int) -> bytes:
        """Return `count` bytes; raises ClosedEarly where the peer ends first."""
        while len(self.buffer) < count:
            if not self._more():
                raise ClosedEarly(f"closed after {len(self.buffer)} of {count} bytes")
        return self._take(count)

    def to_end(self) -> bytes:
        """Return all bytes until the peer closes."""
        while self._more():
            pass
        return self._take(len(self.buffer))

    def some(self) -> bytes:
        """Return at least one byte of what is there or comes next; b"" when the peer closed."""
        if not self.buffer:
            self._more()
        return self._take(len(self.buffer))

    def chunked(self) -> tuple[bytes, bytes]:
        """Read a chunked body: (content, bytes as framed)."""
        content, framed = bytearray(), bytearray()
        while True:
            line = self.until(b"\r\n")
            framed += line
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            data = self.exactly(size + 2)
            content += data[:-2]
            framed += data
        while True:
            line = self.until(b"\r\n")
            framed += line
            if line == b"\r\n":
                return bytes(content), bytes(framed)

    def _take(self, count: int) -> bytes:
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken


def field_value(head: bytes, name: bytes) -> bytes | None:
    """Return the first value of the field `name` (lower-case) in a raw head, or None."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip(b" \t")
    return None


class RawClient:
    """One client connection. A context manager; `send` and `read` work in any order."""

    def __init__(
        self,
        address: tuple[str, int] | str,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        receive_buffer: int = 0,
    ) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        if isinstance(address, tuple) and ":" in address[0]:
            family = socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(address)
        self.local_port = 0 if isinstance(address, str) else sock.getsockname()[1]
        self.sock: socket.socket = tls.wrap_socket(sock, server_hostname=server_name) if tls else sock
        self.reader = Reader(self.sock)

    def send(self, data: bytes) -> None:
        """Send exactly `data`; a peer that has closed is noticed by the next read."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def read(self, *, head_request: bool = False) -> RawResponse:
        """Read one final answer, with the interim ones before it."""
        interim: list[bytes] = []
        while True:
            head = self.reader.until(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status >= 200 or status == 101:
                break
            interim.append(head)
        answer = RawResponse(status, head, interim=interim)
        if head_request or status in (101, 204, 304):
            return answer
        length = field_value(head, b"content-length")
        if (field_value(head, b"transfer-encoding") or b"").lower() == b"chunked":
            answer.body, answer.raw_body = self.reader.chunked()
        elif length is not None:
            answer.body = answer.raw_body = self.reader.exactly(int(length))
        else:
            answer.body = answer.raw_body = self.reader.to_end()
        return answer

    def ask(self, data: bytes, *, head_request: bool = False) -> RawResponse:
        """Send `data` and read one answer."""
        self.send(data)
        return self.read(head_request=head_request)

    def is_closed(self) -> bool:
        """Wait for the peer to close and say whether it did so without sending another byte."""
        return self.reader.to_end() == b""

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def get(path: str = "/", host: str = "example.com", *lines: str, close: bool = False) -> bytes:
    """Return the bytes of a GET request with the extra field `lines`."""
    fields = [f"Host: {host}", *lines, *(["Connection: close"] if close else [])]
    return f"GET {path} HTTP/1.1\r\n".encode() + "\r\n".join(fields).encode("latin-1") + b"\r\n\r\n"


def post(body: bytes, path: str = "/", host: str = "example.com", *lines: str) -> bytes:
    """Return the bytes of a POST request with Content-Length."""
    fields = [f"Host: {host}", f"Content-Length: {len(body)}", *lines]
    return f"POST {path} HTTP/1.1\r\n".encode() + "\r\n".join(fields).encode("latin-1") + b"\r\n\r\n" + body
