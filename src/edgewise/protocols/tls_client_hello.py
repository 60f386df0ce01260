"""Reads a TLS ClientHello before the handshake: server name and application protocols (RFC 8446 section 4.1.2)."""

from __future__ import annotations

import re
from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from edgewise.protocols.errors import ProtocolError

MAX_BYTES = 16384
"""Bytes of a ClientHello at most, record headers included."""
MAX_RECORDS = 64
"""Records a ClientHello may be split over; bounds the work one more byte can cause."""

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_ALPN = 16
_RECORD_HEADER = 5
_MESSAGE_HEADER = 4
_FIXED = _MESSAGE_HEADER + 2 + 32
"""Bytes before the session id: message header, version, random."""

_two_shorts = Struct(">HH").unpack_from
_short = Struct(">H").unpack_from
_host_name = re.compile(rb"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?\.?").fullmatch


class ClientHello(NamedTuple):
    """What decides which context serves a connection."""

    server_name: str | None
    """Lower-case host name without trailing dot; None where the client sent none (RFC 6066 section 3)."""
    alpn: tuple[bytes, ...]
    """Protocols in the client's order of preference; empty where it sent none (RFC 7301 section 3.1)."""


def peek(data: bytes) -> ClientHello | None:
    """Return the ClientHello that `data` begins with, or None while more bytes are needed.

    Raises ProtocolError where the bytes are no ClientHello, break its structure or exceed the bounds.
    """
    message = _message(data)
    return None if message is None else _parse(message)


def _message(data: bytes) -> bytes | None:
    """Join the fragments of the first handshake message (RFC 8446 section 5.1)."""
    fragments: list[bytes] = []
    have, need, start = 0, _MESSAGE_HEADER, 0
    for _ in range(MAX_RECORDS):
        header = data[start : start + _RECORD_HEADER]
        if header and (header[0] != _HANDSHAKE or (len(header) > 1 and header[1] != 3)):
            raise ProtocolError(400, "not a TLS handshake")
        if len(header) < _RECORD_HEADER:
            break
        size = header[3] << 8 | header[4]
        if not 0 < size <= MAX_BYTES:
            raise ProtocolError(400, "TLS record of a length that is not allowed")
        start += _RECORD_HEADER
        fragment = data[start : start + size]
        fragments.append(fragment)
        have += len(fragment)
        start += size
        if have >= _MESSAGE_HEADER and need == _MESSAGE_HEADER:
            need += _length(fragments)
        if have >= need > _MESSAGE_HEADER:
            return _whole(fragments, need)
        if len(fragment) < size:
            break
    else:
        raise ProtocolError(400, "ClientHello split over too many records")
    if len(data) >= MAX_BYTES:
        raise ProtocolError(400, "ClientHello too large")
    return None


def _length(fragments: list[bytes]) -> int:
    """Read type and length of the handshake message once its header is there."""
    header = b"".join(fragments)[:_MESSAGE_HEADER]
    if header[0] != _CLIENT_HELLO:
        raise ProtocolError(400, "not a ClientHello")
    size = int.from_bytes(header[1:], "big")
    if not 0 < size <= MAX_BYTES - _RECORD_HEADER - _MESSAGE_HEADER:
        raise ProtocolError(400, "ClientHello of a length that is not allowed")
    return size


def _whole(fragments: list[bytes], size: int) -> bytes:
    message = fragments[0] if len(fragments) == 1 else b"".join(fragments)
    if len(message) != size:
        raise ProtocolError(400, "bytes after the ClientHello in its record")
    return message


def _parse(message: bytes) -> ClientHello:
    """Walk the fixed fields and the extensions of a whole message; every length must fit exactly."""
    try:
        at = _FIXED
        if message[_MESSAGE_HEADER] != 3 or message[at] > 32:
            raise ProtocolError(400, "ClientHello with a bad version or session id")
        at += 1 + message[at]
        suites = _short(message, at)[0]
        at += 2 + suites
        compressions = message[at]
        at += 1 + compressions
        if not suites or suites % 2 or not compressions or at > len(message):
            raise ProtocolError(400, "ClientHello with bad cipher suites or compression methods")
        return ClientHello(None, ()) if at == len(message) else _extensions(message, at)
    except (IndexError, StructError) as error:
        raise ProtocolError(400, "ClientHello cut short") from error


def _extensions(message: bytes, at: int) -> ClientHello:
    end = len(message)
    if _short(message, at)[0] != end - at - 2:
        raise ProtocolError(400, "ClientHello extensions of a wrong length")
    at += 2
    found: dict[int, tuple[int, int]] = {}
    while at < end:
        kind, size = _two_shorts(message, at)
        at += 4
        if kind in found or at + size > end:
            raise ProtocolError(400, "ClientHello extension repeated or too long")
        found[kind] = (at, at + size)
        at += size
    server_name = found.get(_SERVER_NAME)
    alpn = found.get(_ALPN)
    return ClientHello(
        None if server_name is None else _name(message[server_name[0] : server_name[1]]),
        () if alpn is None else _protocols(message[alpn[0] : alpn[1]]),
    )


def _name(body: bytes) -> str:
    """Read the one host name of a server_name extension; other name types were never defined."""
    length = len(body)
    if length < 6 or _short(body)[0] != length - 2 or body[2] or _short(body, 3)[0] != length - 5:
        raise ProtocolError(400, "server_name extension of a wrong length or type")
    name = body[5:]
    if _host_name(name) is None:
        raise ProtocolError(400, "server_name is not a host name")
    return name.decode("ascii").lower().removesuffix(".")


def _protocols(body: bytes) -> tuple[bytes, ...]:
    end = len(body)
    if end < 4 or _short(body)[0] != end - 2:
        raise ProtocolError(400, "ALPN extension of a wrong length")
    protocols = []
    at = 2
    while at < end:
        size = body[at]
        at += 1
        if not size or at + size > end:
            raise ProtocolError(400, "ALPN protocol of a wrong length")
        protocols.append(body[at : at + size])
        at += size
    return tuple(protocols)
