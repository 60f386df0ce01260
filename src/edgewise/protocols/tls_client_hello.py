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
_WHOLE = (_HANDSHAKE, 3, _CLIENT_HELLO, 0)
"""Record type, major version, message type and top length byte of a hello in one record, as clients send it."""
_HEADER_BEGINNING = bytes((_HANDSHAKE, 3))

_two_shorts = Struct(">HH").unpack_from
_both_headers = Struct(">BBBHBBH").unpack_from
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
    size = len(data) - _RECORD_HEADER
    if _MESSAGE_HEADER < size <= MAX_BYTES - _RECORD_HEADER:
        kind, major, _, record, message_kind, high, low = _both_headers(data)
        if record == low + _MESSAGE_HEADER == size and (kind, major, message_kind, high) == _WHOLE:
            return _parse(data[_RECORD_HEADER:])
    message = _message(data)
    return None if message is None else _parse(message)


def _message(data: bytes) -> bytes | None:
    """Join the fragments of the first handshake message (RFC 8446 section 5.1)."""
    message, need, start = b"", _MESSAGE_HEADER, 0
    for _ in range(MAX_RECORDS):
        header = data[start : start + _RECORD_HEADER]
        if not _HEADER_BEGINNING.startswith(header[:2]):
            raise ProtocolError(400, "not a TLS handshake")
        if len(header) < _RECORD_HEADER:
            return None
        size = _short(header, 3)[0]
        start += _RECORD_HEADER
        fragment = data[start : start + size]
        start += size
        if not size or start > MAX_BYTES:
            raise ProtocolError(400, "ClientHello in a record of no or too great a length")
        message += fragment
        if need == _MESSAGE_HEADER <= len(message):
            need += _length(message)
        if len(message) > need:
            raise ProtocolError(400, "bytes after the ClientHello in its record")
        if len(message) == need > _MESSAGE_HEADER:
            return message
        if len(fragment) < size:
            return None
    raise ProtocolError(400, "ClientHello split over too many records")


def _length(message: bytes) -> int:
    """Read the length of a handshake message from its header."""
    if message[0] != _CLIENT_HELLO:
        raise ProtocolError(400, "not a ClientHello")
    size = int.from_bytes(message[1:_MESSAGE_HEADER], "big")
    if not 0 < size <= MAX_BYTES - _RECORD_HEADER - _MESSAGE_HEADER:
        raise ProtocolError(400, "ClientHello of no or too great a length")
    return size


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
    found: dict[int, int] = {}
    while at < end:
        kind, size = _two_shorts(message, at)
        if kind in found:
            raise ProtocolError(400, "ClientHello extension repeated")
        found[kind] = at
        at += 4 + size
    if at != end:
        raise ProtocolError(400, "ClientHello extension longer than the message")
    server_name, alpn = found.get(_SERVER_NAME), found.get(_ALPN)
    return ClientHello(
        None if server_name is None else _name(_body(message, server_name)),
        () if alpn is None else _protocols(_body(message, alpn)),
    )


def _body(message: bytes, at: int) -> bytes:
    return message[at + 4 : at + 4 + _short(message, at + 2)[0]]


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
