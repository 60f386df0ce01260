"""Whose requests a limit counts together: what is read of a request, and the mark under which it is counted.

A key is a text or bytes, or a tuple of such for several joined. What a request does not have is replaced by its
client's address, so leaving a header out gains nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias

from edgewise.protocols.memo import Memo

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

Key: TypeAlias = "str | bytes | tuple[str | bytes, ...]"
Read: TypeAlias = "Callable[[Exchange], Any]"
"""Returns a Key."""

OF_IDENTITY = frozenset(("consumer", "credential", "group"))
"""What is known only once it is known who asks."""
_LONGEST = 256
"""Bytes of a value kept as it is; a longer one is kept as its digest."""


def key_reader(by: tuple[str, ...], ipv6_prefix: int = 64) -> Read:
    """Return what tells whose request it is; several: those together."""
    address = _address_reader(ipv6_prefix)
    reads = tuple(_reader(one, address) for one in by)
    if len(reads) == 1:
        return reads[0]
    return lambda exchange: tuple([read(exchange) for read in reads])


def mark_of(name: str, kind: str, key: Key) -> int:
    """Return the mark of a key of a limit, the same on every worker and node: 64 bits, never 0.

    A keyless digest: whoever wants another's mark has to try 2**63 keys.
    """
    digest = blake2b(digest_size=8)
    for part in (name, kind, *(key if isinstance(key, tuple) else (key,))):
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(b"%c%d:%b" % (b"t" if isinstance(part, str) else b"b", len(data), data))
    return int.from_bytes(digest.digest(), "big") or 1


def network(ip: str, prefix: int) -> str:
    """Return the network of an IPv6 address, by default its /64: a household has that many (RFC 6177)."""
    try:
        address = int(ipaddress.IPv6Address(ip))
    except ValueError:
        return ip
    return f"{ipaddress.IPv6Address(address >> (128 - prefix) << (128 - prefix))}/{prefix}"


def _address_reader(prefix: int) -> Read:
    networks = Memo(lambda ip: network(ip.decode("latin-1"), prefix), entries=4096, longest=64)

    def address(exchange: Exchange) -> str:
        ip: str = exchange.client.peer_ip
        return networks[ip.encode("latin-1")] if ":" in ip and ip != "unix:" else ip

    return address


def _reader(by: str, address: Read) -> Read:
    kind, _, name = by.partition(":")
    if kind == "client_ip":
        return address
    if kind == "all":
        return lambda exchange: "*"
    if kind == "route":
        return lambda exchange: exchange.route.name
    if kind in OF_IDENTITY:
        return _of_identity(kind, address)
    find = _FINDERS[kind]
    wanted = (name if kind == "query" else name.lower()).encode("latin-1")

    def read(exchange: Exchange) -> str | bytes:
        value = find(exchange, wanted)
        if not value:
            return str(address(exchange))
        return value if len(value) <= _LONGEST else blake2b(value, digest_size=32).digest()

    return read


def _of_identity(kind: str, address: Read) -> Read:
    def consumer(exchange: Exchange) -> str:
        identity = exchange.identity
        return str(address(exchange)) if identity is None else f"@{identity.consumer or identity.name}"

    def credential(exchange: Exchange) -> str:
        identity = exchange.identity
        return str(address(exchange)) if identity is None else f"@{identity.method} {identity.name}"

    def group(exchange: Exchange) -> str:
        identity = exchange.identity
        groups = identity.groups if identity is not None else ()
        return f"@{' '.join(sorted(groups))}" if groups else str(address(exchange))

    return {"consumer": consumer, "credential": credential, "group": group}[kind]


def _header(exchange: Exchange, name: bytes) -> bytes | None:
    return exchange.plan.request.get(name)


def _cookie(exchange: Exchange, name: bytes) -> bytes | None:
    for field in exchange.plan.request.fields:
        if field.name == b"cookie":
            for pair in field.value.split(b";"):
                found, equals, value = pair.strip(b" \t").partition(b"=")
                if equals and found.lower() == name:
                    return value
    return None


def _query(exchange: Exchange, name: bytes) -> bytes | None:
    for pair in (exchange.plan.request.query or b"").split(b"&"):
        found, equals, value = pair.partition(b"=")
        if equals and found == name:
            return value
    return None


def _host(exchange: Exchange, name: bytes) -> bytes | None:
    return exchange.plan.request.host


def _method(exchange: Exchange, name: bytes) -> bytes | None:
    return exchange.plan.request.method


_FINDERS: dict[str, Callable[[Exchange, bytes], bytes | None]] = {
    "header": _header, "cookie": _cookie, "query": _query, "host": _host, "method": _method,
}  # fmt: skip
