"""What compressing changes in heads: which requests and answers it is for, and the fields of those (RFC 9110)."""

from __future__ import annotations

from edgewise.contracts.compression import Compression
from edgewise.http.head import CHUNKED, UNTIL_CLOSE, Field, RequestHead, ResponseHead
from edgewise.http.media_types import shrinks
from edgewise.http.negotiation import codings

_SECRETS = (b"cookie", b"authorization")
_AS_THEY_ARE = (
    b"content-encoding", b"content-range", b"content-md5", b"content-digest", b"repr-digest", b"digest",
)  # fmt: skip
"""Fields of answers whose content must stay what it is."""
_WITHOUT = (204, 206)
_VARY = b"accept-encoding"


def coding_for(compression: Compression, request: RequestHead) -> bytes:
    """Return the coding in which a client gets answers, b"" for none."""
    accepted = []
    if not request.minor:  # HTTP/1.0 has no framing for content of unknown length but the end of the connection
        return b""
    for field in request.fields:
        if field.name == b"accept-encoding":
            accepted.append(field.value)
        elif compression.anonymous and field.name in _SECRETS:
            return b""
    found = codings(b",".join(accepted), compression.codings) if accepted else ()
    return found[0] if found else b""


def compressible(compression: Compression, response: ResponseHead) -> bool:
    """May an answer be compressed, its client willing?"""
    length = -1 if response.body in (CHUNKED, UNTIL_CLOSE) else response.body
    return covered(compression, response.status, response.fields, length)


def covered(compression: Compression, status: int, fields: tuple[Field, ...], length: int) -> bool:
    """The same by status, fields and bytes of content; less than 0: not known."""
    if status < 200 or status in _WITHOUT:
        return False
    kind = b""
    for name, value, _ in fields:
        if name in _AS_THEY_ARE or (name == b"cache-control" and b"no-transform" in value.lower()):
            return False
        if name == b"content-type":
            kind = value.partition(b";")[0].strip(b" \t").lower()
    return (length < 0 or length >= max(1, compression.min_size)) and _covers(compression, kind)


def _covers(compression: Compression, kind: bytes) -> bool:
    if not compression.types:
        return shrinks(kind) and kind != b"text/event-stream"
    return kind in compression.types or kind.partition(b"/")[0] + b"/*" in compression.types


def coding_of(head: bytes) -> bytes:
    """Return the coding that a head, the server's own having none, says was put on its content; b"" for none."""
    _, found, after = head.partition(b"\r\nContent-Encoding: ")
    return after.partition(b"\r\n")[0] if found else b""


def coded_lines(lines: list[bytes], coding: bytes) -> list[bytes]:
    """Return the field lines of an answer that may be compressed, and where `coding` is not b"", is.

    The tag of what is sent is a weak one, since it is that of the content before (RFC 9110 section 8.8.3.3); parts of
    it cannot be asked for.
    """
    kept: list[bytes] = []
    varies = False
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"vary":
            varies = varies or bool({_VARY, b"*"} & {one.strip(b" \t\r\n") for one in value.lower().split(b",")})
        elif coding and name == b"etag" and not value.lstrip(b" \t").startswith(b"W/"):
            line = b"ETag: W/%b\r\n" % value.strip(b" \t\r\n")
        elif coding and name in (b"accept-ranges", b"content-length"):
            continue
        kept.append(line)
    if not varies:
        kept.append(b"Vary: Accept-Encoding\r\n")
    if coding:
        kept.append(b"Content-Encoding: %b\r\n" % coding)
    return kept
