"""The chunked transfer coding (RFC 9112 section 7.1)."""

from __future__ import annotations

import re

from edgewise.http.head import Field
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1_fields import parse_field, parse_fields

LAST_CHUNK = b"0\r\n\r\n"
"""Ends chunked content that has no trailers."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})([ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?\r\n")

# Fields that frame, route, authenticate or control a message are not for trailers (RFC 9110 section 6.5.1).
_FORBIDDEN_TRAILERS = frozenset((
    b"age", b"authorization", b"cache-control", b"connection", b"content-encoding", b"content-length",
    b"content-location", b"content-range", b"content-type", b"cookie", b"date", b"expect", b"expires", b"forwarded",
    b"host", b"http2-settings", b"keep-alive", b"location", b"max-forwards", b"origin", b"pragma", b"range",
    b"retry-after", b"set-cookie", b"te", b"traceparent", b"tracestate", b"trailer", b"transfer-encoding", b"upgrade",
    b"vary", b"via", b"warning", b"www-authenticate", b"x-api-key", b"x-real-ip", b"x-request-id", b"x-sendfile",
))  # fmt: skip
_FORBIDDEN_PREFIXES = (b"access-control-", b"if-", b"proxy-", b"sec-", b"x-accel-", b"x-forwarded-")

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)
_MANY_SLICES = 64


def encode_chunk(data: bytes) -> bytes:
    """Return `data` as one chunk; b"" for no data, since an empty chunk would end the content."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode_last_chunk(trailers: tuple[Field, ...] = ()) -> bytes:
    """Return the end of chunked content, with `trailers`."""
    return b"0\r\n%b\r\n" % b"".join([field.line for field in trailers])


def passing_trailers(lines: bytes) -> bytes:
    """Return those of the trailer lines, each with its CRLF, that may be forwarded."""
    return b"".join(field.line for field in parse_fields(lines) if _may_trail(field.name))


def _may_trail(name: bytes) -> bool:
    return name not in _FORBIDDEN_TRAILERS and not name.startswith(_FORBIDDEN_PREFIXES)


class ChunkedDecoder:
    """Decodes chunked content piece by piece; what it raises, ProtocolError(`status`), ends the connection.

    Extensions are dropped; `max_extensions` bounds their bytes in the whole content, `max_line` a size line and
    `max_trailers` the bytes of the trailer section.
    """

    __slots__ = (
        "_extensions", "_held", "_left", "_max_extensions", "_max_line", "_max_trailers", "_state", "_status",
        "_trailer_bytes", "rest", "trailers",
    )  # fmt: skip

    def __init__(
        self, status: int = 400, *, max_line: int = 256, max_extensions: int = 16384, max_trailers: int = 8192
    ) -> None:
        self._status = status
        self._max_line = max_line
        self._max_extensions = max_extensions
        self._max_trailers = max_trailers
        self._state = _SIZE
        self._held = b""
        self._left = 0
        self._extensions = 0
        self._trailer_bytes = 0
        self.rest = b""
        """Bytes after the end of the content: the next message."""
        self.trailers: tuple[Field, ...] = ()
        """Trailer fields that may be forwarded, complete once `done`."""

    @property
    def done(self) -> bool:
        """Has the content ended?"""
        return self._state == _DONE

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the content in them; once `done`, bytes only add to `rest`."""
        if self._state == _DATA and len(data) <= self._left:
            self._left -= len(data)
            if not self._left:
                self._state = _DATA_END
            return [data] if data else []
        if self._held:
            data = self._held + data
            self._held = b""
        content: list[bytes] = []
        at = 0
        size = len(data)
        while at < size:
            state = self._state
            if state == _SIZE:
                after = self._size_line(data, at)
            elif state == _DATA:
                after = min(size, at + self._left)
                content.append(data[at:after])
                self._left -= after - at
                if not self._left:
                    self._state = _DATA_END
            elif state == _DATA_END:
                after = self._data_end(data, at)
            elif state == _TRAILERS:
                after = self._trailer_line(data, at)
            else:
                self.rest += data[at:]
                break
            if after == at:
                self._held = data[at:]
                break
            at = after
        return [b"".join(content)] if len(content) > _MANY_SLICES else content

    def _size_line(self, data: bytes, at: int) -> int:
        """Read a size line at `at`; return where it ends, or `at` while it is incomplete."""
        match = _SIZE_LINE.match(data, at)
        if match is None:
            self._line_end(data, at, self._max_line)
            if data.find(b"\n", at) >= 0:
                raise ProtocolError(self._status, "malformed chunk size")
            return at
        after = match.end()
        if after - at > self._max_line:
            raise ProtocolError(self._status, "chunk size line too long")
        if match[2] is not None:
            self._extensions += len(match[2])
            if self._extensions > self._max_extensions:
                raise ProtocolError(self._status, "too many chunk extensions")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILERS
        return after

    def _data_end(self, data: bytes, at: int) -> int:
        end = data[at : at + 2]
        if end == b"\r\n":
            self._state = _SIZE
            return at + 2
        if end != b"\r":
            raise ProtocolError(self._status, "chunk longer than its size")
        return at

    def _trailer_line(self, data: bytes, at: int) -> int:
        end = self._line_end(data, at, self._max_trailers - self._trailer_bytes)
        if end < 0:
            return at
        line = data[at : end - 1]
        self._trailer_bytes += end + 1 - at
        if line:
            self._add_trailer(line)
        else:
            self._state = _DONE
        return end + 1

    def _add_trailer(self, line: bytes) -> None:
        try:
            field = parse_field(line)
        except ProtocolError as error:
            raise ProtocolError(self._status, error.detail) from None
        if _may_trail(field.name):
            self.trailers += (field,)

    def _line_end(self, data: bytes, at: int, longest: int) -> int:
        """Return the position of the LF that ends the line at `at`, -1 while there is none."""
        end = data.find(b"\n", at, at + longest)
        stop = end if end >= 0 else len(data)
        if end < 0 and stop - at >= longest:
            raise ProtocolError(self._status, "line of chunked content too long")
        carriage = data.find(b"\r", at, stop)
        if 0 <= carriage < stop - 1 or (end >= 0 and carriage < 0):
            raise ProtocolError(self._status, "bare CR or LF in chunked content")
        return end
