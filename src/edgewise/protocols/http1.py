"""Heads of HTTP/1.1 messages: bytes to RequestHead or ResponseHead, and nothing ambiguous passes (RFC 9112).

Field lines seen before are not parsed again: a memo of single lines and one of all lines but the secret hold only what
passed every check. A browser's head of 16 fields with a new target and cookie takes 1.4 times as long as httptools
needs to call back with each name and value, a third as long as httptools with the same fields and checks made of those.
"""

from __future__ import annotations

import re

from edgewise.http.head import CHUNKED, NO_BODY, UNTIL_CLOSE, FieldLines, RequestHead, ResponseHead
from edgewise.http.targets import normalise_path, split_target
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1_chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk, encode_last_chunk
from edgewise.protocols.http1_fields import (
    AUTHORITIES,
    CHECKED,
    LINES,
    TOKEN,
    around,
    governing,
    hop_by_hop,
    keeps_alive,
    parse_field,
    parse_fields,
)
from edgewise.protocols.memo import Memo

__all__ = (
    "LAST_CHUNK",
    "ChunkedDecoder",
    "encode_chunk",
    "encode_last_chunk",
    "hop_by_hop",
    "parse_request_head",
    "parse_response_head",
)

# No possessive quantifier on a group: CPython 3.11.0 to 3.11.4, Debian 12's among them, matches too much there.
_PATH = rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]]*+(?:(%)[0-9A-Fa-f]{2}[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]]*+)*"
_QUERY = rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]*+(?:%[0-9A-Fa-f]{2}[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]*+)*"
# The first alternative is an origin-form target that needs no second look; the other is sorted out by _resolve.
_REQUEST_LINE = re.compile(
    rb"(" + TOKEN + rb") (?:((" + _PATH + rb")(?:\?(" + _QUERY + rb"))?)|([!-~]++)) HTTP/(1\.[0-9]|2\.0)\r\n"
)
_OTHER_VERSION = re.compile(TOKEN + rb" [!-~]++ HTTP/(?:[02-9]\.[0-9]|[0-9])\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n")
_END = b"\r\n\r\n"
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*+)(.*)", re.IGNORECASE)
_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_LONGEST_LINE = 16384
_new = tuple.__new__
"""Makes a NamedTuple in a third of the time that calling its class takes."""


def parse_request_head(
    head: bytes, max_fields: int = 100, *, allow_encoded_slash: bool = False, http2: bool = False
) -> RequestHead:
    """Parse a request head: all bytes from the request line through the empty line.

    The caller bounds the size of `head` and skips empty lines before it (RFC 9112 section 2.2). With
    `allow_encoded_slash`, %2F and %5C may be in paths and stay encoded. With `http2` it is a head that the codec of
    HTTP/2 put into this form, with the version 2.0. Raises ProtocolError: 405 CONNECT, 414, 417, 431, 501 transfer
    coding, 505, else 400; after any of them the connection cannot be used further.
    """
    match = _REQUEST_LINE.match(head)
    if match is None or not head.endswith(_END):
        raise _bad_request_line(head)
    method, target, path, escape, query, other, version = match.groups()
    at = match.end()
    if (version == b"2.0") != http2:
        raise ProtocolError(505, "HTTP version not supported")
    if method == b"CONNECT":
        raise ProtocolError(405, "CONNECT is for forward proxies")
    if at > _LONGEST_LINE:
        raise ProtocolError(414, "request target too long")
    lines, secret = _field_lines(head, at)
    if len(lines.before) + len(lines.after) + (secret != b"") > max_fields:
        raise ProtocolError(431, "too many fields")
    minor = 2 if http2 else 1
    if version == b"1.0":
        minor = 0
        lines = _old_lines(lines)
    elif lines.authority is None:
        raise ProtocolError(400, "no Host field")
    if other is not None:
        path, query, absolute = _resolve(method, other)
        target = None
        if absolute is not None:
            authority, host = _absolute_authority(absolute, lines.authority)
            lines = lines.revised(authority=authority, host=host)
    # `b"%" in path` would take three times as long: bytes are tried as a number first.
    if escape is not None or other is not None or path.find(b"/.") >= 0:
        path = _normalised(path, allow_encoded_slash)
        target = None
    if target is None:
        target = path if query is None else b"%b?%b" % (path, query)
    return RequestHead(method, target, path, query, minor, lines, secret)


def parse_response_head(head: bytes, max_fields: int = 200) -> ResponseHead:
    """Parse an upstream's response head: all bytes from the status line through the empty line.

    `body` is that of a response to any request but HEAD. Raises ProtocolError 502; after it the connection is unusable.
    """
    try:
        return _response_head(head, max_fields)
    except ProtocolError as error:
        raise ProtocolError(502, error.detail) from None


def _response_head(head: bytes, max_fields: int) -> ResponseHead:
    at = head.find(b"\r\n") + 2
    minor, status, reason = _STATUS_LINES[head[:at]]
    if not head.endswith(_END):
        raise ProtocolError(502, "head does not end with an empty line")
    fields = parse_fields(head[at:-2])
    if len(fields) > max_fields:
        raise ProtocolError(502, "too many fields")
    _, framed, options, protocol, _ = governing(fields)
    if minor == 0:
        _check_old(framed)
        protocol = None
    keep_alive = keeps_alive(options, minor)
    if status < 200 or status in (204, 304):
        body = NO_BODY
        # A server that frames content here may well send it, where the next response is expected.
        keep_alive = keep_alive and (status == 304 or not framed)
    elif framed is None:
        body = UNTIL_CLOSE
        keep_alive = False
    else:
        body = framed
    return _new(ResponseHead, (status, reason, minor, fields, body, keep_alive, protocol, options))


def _status_line(line: bytes) -> tuple[int, int, bytes]:
    """Return minor version, status and reason (RFC 9112 section 4)."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise ProtocolError(502, "malformed status line")
    digit, code, reason = match.groups()
    return 0 if digit == b"0" else 1, int(code), reason or b""


_STATUS_LINES: Memo[tuple[int, int, bytes]] = Memo(_status_line, entries=64, longest=64)


def _field_lines(head: bytes, at: int) -> tuple[FieldLines, bytes]:
    """Return the field lines from `at` on, and apart from them the last Cookie, else Authorization, else X-API-Key."""
    value = 8
    start = head.rfind(b"\r\nCookie:", at - 2) + 2  # from the end, where browsers have it
    if start < 2:
        value = 15
        start = head.rfind(b"\r\nAuthorization:", at - 2) + 2
        if start < 2:
            value = 11
            start = head.rfind(b"\r\nX-API-Key:", at - 2) + 2
            if start < 2:
                return LINES[head[at:]], b""
    end = head.find(b"\r\n", start)
    secret = head[start:end]
    secret = head[start : end + 2] if _is_as_sent(secret, value) else parse_field(secret).line
    if end + 4 == len(head):
        return LINES[head[at:start] + b"\r\n"], secret
    return LINES[around(head[at:start], head[end + 2 : -2])], secret


def _is_as_sent(line: bytes, value: int) -> bool:
    """Is the field line, whose value would begin at `value`, valid and spelled as it is to be sent on?"""
    return (
        len(line) > value
        and line[value - 1] == 0x20
        and line[value] > 0x20
        and line[-1] > 0x20
        and line.translate(CHECKED) == line
    )


def _bad_request_line(head: bytes) -> ProtocolError:
    if not head.endswith(_END):
        return ProtocolError(400, "head does not end with an empty line")
    if _OTHER_VERSION.match(head):
        return ProtocolError(505, "HTTP version not supported")
    return ProtocolError(400, "malformed request line")


def _normalised(path: bytes, allow_encoded_slash: bool) -> bytes:
    try:
        return normalise_path(path, allow_encoded_slash)
    except ValueError as error:
        raise ProtocolError(400, str(error)) from None


def _old_lines(lines: FieldLines) -> FieldLines:
    """Return what the field lines mean in HTTP/1.0 (RFC 9112 section 9.3)."""
    _check_old(lines.body)
    keep_alive = keeps_alive(lines.connection, 0)
    return lines.revised(keep_alive=keep_alive, upgrade=None, expect_continue=False)


def _check_old(framed: int | None) -> None:
    if framed == CHUNKED:
        raise ProtocolError(400, "Transfer-Encoding in HTTP/1.0")


def _resolve(method: bytes, target: bytes) -> tuple[bytes, bytes | None, tuple[bytes, bytes] | None]:
    """Return path, query and, for absolute-form, (scheme, authority) of an unusual target (RFC 9112 section 3.2)."""
    if target == b"*":
        if method != b"OPTIONS":
            raise ProtocolError(400, "asterisk-form is for OPTIONS")
        return b"*", None, None
    absolute = None
    if not target.startswith(b"/"):
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise ProtocolError(400, "target is neither origin-form nor an http URI")
        absolute = match[1].lower(), match[2]
        target = match[3]
        if not target and method == b"OPTIONS":
            return b"*", None, absolute  # RFC 9112 section 3.2.4
        if not target.startswith(b"/"):
            target = b"/" + target
    try:
        path, query = split_target(target)
    except ValueError as error:
        raise ProtocolError(400, str(error)) from None
    return path, query, absolute


def _absolute_authority(absolute: tuple[bytes, bytes], sent: bytes | None) -> tuple[bytes, bytes]:
    """Return the authority and host of an absolute-form target, which Host may not contradict."""
    scheme, authority = absolute
    host, port = AUTHORITIES[authority]
    if sent:
        default = _DEFAULT_PORTS[scheme]
        sent_host, sent_port = AUTHORITIES[sent]
        if (sent_host, sent_port or default) != (host, port or default):
            raise ProtocolError(400, "Host differs from the authority of the target")
    return sent or authority, host
