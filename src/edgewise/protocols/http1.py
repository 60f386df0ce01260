"""Heads of HTTP/1.1 messages: bytes to RequestHead or ResponseHead, and nothing ambiguous passes (RFC 9112).

A field line seen before is not parsed again: the memo of field lines holds only lines that passed every check.
"""

from __future__ import annotations

import re

from edgewise.http.head import NO_BODY, UNTIL_CLOSE, Field, RequestHead, ResponseHead
from edgewise.http.targets import normalise_path, split_target
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1_chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk, encode_last_chunk
from edgewise.protocols.http1_fields import (
    AUTHORITIES,
    FIELDS,
    OPTIONS,
    TOKEN,
    framed_body,
    governing_fields,
    hop_by_hop,
    keeps_alive,
    offered_protocol,
)

__all__ = (
    "LAST_CHUNK",
    "ChunkedDecoder",
    "encode_chunk",
    "encode_last_chunk",
    "hop_by_hop",
    "parse_request_head",
    "parse_response_head",
)

_PATH = rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]]*+(?:%[0-9A-Fa-f]{2}[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]]*+)*+"
_QUERY = rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]*+(?:%[0-9A-Fa-f]{2}[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]*+)*+"
# The first alternative is an origin-form target that needs no second look; the other is sorted out by _resolve.
_REQUEST_LINE = re.compile(
    rb"(" + TOKEN + rb") (?:(" + _PATH + rb")(?:\?(" + _QUERY + rb"))?|([!-~]++)) HTTP/1\.([0-9])"
)
_OTHER_VERSION = re.compile(TOKEN + rb" [!-~]++ HTTP/(?:[02-9]\.[0-9]|[0-9])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?")
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*+)(.*)", re.IGNORECASE)
_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_NO_OPTIONS: frozenset[bytes] = frozenset()
_LONGEST_TARGET = 16384


def parse_request_head(head: bytes, max_fields: int = 100, *, allow_encoded_slash: bool = False) -> RequestHead:
    """Parse a request head: all bytes from the request line through the empty line.

    The caller bounds the size of `head` and skips empty lines before it (RFC 9112 section 2.2). With
    `allow_encoded_slash`, %2F and %5C may be in paths and stay encoded. Raises ProtocolError: 405 CONNECT, 414, 417,
    431, 501 transfer coding, 505, else 400; after any of them the connection cannot be used further.
    """
    first, fields = _split_lines(head, max_fields)
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise _bad_request_line(first)
    method, path, query, other, digit = match.groups()
    minor = 0 if digit == b"0" else 1
    if method == b"CONNECT":
        raise ProtocolError(405, "CONNECT is for forward proxies")
    if len(first) > _LONGEST_TARGET:
        raise ProtocolError(414, "request target too long")
    found = governing_fields(fields)
    authority, host = _host(found, minor)
    if other is not None:
        path, query, absolute = _resolve(method, other)
        if absolute is not None:
            authority, host = _absolute_authority(absolute, authority)
    if b"%" in path or b"/." in path:
        try:
            path = normalise_path(path, allow_encoded_slash)
        except ValueError as error:
            raise ProtocolError(400, str(error)) from None
    body = framed_body(found, minor) or NO_BODY
    options = OPTIONS[found[b"connection"]] if b"connection" in found else _NO_OPTIONS
    return RequestHead(
        method,
        path if query is None else b"%b?%b" % (path, query),
        path,
        query,
        authority,
        host,
        minor,
        fields,
        body,
        keeps_alive(options, minor),
        # A tunnel cannot begin before the content has ended, so Upgrade is ignored there.
        offered_protocol(found, options, minor) if body == NO_BODY else None,
        b"expect" in found and _expects_continue(found[b"expect"], minor, body),
        options,
    )


def parse_response_head(head: bytes, max_fields: int = 200) -> ResponseHead:
    """Parse an upstream's response head: all bytes from the status line through the empty line.

    `body` is that of a response to any request but HEAD. Raises ProtocolError 502; after it the connection is unusable.
    """
    try:
        return _response_head(head, max_fields)
    except ProtocolError as error:
        raise ProtocolError(502, error.detail) from None


def _response_head(head: bytes, max_fields: int) -> ResponseHead:
    first, fields = _split_lines(head, max_fields)
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise ProtocolError(502, "malformed status line")
    digit, code, reason = match.groups()
    minor = 0 if digit == b"0" else 1
    status = int(code)
    found = governing_fields(fields)
    framed = framed_body(found, minor)
    options = OPTIONS[found[b"connection"]] if b"connection" in found else _NO_OPTIONS
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
    return ResponseHead(
        status, reason or b"", minor, fields, body, keep_alive, offered_protocol(found, options, minor), options
    )


def _split_lines(head: bytes, max_fields: int) -> tuple[bytes, tuple[Field, ...]]:
    if not head.endswith(b"\r\n\r\n"):
        raise ProtocolError(400, "head does not end with an empty line")
    lines = head[:-4].split(b"\r\n")
    if len(lines) > max_fields + 1:
        raise ProtocolError(431, "too many fields")
    first = lines.pop(0)
    return first, tuple(map(FIELDS.__getitem__, lines))


def _bad_request_line(line: bytes) -> ProtocolError:
    if _OTHER_VERSION.fullmatch(line):
        return ProtocolError(505, "HTTP version not supported")
    return ProtocolError(400, "malformed request line")


def _host(found: dict[bytes, bytes], minor: int) -> tuple[bytes, bytes]:
    authority = found.get(b"host")
    if authority is not None:
        return authority, AUTHORITIES[authority][0]
    if minor == 1:
        raise ProtocolError(400, "no Host field")
    return b"", b""


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


def _absolute_authority(absolute: tuple[bytes, bytes], sent: bytes) -> tuple[bytes, bytes]:
    """Return the authority and host of an absolute-form target, which Host may not contradict."""
    scheme, authority = absolute
    host, port = AUTHORITIES[authority]
    if sent:
        default = _DEFAULT_PORTS[scheme]
        sent_host, sent_port = AUTHORITIES[sent]
        if (sent_host, sent_port or default) != (host, port or default):
            raise ProtocolError(400, "Host differs from the authority of the target")
    return sent or authority, host


def _expects_continue(value: bytes, minor: int, body: int) -> bool:
    if value.lower() != b"100-continue":
        raise ProtocolError(417, "expectation other than 100-continue")
    return minor == 1 and body != NO_BODY
