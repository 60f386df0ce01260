"""Header lists of HTTP/2 to heads in HTTP/1 form and back (RFC 9113 section 8).

Everything behind a connection speaks heads of HTTP/1, whose parser looks at each again. What HTTP/2 alone can get wrong
is refused here, and nothing that could end a line, a head or a field early gets through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from edgewise.http.statuses import status_line
from edgewise.protocols.hpack import Entry, encode, encode_literal
from edgewise.protocols.http1_fields import NEVER_KEPT, TOKEN
from edgewise.protocols.memo import Memo, RepeatMemo

Fields = list[tuple[bytes, bytes]]

_REQUEST_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))
_ORDINARY = frozenset((b":method", b":scheme", b":path"))
_CONNECT = {b":method", b":authority"}
_CONNECTION_SPECIFIC = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
"""Section 8.2.2."""
_SPELLED = {b"authorization": b"Authorization: ", b"x-api-key": b"X-API-Key: "}
"""With this spelling the parser of HTTP/1 keeps the value out of what it remembers."""
_NOT_SENT = _CONNECTION_SPECIFIC | {b"http2-settings", b"te", b"host"}

_METHOD = re.compile(TOKEN)
_PATH = re.compile(rb"/[^\x00-\x20\x7f]*+")
_AUTHORITY = re.compile(rb"[^\x00-\x20\x7f]++")
_STATUS = re.compile(rb"[1-9][0-9]{2}")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_LOWER_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++")
_BUT_ENDS_OF_LINES = bytes(range(1, 10)) + b"\x0b\x0c" + bytes(range(0x0E, 0x100))
_WHITE_SPACE = b" \t"

UNKNOWN = -1
"""Content length that no field tells."""


class Malformed(Exception):
    """The fields are no request, response or trailers: a stream error PROTOCOL_ERROR (section 8.1.1)."""


class ReceivedHead(NamedTuple):
    """A request or response head, or trailers, translated."""

    head: bytes
    """In HTTP/1 form, through the empty line, without framing that no field of it told; trailers without that line."""
    length: int
    """Content-Length or UNKNOWN."""
    status: int
    """Of a response; 0 for a request and for trailers."""
    secret: bool
    """Is there a value in it that must not outlive its connection?"""
    inserted: tuple[Entry, ...] = ()
    """What its block adds to the dynamic table."""

    def framed(self, *, end: bool) -> bytes:
        """Return the head with framing that tells HTTP/1 what END_STREAM tells HTTP/2 (RFC 9112 section 6)."""
        if self.length >= 0 or (end and not self.status):
            return self.head
        framing = b"Content-Length: 0\r\n\r\n" if end else b"Transfer-Encoding: chunked\r\n\r\n"
        return self.head[:-2] + framing


# ---- received --------------------------------------------------------------------------------------------------------


def request_head(fields: Fields) -> ReceivedHead:
    """Translate the fields of a request; raises Malformed (sections 8.2 and 8.3)."""
    pseudo, regular = _split_pseudo(fields, _REQUEST_PSEUDO)
    method = pseudo.get(b":method", b"")
    if not _METHOD.fullmatch(method):
        raise Malformed("malformed or missing :method")
    authority = pseudo.get(b":authority")
    if authority is not None and not _AUTHORITY.fullmatch(authority):
        raise Malformed("malformed :authority")
    lines, found = _lines(regular)
    host = found.get(b"host")
    if authority is None:
        authority = host
    elif host is not None and host.lower() != authority.lower():
        raise Malformed("host differs from :authority")
    start = b"%b %b HTTP/2.0\r\n" % (method, _target(method, pseudo))
    if authority is not None:
        start += b"Host: %b\r\n" % authority
    head = b"".join((start, *lines, b"\r\n"))
    return ReceivedHead(head, _length(found), 0, _is_secret(regular))


def response_head(fields: Fields) -> ReceivedHead:
    """Translate the fields of a response; raises Malformed (sections 8.2 and 8.3.2)."""
    pseudo, regular = _split_pseudo(fields, {b":status"})
    code = pseudo.get(b":status", b"")
    if not _STATUS.fullmatch(code) or code == b"101":  # section 8.6: there is no upgrade
        raise Malformed("malformed or missing :status")
    lines, found = _lines(regular)
    if b"host" in found:
        raise Malformed("host in a response")
    status = int(code)
    head = b"".join((status_line(status), *lines, b"\r\n"))
    return ReceivedHead(head, _length(found), status, _is_secret(regular))


def trailers(fields: Fields) -> ReceivedHead:
    """Translate trailers; raises Malformed (section 8.1)."""
    lines, found = _lines(fields)
    if b"host" in found or b"content-length" in found:
        raise Malformed("field in the trailers that frames or routes")
    return ReceivedHead(b"".join(lines), UNKNOWN, 0, _is_secret(fields))


def _split_pseudo(fields: Fields, known: Iterable[bytes]) -> tuple[dict[bytes, bytes], Fields]:
    """Part the pseudo-fields, which come first and once each, from the others."""
    pseudo: dict[bytes, bytes] = {}
    at = 0
    for name, value in fields:
        if name[:1] != b":":
            break
        if name in pseudo or name not in known:
            raise Malformed("unknown or repeated pseudo-field")
        pseudo[name] = value
        at += 1
    return pseudo, fields[at:]


def _target(method: bytes, pseudo: dict[bytes, bytes]) -> bytes:
    """Return the request target (sections 8.3.1 and 8.5)."""
    if method == b"CONNECT":
        if pseudo.keys() != _CONNECT:
            raise Malformed("CONNECT has :method and :authority and no other")
        return pseudo[b":authority"]
    if not pseudo.keys() >= _ORDINARY:
        raise Malformed("missing pseudo-field")
    if pseudo[b":scheme"] not in (b"http", b"https"):
        raise Malformed("scheme other than http and https")
    path = pseudo[b":path"]
    if not _PATH.fullmatch(path) and (path != b"*" or method != b"OPTIONS"):
        raise Malformed("malformed :path")
    return path


def _lines(fields: Fields) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Return the lines of regular fields, without Host, and the values that need a look; raises Malformed."""
    if b"".join([value for _, value in fields]).translate(None, _BUT_ENDS_OF_LINES):
        raise Malformed("NUL, CR or LF in a value")
    lines: list[bytes] = []
    found: dict[bytes, bytes] = {}
    crumbs: list[bytes] = []
    cookie_at = 0
    for name, value in fields:
        prefix = _LINE_PREFIXES[name]
        if value and (value[0] in _WHITE_SPACE or value[-1] in _WHITE_SPACE):
            raise Malformed("white space around a value")
        if name == b"cookie":
            cookie_at = cookie_at if crumbs else len(lines)
            crumbs.append(value)
            continue
        if name in (b"host", b"content-length"):
            if name in found:
                raise Malformed("field that may come but once")
            found[name] = value
            if name == b"host":
                continue
        elif name == b"te" and value.lower() != b"trailers":
            raise Malformed("te other than trailers")
        lines.append(b"%b%b\r\n" % (prefix, value))
    if crumbs:
        lines.insert(cookie_at, b"Cookie: %b\r\n" % b"; ".join(crumbs))  # section 8.2.3
    return lines, found


def _line_prefix(name: bytes) -> bytes:
    """Return `name: ` as HTTP/1 will get it; raises Malformed for a name that may not be here."""
    if not _LOWER_NAME.fullmatch(name):
        raise Malformed("malformed field name, upper case in it, or a pseudo-field after others")
    if name in _CONNECTION_SPECIFIC:
        raise Malformed("connection-specific field")
    return _SPELLED.get(name) or name + b": "


_LINE_PREFIXES: Memo[bytes] = Memo(_line_prefix, entries=256, longest=64)


def _length(found: dict[bytes, bytes]) -> int:
    length = found.get(b"content-length")
    if length is None:
        return UNKNOWN
    if not _LENGTH.fullmatch(length):
        raise Malformed("malformed content-length")
    return int(length)


def _is_secret(fields: Fields) -> bool:
    return not NEVER_KEPT.isdisjoint([name for name, _ in fields])


# ---- sent ------------------------------------------------------------------------------------------------------------

HTTPS = encode([(b":scheme", b"https")])
HTTP = encode([(b":scheme", b"http")])


def response_block(head: bytes) -> bytes:
    """Return the header block of a response head in HTTP/1 form, from the status line through the empty line."""
    block = RESPONSE_BLOCKS.get(head)
    if block is None:
        start, _, rest = head.partition(b"\r\n")
        lines = _split_lines(rest[:-2])
        block = encode([(b":status", start[9:12]), *lines])
        _remember(RESPONSE_BLOCKS, head, block, lines)
    return block


def request_block(head: bytes) -> bytes:
    """Return the header block of a request head in HTTP/1 form, without the empty line and without :scheme.

    `te: trailers` tells servers that trailers get through; it is said where they are needed, with gRPC.
    """
    block = REQUEST_BLOCKS.get(head)
    if block is None:
        start, _, rest = head.partition(b"\r\n")
        method, target, _ = start.split(b" ")
        lines = _split_lines(rest)
        authority = [(b":authority", value) for name, value in _raw_lines(rest) if name == b"host"]
        if (b"content-type", b"application/grpc") in [(name, value[:16]) for name, value in lines]:
            lines.append((b"te", b"trailers"))
        block = encode([(b":method", method), *authority, (b":path", target), *lines])
        _remember(REQUEST_BLOCKS, head, block, lines)
    return block


def lines_block(lines: bytes) -> bytes:
    """Return the header block of field lines, each with its CRLF, that are mostly new each time."""
    block = _LINES.young.get(lines) or _LINES.get(lines)
    if block is None:
        fields = _split_lines(lines)
        block = b"".join([encode_literal(name, value) for name, value in fields])
        _remember(_LINES, lines, block, fields)
    return block


def _split_lines(lines: bytes) -> Fields:
    """Return the fields in field lines that go over HTTP/2 (section 8.2.2)."""
    return [field for field in _raw_lines(lines) if field[0] not in _NOT_SENT]


def _raw_lines(lines: bytes) -> Iterable[tuple[bytes, bytes]]:
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        if line.translate(None, _BUT_ENDS_OF_LINES):
            raise ValueError("NUL, CR or LF in a field line to send")
        yield name.lower(), value.strip(_WHITE_SPACE)


def _remember(memo: RepeatMemo[bytes], key: bytes, block: bytes, fields: Fields) -> None:
    if not _is_secret(fields):
        memo.offer(key, block, len(block))


RESPONSE_BLOCKS: RepeatMemo[bytes] = RepeatMemo(entries=1024, longest=4096)
REQUEST_BLOCKS: RepeatMemo[bytes] = RepeatMemo(entries=1024, longest=4096)
"""Head -> its block."""
_LINES: RepeatMemo[bytes] = RepeatMemo(entries=1024, longest=1024)
