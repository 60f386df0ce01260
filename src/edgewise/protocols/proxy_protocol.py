"""The PROXY protocol, versions 1 and 2: who a connection really comes from (HAProxy's proxy-protocol.txt, 2020)."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from edgewise.protocols.errors import ProtocolError

SocketAddress = tuple[str, int] | str
"""`(ip, port)`, or the path of a Unix socket."""

MAX_V1 = 107
"""Bytes of a version 1 line with its CRLF at most (section 2.1)."""
MAX_V2 = 536
"""Bytes of a version 2 header that are accepted; fits any address with room for TLVs (section 2.2)."""

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED = 16
_UNIX_PATH = 108
_STREAM = {0x11: 12, 0x21: 36, 0x31: 2 * _UNIX_PATH}
"""Family and transport byte -> bytes of the address block."""

_line = re.compile(rb"PROXY (TCP[46]) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) ([0-9]{1,5}) ([0-9]{1,5})").fullmatch
_unknown = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?").fullmatch


class ProxyHeader(NamedTuple):
    """What the header says; without addresses the connection's own count."""

    version: int
    local: bool
    """The proxy speaks for itself, for example a health check (version 2 only)."""
    source: SocketAddress | None
    destination: SocketAddress | None


def decode(data: bytes) -> tuple[ProxyHeader, int] | None:
    """Return the header that `data` begins with and its length in bytes, or None while more bytes are needed.

    Raises ProtocolError where the bytes are no such header.
    """
    if data.startswith(_V2):
        return _decode_v2(data)
    if data.startswith(_V1):
        return _decode_v1(data)
    if _V2.startswith(data) or _V1.startswith(data):
        return None
    raise ProtocolError(400, "no PROXY protocol header")


def encode(version: int, source: SocketAddress | None, destination: SocketAddress | None) -> bytes:
    """Return a header for a new connection; without a source it says that the proxy speaks for itself.

    Raises ValueError for another version than 1 or 2, or an address that is neither an IP address nor a path.
    """
    if version == 1:
        return _encode_v1(source, destination)
    if version == 2:
        return _encode_v2(source, destination)
    raise ValueError(f"no version of the PROXY protocol: {version}")


def _decode_v1(data: bytes) -> tuple[ProxyHeader, int] | None:
    end = data.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        if len(data) >= MAX_V1 or b"\n" in data or b"\r" in data[:-1]:
            raise ProtocolError(400, "PROXY protocol line without its end")
        return None
    line = data[:end]
    found = _line(line)
    if found is None:
        if _unknown(line) is None:
            raise ProtocolError(400, "malformed PROXY protocol line")
        return ProxyHeader(1, False, None, None), end + 2
    family, source, destination, source_port, destination_port = (part.decode("ascii") for part in found.groups())
    kind = IPv4Address if family == "TCP4" else IPv6Address
    client, server = (_ip(kind, source), _port(source_port)), (_ip(kind, destination), _port(destination_port))
    return ProxyHeader(1, False, client, server), end + 2


def _ip(kind: type[IPv4Address] | type[IPv6Address], text: str | bytes) -> str:
    try:
        return _unmapped(kind(text))
    except ValueError as error:
        raise ProtocolError(400, "PROXY protocol with a malformed address") from error


def _unmapped(address: IPv4Address | IPv6Address) -> str:
    """Spell an IPv4 client of a dual-stack socket as IPv4, so that it meets rules written for IPv4."""
    return str((isinstance(address, IPv6Address) and address.ipv4_mapped) or address)


def _port(digits: str) -> int:
    port = int(digits)
    if port > 65535 or (digits[0] == "0" and len(digits) > 1):
        raise ProtocolError(400, "PROXY protocol with a malformed port")
    return port


def _decode_v2(data: bytes) -> tuple[ProxyHeader, int] | None:
    if len(data) < _V2_FIXED:
        return None
    command, family = data[12], data[13]
    size = _V2_FIXED + int.from_bytes(data[14:16], "big")
    if command not in (0x20, 0x21) or size > MAX_V2:
        raise ProtocolError(400, "PROXY protocol header of another version, command or length")
    if len(data) < size:
        return None
    if command == 0x20:
        return ProxyHeader(2, True, None, None), size
    if family == 0:
        return ProxyHeader(2, False, None, None), size
    if family not in _STREAM or size - _V2_FIXED < _STREAM[family]:
        raise ProtocolError(400, "PROXY protocol header of another family or too short for its addresses")
    source, destination = _addresses(family, data[_V2_FIXED : _V2_FIXED + _STREAM[family]])
    return ProxyHeader(2, False, source, destination), size


def _addresses(family: int, block: bytes) -> tuple[SocketAddress, SocketAddress]:
    if family == 0x31:
        return _path(block[:_UNIX_PATH]), _path(block[_UNIX_PATH:])
    kind, size = (IPv4Address, 4) if family == 0x11 else (IPv6Address, 16)
    ports = block[2 * size :]
    return (
        (_ip(kind, block[:size]), int.from_bytes(ports[:2], "big")),
        (_ip(kind, block[size : 2 * size]), int.from_bytes(ports[2:], "big")),
    )


def _path(padded: bytes) -> str:
    """Read a path up to its first NUL; the NUL that begins an abstract name is part of it (unix(7))."""
    path = padded[:1] + padded[1:].partition(b"\0")[0]
    return path.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _pair(
    source: tuple[str, int], destination: tuple[str, int]
) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]:
    """Bring both addresses to one family: the header has room for one (section 2.1)."""
    first, second = ip_address(source[0].partition("%")[0]), ip_address(destination[0].partition("%")[0])
    if first.version == second.version:
        return first, second
    return tuple(IPv6Address(f"::ffff:{ip}") if ip.version == 4 else ip for ip in (first, second))  # type: ignore[return-value]


def _encode_v1(source: SocketAddress | None, destination: SocketAddress | None) -> bytes:
    if not isinstance(source, tuple) or not isinstance(destination, tuple):
        return b"PROXY UNKNOWN\r\n"
    first, second = _pair(source, destination)
    return f"PROXY TCP{first.version} {first} {second} {source[1]} {destination[1]}\r\n".encode("ascii")


def _encode_v2(source: SocketAddress | None, destination: SocketAddress | None) -> bytes:
    if source is None:
        return _V2 + b"\x20\x00\x00\x00"
    if isinstance(source, tuple) and isinstance(destination, tuple):
        first, second = _pair(source, destination)
        family = 0x11 if first.version == 4 else 0x21
        ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
        block = first.packed + second.packed + ports
    elif isinstance(source, str) and isinstance(destination, str):
        family, block = 0x31, _padded(source) + _padded(destination)
    else:
        family, block = 0, b""
    return _V2 + bytes((0x21, family)) + len(block).to_bytes(2, "big") + block


def _padded(path: str) -> bytes:
    name = path.encode("utf-8", "surrogateescape")
    if len(name) > _UNIX_PATH:
        raise ValueError(f"path of a Unix socket longer than {_UNIX_PATH} bytes: {path}")
    return name.ljust(_UNIX_PATH, b"\0")
