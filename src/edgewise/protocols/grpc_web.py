"""gRPC-Web to gRPC and back (the gRPC project's PROTOCOL-WEB document).

A browser's fetch() sees no trailers, so they travel as the last frame of the content, with the high bit of its flags
set; the text form wraps the content in base64. Messages are the same bytes on both sides and pass through unread.

A page of another origin needs CORS on the route: the preflight answered, and `Access-Control-Expose-Headers` with
grpc-status and grpc-message, since an answer without content has them among its fields.
"""

from __future__ import annotations

import binascii
import re

from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.grpc import Kind, Status, kind_of, status_fields, subtype

TRAILERS = 0x80
"""Flag of the frame that holds the trailers."""

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_GROUPS = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_NO_STATUS = b"".join(b"%b: %b\r\n" % field for field in status_fields(Status.UNKNOWN, "the server sent no status"))


def grpc_content_type(content_type: bytes) -> bytes:
    """Return the gRPC content type for a gRPC-Web one: the messages' format stays."""
    return b"application/grpc" + subtype(content_type)


def web_content_type(content_type: bytes, *, text: bool) -> bytes:
    """Return the gRPC-Web content type for a gRPC one."""
    return (b"application/grpc-web-text" if text else b"application/grpc-web") + subtype(content_type)


def wants_text(kind: Kind, accept: bytes | None) -> bool:
    """Is the answer to be in base64? Accept says so; where it names no gRPC-Web type the answer is like the request."""
    named = {kind_of(item.strip(b" \t")) for item in (accept or b"").split(b",")}
    if Kind.WEB_TEXT in named:
        return True
    return kind == Kind.WEB_TEXT and Kind.WEB not in named


class TextDecoder:
    """Content of a request in the text form, decoded as it comes.

    Senders encode each piece by itself, so padding may stand after any group of four. What it raises,
    ProtocolError 400, ends the request.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return what they decode to; up to three bytes wait for the rest of their group."""
        data = self._held + data
        end = len(data) & ~3
        self._held = data[end:]
        if self._held.translate(None, _ALPHABET):
            raise ProtocolError(400, "malformed base64")
        block = data[:end]
        try:
            if b"=" not in block:
                return binascii.a2b_base64(block, strict_mode=True)
            return _decode_padded(block)
        except binascii.Error:
            raise ProtocolError(400, "malformed base64") from None

    def end(self) -> None:
        """The content is over; raises ProtocolError 400 where a group is not whole."""
        if self._held:
            raise ProtocolError(400, "base64 ends within a group")


def _decode_padded(block: bytes) -> bytes:
    """Decode groups of which some end in padding."""
    decoded = []
    at = 0
    while at < len(block):
        match = _GROUPS.match(block, at)
        if match is None or match.end() == at or (match.end() - at) % 4:
            raise ProtocolError(400, "malformed base64")
        decoded.append(binascii.a2b_base64(match[0], strict_mode=True))
        at = match.end()
    return b"".join(decoded)


class ResponseEncoder:
    """Content and trailers of a gRPC response, as content of a gRPC-Web one."""

    __slots__ = ("_text",)

    def __init__(self, *, text: bool) -> None:
        self._text = text

    def feed(self, data: bytes) -> bytes:
        """Return content for the client. Each piece in the text form is padded by itself: holding bytes back until
        their group is full would delay the end of a message."""
        return binascii.b2a_base64(data, newline=False) if self._text else data

    def end(self, trailers: bytes) -> bytes:
        """Return the last frame, from the trailers' field lines (each with its CRLF).

        Where the server sent none the client is told so: to some clients the absence of a status means success.
        """
        block = b"".join(map(_lower_name, trailers.splitlines(keepends=True))) or _NO_STATUS
        return self.feed(b"%c%b%b" % (TRAILERS, len(block).to_bytes(4, "big"), block))


def _lower_name(line: bytes) -> bytes:
    name, colon, value = line.partition(b":")
    return name.lower() + colon + value
