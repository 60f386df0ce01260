"""Field lines of HTTP/1.1 and the fields that frame a message or govern its connection (RFC 9110, RFC 9112)."""

from __future__ import annotations

import re

from edgewise.http.head import CHUNKED, Field, RequestHead, ResponseHead
from edgewise.http.targets import split_authority
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.memo import Memo

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_TOKEN = re.compile(TOKEN)
_LINE = re.compile(rb"(" + TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*+)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_PROTOCOL = re.compile(TOKEN + rb"(?:/" + TOKEN + rb")?")

# Values that are secrets must not outlive their message; the others differ in every message, so keeping them is vain.
_NEVER_KEPT = frozenset((
    b"authorization", b"cookie", b"proxy-authorization", b"set-cookie",
    b"x-api-key", b"x-auth-token", b"x-csrf-token", b"x-xsrf-token", b"x-amz-security-token",
    b"sec-websocket-accept", b"sec-websocket-key", b"traceparent", b"tracestate", b"x-request-id",
))  # fmt: skip
_LONGEST_KEPT = 256

GOVERNING = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"))
"""Names whose values the codec acts upon."""

HOP_BY_HOP = frozenset((
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"http2-settings",
    b"proxy-authenticate", b"proxy-authorization",
))  # fmt: skip
"""Names that end at the next hop, whatever Connection says (RFC 9110 section 7.6.1)."""

# A sender that lists one of these in Connection wants us to drop what frames, routes, authenticates or describes the
# message, or what we add ourselves (RFC 9110 section 7.6.1 forbids options that name end-to-end fields).
_PROTECTED = frozenset((
    b"host", b"content-length", b"content-type", b"content-encoding", b"content-range", b"trailer", b"expect", b"date",
    b"authorization", b"cookie", b"set-cookie", b"www-authenticate", b"cache-control", b"pragma", b"vary", b"expires",
    b"age", b"etag", b"last-modified", b"location", b"range", b"if-match", b"if-none-match", b"if-modified-since",
    b"if-unmodified-since", b"if-range", b"origin", b"referer", b"via", b"forwarded", b"x-forwarded-for",
    b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-prefix", b"x-real-ip",
    b"x-request-id", b"traceparent", b"tracestate", b"strict-transport-security", b"content-security-policy",
    b"x-frame-options", b"x-content-type-options", b"access-control-allow-origin",
))  # fmt: skip

_COMMON_OPTIONS = frozenset((b"close", b"keep-alive", b"upgrade", b"te"))


def parse_field(line: bytes) -> Field:
    """Parse one field line (without its CRLF); raises ProtocolError 400 (RFC 9112 section 5)."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise ProtocolError(400, _fault(line))
    name, value = match.groups()
    value = value.strip(b" \t")
    return Field(name.lower(), value, b"%b: %b\r\n" % (name, value))


def _fault(line: bytes) -> str:
    name, colon, value = line.partition(b":")
    if line[:1] in (b" ", b"\t"):
        return "folded field line"
    if b"\r" in line or b"\n" in line:
        return "bare CR or LF in a field line"
    if not colon:
        return "field line without a colon" if line else "empty line among the fields"
    if not name:
        return "empty field name"
    if _TOKEN.fullmatch(name):
        return "control byte in a field value" if value else "malformed field line"
    return "white space before the colon" if name.rstrip(b" \t") != name else "malformed field name"


def _connection_options(value: bytes) -> frozenset[bytes]:
    options = frozenset(option for item in value.split(b",") if (option := item.strip(b" \t").lower()))
    if not all(map(_TOKEN.fullmatch, options)):
        raise ProtocolError(400, "malformed Connection field")
    return options


def _authority(value: bytes) -> tuple[bytes, int | None]:
    try:
        return split_authority(value)
    except ValueError:
        raise ProtocolError(400, "malformed Host or authority") from None


def _may_be_kept(field: Field) -> bool:
    return field.name not in _NEVER_KEPT


FIELDS: Memo[Field] = Memo(parse_field, entries=1024, longest=_LONGEST_KEPT, keep=_may_be_kept)
"""Field line -> Field. A line in it has passed the checks of `parse_field`, so a hit skips none."""
OPTIONS: Memo[frozenset[bytes]] = Memo(_connection_options, entries=64, longest=64)
"""Value of Connection -> its lower-case options."""
AUTHORITIES: Memo[tuple[bytes, int | None]] = Memo(_authority, entries=1024, longest=_LONGEST_KEPT)
"""Authority -> (lower-case host, port)."""


def governing_fields(fields: tuple[Field, ...]) -> dict[bytes, bytes]:
    """Return the values of the fields the codec acts upon; lists are joined (RFC 9110 section 5.3).

    Raises ProtocolError 400 where Host or Content-Length comes twice, even with equal values.
    """
    found: dict[bytes, bytes] = {}
    for field in fields:
        name = field[0]
        if name in GOVERNING:
            if name not in found:
                found[name] = field[1]
            elif name in (b"host", b"content-length"):
                raise ProtocolError(400, f"more than one {name.decode()} field")
            else:
                found[name] += b", " + field[1]
    return found


def framed_body(found: dict[bytes, bytes], minor: int) -> int | None:
    """Return the content length or CHUNKED, None where no field tells; raises ProtocolError (RFC 9112 section 6)."""
    length = found.get(b"content-length")
    coding = found.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise ProtocolError(400, "both Content-Length and Transfer-Encoding")
        if minor == 0:
            raise ProtocolError(400, "Transfer-Encoding in HTTP/1.0")
        _check_coding(coding.lower())
        return CHUNKED
    if length is None:
        return None
    if not _LENGTH.fullmatch(length):
        raise ProtocolError(400, "malformed Content-Length")
    return int(length)


def _check_coding(coding: bytes) -> None:
    if coding == b"chunked":
        return
    codings = [item.strip(b" \t") for item in coding.split(b",")]
    if codings[-1] == b"chunked" and codings.count(b"chunked") == 1 and all(map(_TOKEN.fullmatch, codings)):
        raise ProtocolError(501, "transfer coding other than chunked")
    raise ProtocolError(400, "Transfer-Encoding is not exactly chunked")


def keeps_alive(options: frozenset[bytes], minor: int) -> bool:
    """May another message follow on the connection (RFC 9112 section 9.3)?"""
    return b"close" not in options and (minor == 1 or b"keep-alive" in options)


def offered_protocol(found: dict[bytes, bytes], options: frozenset[bytes], minor: int) -> bytes | None:
    """Return the one protocol to upgrade to, in lower case, or None (RFC 9110 section 7.8).

    h2c is never offered: what follows it would pass unseen. A list of protocols is ignored, as RFC 9110 allows.
    """
    if b"upgrade" not in options or minor == 0:
        return None
    protocol = found.get(b"upgrade", b"").lower()
    return protocol if _PROTOCOL.fullmatch(protocol) and protocol != b"h2c" else None


def hop_by_hop(head: RequestHead | ResponseHead) -> frozenset[bytes]:
    """Return the lower-case names of the fields not to forward (RFC 9110 section 7.6.1).

    Fields that frame, route or describe the message, and those a proxy writes, stay whatever Connection says. Drop
    these from what was received, before adding fields of our own.
    """
    options = head.connection
    return HOP_BY_HOP if options <= _COMMON_OPTIONS else HOP_BY_HOP | (options - _PROTECTED)
