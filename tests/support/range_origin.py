"""An origin of one object that answers ranges, remembers which it was asked for, and changes when it is told to."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from email.utils import formatdate
from functools import partial

from support.origin import OriginConnection
from support.raw_http import PATIENCE, field_value

_RANGE = re.compile(rb"bytes=([0-9]*)-([0-9]*)")


def content(size: int, seed: int = 0) -> bytes:
    """Return bytes in which every offset tells where it is."""
    return b"".join(b"%07d:" % (at + seed * 9_000_000 // 8) for at in range(-(-size // 8)))[:size]


class RangeOrigin:
    """A script for `support.origin.Origin`. Attributes may be changed while it serves."""

    def __init__(self, size: int, *lines: str, etag: str = '"one"') -> None:
        self.body = content(size)
        self.etag = etag
        self.lines = ["Cache-Control: max-age=60", *lines]
        self.ranges: list[str] = []
        """What was asked for, as the value of Range; "" for the whole."""
        self.requests: list[bytes] = []
        self.ignores_ranges = False
        self.length = ""
        """In place of the length that Content-Range gives."""
        self.chunked = False
        self.cuts: set[str] = set()
        """Ranges whose content breaks off half-way."""
        self.answers: dict[str, bytes] = {}
        """Range -> a whole answer in place of it."""
        self.gates: dict[str, threading.Event] = {}
        """Range -> what has to happen before its content is sent."""
        self.asked: Callable[[str], object] = lambda value: None
        """Called with each range before it is answered."""

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            request = connection.read_request()
            value = (field_value(request, b"range") or b"").decode()
            self.requests.append(request)
            self.ranges.append(value.removeprefix("bytes="))
            self.asked(self.ranges[-1])
            if self._answer(connection, request, self.ranges[-1]):
                return

    def _answer(self, connection: OriginConnection, request: bytes, asked: str) -> bool:
        """Answer one request; True where the connection is cut."""
        given = self.answers.get(asked)
        if given is not None:
            connection.send(given)
            return False
        condition = field_value(request, b"if-none-match")
        if condition is not None and condition.decode() == self.etag:
            connection.send(self._head("304 Not Modified"))
            return False
        start, end = self._span(asked)
        if start >= end and asked and self.body == b"":
            connection.send(self._head("416 Range Not Satisfiable", "Content-Range: bytes */0", "Content-Length: 0"))
            return False
        if start >= end and asked:
            lines = (f"Content-Range: bytes */{len(self.body)}", "Content-Length: 0")
            connection.send(self._head("416 Range Not Satisfiable", *lines))
            return False
        self._send_part(connection, asked, start, end)
        return asked in self.cuts

    def _send_part(self, connection: OriginConnection, asked: str, start: int, end: int) -> None:
        part = self.body[start:end]
        lines = ["Transfer-Encoding: chunked" if self.chunked else f"Content-Length: {len(part)}"]
        status = "200 OK"
        if asked and not self.ignores_ranges:
            status = "206 Partial Content"
            lines.append(f"Content-Range: bytes {start}-{end - 1}/{self.length or len(self.body)}")
        connection.send(self._head(status, *lines))
        gate = self.gates.get(asked)
        half = len(part) // 2
        frame = partial(b"%x\r\n%b\r\n".__mod__) if self.chunked else None
        connection.send(frame((half, part[:half])) if frame else part[:half])
        assert gate is None or gate.wait(PATIENCE * 4)
        if asked not in self.cuts:
            rest = part[half:]
            connection.send(frame((len(rest), rest)) + b"0\r\n\r\n" if frame else rest)

    def _span(self, asked: str) -> tuple[int, int]:
        match = _RANGE.fullmatch(b"bytes=" + asked.encode())
        if match is None or self.ignores_ranges:
            return 0, len(self.body)
        if not match[1]:
            return max(0, len(self.body) - int(match[2])), len(self.body)
        return int(match[1]), min(int(match[2]) + 1 if match[2] else len(self.body), len(self.body))

    def _head(self, status: str, *lines: str) -> bytes:
        fields = [*self.lines, f"Date: {formatdate(usegmt=True)}", *lines]
        if self.etag:
            fields.append(f"ETag: {self.etag}")
        return f"HTTP/1.1 {status}\r\n".encode() + "".join(f"{line}\r\n" for line in fields).encode() + b"\r\n"
