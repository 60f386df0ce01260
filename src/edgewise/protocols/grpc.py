"""gRPC over HTTP/2: what a proxy reads and writes of it (the gRPC project's PROTOCOL-HTTP2 document).

Messages themselves pass through unread. Here are the marks of a gRPC request, its deadline, the statuses that failures
of the edge become, and the framing of messages for the calls that edgewise makes itself.
"""

from __future__ import annotations

import re
from enum import IntEnum
from urllib.parse import quote_from_bytes

from edgewise.protocols.errors import ProtocolError

Fields = tuple[tuple[bytes, bytes], ...]
"""(name, value) pairs."""


class Status(IntEnum):
    """Codes of grpc-status (the gRPC project's statuscodes document)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Kind(IntEnum):
    """How a request speaks of gRPC, by its content type."""

    NONE = 0
    GRPC = 1
    WEB = 2
    """gRPC-Web: trailers travel as the last frame of the content."""
    WEB_TEXT = 3
    """gRPC-Web with the content in base64."""
    JSON = 4
    """JSON in place of messages (`contracts.transcoding`)."""
    LINES = 5
    """The same of a stream, a line each."""
    EVENTS = 6
    """The same as server-sent events."""


_CONTENT_TYPE = re.compile(rb"application/grpc(-web(?:-text)?)?([+][!#$%&'*.^_`|~0-9a-z+-]+)?(?:[ \t]*;.*)?")
_KINDS = {None: Kind.GRPC, b"-web": Kind.WEB, b"-web-text": Kind.WEB_TEXT}

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_MOST = 99_999_999
"""The largest number of a grpc-timeout."""
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_COARSER = (b"u", b"m", b"S", b"M", b"H")

_STATUS_LINE = re.compile(rb"(?:\A|\n)grpc-status:[ \t]*([^\r\n]*?)[ \t]*\r", re.IGNORECASE)
_USUAL_TRAILERS = b"grpc-status: 0\r\n"
_CODE = re.compile(rb"[0-9]{1,2}")
_UNENCODED = "".join(map(chr, (*range(0x20, 0x25), *range(0x26, 0x7F))))

# What the edge means by its own answers. It differs from the mapping for clients (http-grpc-status-mapping), which must
# guess: there 429 is UNAVAILABLE, which invites retries, and 504 says nothing of a deadline.
_EDGE_STATUSES = {
    400: Status.INTERNAL,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.UNIMPLEMENTED,
    405: Status.UNIMPLEMENTED,
    408: Status.DEADLINE_EXCEEDED,
    413: Status.RESOURCE_EXHAUSTED,
    414: Status.RESOURCE_EXHAUSTED,
    415: Status.UNIMPLEMENTED,
    429: Status.RESOURCE_EXHAUSTED,
    431: Status.RESOURCE_EXHAUSTED,
    499: Status.CANCELLED,
    500: Status.INTERNAL,
    501: Status.UNIMPLEMENTED,
    502: Status.UNAVAILABLE,
    503: Status.UNAVAILABLE,
    504: Status.DEADLINE_EXCEEDED,
}

PREFIX_SIZE = 5
"""Bytes before each message: flags, and the length in four bytes."""
COMPRESSED = 1
"""Flag of a message in the encoding that grpc-encoding names."""


# ---- requests --------------------------------------------------------------------------------------------------------


def kind_of(content_type: bytes | None) -> Kind:
    """Tell gRPC, gRPC-Web and everything else apart by the value of Content-Type."""
    match = _CONTENT_TYPE.fullmatch(content_type.lower()) if content_type is not None else None
    return Kind.NONE if match is None else _KINDS[match[1]]


def subtype(content_type: bytes) -> bytes:
    """Return the suffix of a gRPC content type that names the messages' format: `+proto`, b"" where there is none."""
    match = _CONTENT_TYPE.fullmatch(content_type.lower())
    return match[2] or b"" if match is not None else b""


def parse_timeout(value: bytes) -> float:
    """Return the seconds that a grpc-timeout grants (1-8 digits and a unit); raises ProtocolError 400."""
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise ProtocolError(400, "malformed grpc-timeout")
    return int(match[1]) * _UNITS[match[2]]


def format_timeout(seconds: float) -> bytes:
    """Return a grpc-timeout of at most `seconds`, as exact as its eight digits allow; never less than a nanosecond."""
    if seconds < 0.09:
        return b"%dn" % max(1, int(seconds * 1e9))
    for unit in _COARSER:
        number = int(seconds / _UNITS[unit])
        if number <= _MOST:
            return b"%d%b" % (number, unit)
    return b"%dH" % _MOST


# ---- statuses --------------------------------------------------------------------------------------------------------


def edge_status(status: int) -> Status:
    """Return what an HTTP status that edgewise itself would answer means as a grpc-status."""
    return _EDGE_STATUSES.get(status, Status.UNKNOWN)


def find_status(lines: bytes) -> int | None:
    """Return the grpc-status among field lines (each with its CRLF): trailers, or a head; None where there is none.

    What is no code of one or two digits counts as UNKNOWN.
    """
    if lines.startswith(_USUAL_TRAILERS):
        return Status.OK
    match = _STATUS_LINE.search(lines)
    if match is None:
        return None
    return int(match[1]) if _CODE.fullmatch(match[1]) else Status.UNKNOWN


def status_name(status: int) -> str:
    """Return the name of a code, the number itself for one that this version does not know."""
    return Status(status).name if status <= Status.UNAUTHENTICATED else str(status)


def encode_message_text(text: str) -> bytes:
    """Return the value of grpc-message: UTF-8, with all but printable ASCII, and `%` itself, percent-encoded."""
    return quote_from_bytes(text.encode("utf-8", "replace"), safe=_UNENCODED).encode("ascii")


def status_fields(status: int, text: str = "") -> Fields:
    """Return grpc-status and, where there is a text, grpc-message."""
    fields = ((b"grpc-status", b"%d" % status),)
    return (*fields, (b"grpc-message", encode_message_text(text))) if text else fields


def trailers_only(status: int, text: str = "", content_type: bytes = b"application/grpc") -> Fields:
    """Return the fields of an answer without messages; it has HTTP status 200 and no content."""
    return ((b"Content-Type", content_type), *status_fields(status, text))


# ---- messages --------------------------------------------------------------------------------------------------------


def encode_message(message: bytes, flags: int = 0) -> bytes:
    """Return a length-prefixed message."""
    return b"%c%b%b" % (flags, len(message).to_bytes(4, "big"), message)


class MessageDecoder:
    """Takes length-prefixed messages out of content as it comes; a message longer than `limit` is refused.

    Raises ProtocolError 502 for flags that gRPC does not know, and for a message over the limit before it is gathered.
    """

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int = 4 << 20) -> None:
        self._held = bytearray()
        self._limit = limit

    @property
    def whole(self) -> bool:
        """Does the content so far end where a message ends?"""
        return not self._held

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take the next bytes and return (flags, message) of each message that they complete."""
        held = self._held
        held += data
        messages: list[tuple[int, bytes]] = []
        at = 0
        while len(held) - at >= PREFIX_SIZE:
            flags = held[at]
            start = at + PREFIX_SIZE
            size = int.from_bytes(held[at + 1 : start], "big")
            if flags > COMPRESSED:
                raise ProtocolError(502, "unknown flags of a gRPC message")
            if size > self._limit:
                raise ProtocolError(502, "gRPC message too long")
            if len(held) - start < size:
                break
            at = start + size
            messages.append((flags, bytes(held[start:at])))
        del held[:at]
        return messages
