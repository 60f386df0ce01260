"""DNS messages: a query out, the answers to it in (RFC 1035; AAAA: RFC 3596, SRV: RFC 2782, EDNS: RFC 6891)."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import NamedTuple

from edgewise.protocols.errors import ProtocolError

A = 1
CNAME = 5
AAAA = 28
SRV = 33

NO_ERROR = 0
NO_SUCH_NAME = 3
"""Response codes (RFC 1035 section 4.1.1)."""

PAYLOAD = 1232
"""Bytes of UDP answer asked for: fits any path without fragments (DNS flag day 2020)."""
LONGEST_NAME = 255
"""Bytes of a name on the wire (RFC 1035 section 2.3.4)."""
MOST_RECORDS = 256
"""Records looked at in one answer."""
MOST_ALIASES = 16
"""CNAME records followed from the question's name."""

_HEADER = Struct(">HHHHHH")
_QUESTION = Struct(">HH")
_RECORD = Struct(">HHIH")
_SERVICE = Struct(">HHH")
_IN = 1
_OPT = 41
_RESPONSE, _TRUNCATED, _RECURSION_DESIRED = 0x8000, 0x0200, 0x0100
_OPCODE, _CODE = 0x7800, 0x000F
_LABEL = re.compile(rb"[!-\-/-~]{1,63}")


class Service(NamedTuple):
    """Data of an SRV record; targets of lower `priority` come first, `weight` shares load among equals."""

    priority: int
    weight: int
    port: int
    target: str


class Record(NamedTuple):
    """A record of the answer section; `ttl` is in seconds."""

    name: str
    type: int
    ttl: int
    data: IPv4Address | IPv6Address | Service | str
    """A, AAAA, SRV; str: the name a CNAME points to."""


class Answer(NamedTuple):
    """What a server said to a question."""

    code: int
    """NO_ERROR, NO_SUCH_NAME or another response code."""
    truncated: bool
    """Ask again over TCP."""
    records: tuple[Record, ...]
    """Records of the type asked for, reached from the question's name through its aliases."""
    ttl: int
    """Least TTL of the records and aliases used, in seconds; 0 without records."""


def encode_query(identity: int, name: str, kind: int) -> bytes:
    """Return a query for records of `kind` of `name`; `identity` is 16 bits and should be random (RFC 5452).

    Raises ValueError for a name that is not one.
    """
    header = _HEADER.pack(identity, _RECURSION_DESIRED, 1, 0, 0, 1)
    options = b"\0" + _RECORD.pack(_OPT, PAYLOAD, 0, 0)
    return header + _encode_name(name) + _QUESTION.pack(kind, _IN) + options


def answers(message: bytes, identity: int, name: str, kind: int) -> bool:
    """Does `message` claim to answer this very query? What does not is to be dropped, not read (RFC 5452 section 9)."""
    if len(message) < _HEADER.size:
        return False
    found, flags, questions, *_ = _HEADER.unpack_from(message)
    if found != identity or not flags & _RESPONSE or flags & _OPCODE or questions != 1:
        return False
    try:
        asked, at = _decode_name(message, _HEADER.size)
        return asked == _normal(name) and message[at : at + 4] == _QUESTION.pack(kind, _IN)
    except ProtocolError:
        return False


def parse_answer(message: bytes, name: str, kind: int) -> Answer:
    """Parse a message for which `answers` is True; raises ProtocolError for a malformed one."""
    _, flags, _, count, *_ = _HEADER.unpack_from(message)
    _, at = _decode_name(message, _HEADER.size)
    at += _QUESTION.size
    if flags & _TRUNCATED:
        return Answer(flags & _CODE, True, (), 0)
    if count > MOST_RECORDS:
        raise ProtocolError(502, "too many records in a DNS answer")
    records: list[Record] = []
    for _ in range(count):
        record, at = _decode_record(message, at)
        if record is not None:
            records.append(record)
    return _select(flags & _CODE, records, _normal(name), kind)


def _select(code: int, records: list[Record], name: str, kind: int) -> Answer:
    """Follow aliases from `name` and keep the records of `kind` at their end."""
    aliases = {record.name: record for record in records if record.type == CNAME}
    ttls: list[int] = []
    for _ in range(MOST_ALIASES):
        alias = aliases.get(name)
        if alias is None or kind == CNAME:
            break
        name = str(alias.data)
        ttls.append(alias.ttl)
    chosen = tuple(record for record in records if record.type == kind and record.name == name)
    ttls += (record.ttl for record in chosen)
    return Answer(code, False, chosen, min(ttls) if chosen else 0)


def _normal(name: str) -> str:
    return name.rstrip(".").lower()


def _encode_name(name: str) -> bytes:
    try:
        labels = _normal(name).encode("ascii").split(b".")
    except UnicodeEncodeError:
        raise ValueError(f"not a DNS name: {name!r}") from None
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"not a DNS name: {name!r}")
    encoded = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(encoded) > LONGEST_NAME:
        raise ValueError(f"DNS name too long: {name!r}")
    return encoded


def _decode_name(message: bytes, at: int) -> tuple[str, int]:
    """Return the name at `at` in lower case and where what follows it begins.

    A compression pointer must point before the part of the name it ends, so that no chain of them can loop
    (RFC 1035 section 4.1.4: "a prior occurrence").
    """
    labels: list[str] = []
    after: int | None = None
    begun = at
    size = 1
    while True:
        length = _byte(message, at)
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | _byte(message, at + 1)
            if target >= begun:
                raise ProtocolError(502, "DNS compression pointer does not point back")
            after = at + 2 if after is None else after
            begun = at = target
        elif length == 0:
            return ".".join(labels), at + 1 if after is None else after
        else:
            label = message[at + 1 : at + 1 + length]
            size += 1 + length
            # Bytes 64 to 191 are not lengths: the pattern refuses them with every label that is cut off.
            if len(label) != length or size > LONGEST_NAME or not _LABEL.fullmatch(label):
                raise ProtocolError(502, "malformed DNS name")
            labels.append(label.decode("ascii").lower())
            at += 1 + length


def _byte(message: bytes, at: int) -> int:
    if at >= len(message):
        raise ProtocolError(502, "DNS message ends within a name")
    return message[at]


def _decode_record(message: bytes, at: int) -> tuple[Record | None, int]:
    """Return the record at `at`, None for one of another type or class, and where the next begins."""
    name, at = _decode_name(message, at)
    if at + _RECORD.size > len(message):
        raise ProtocolError(502, "DNS message ends within a record")
    kind, space, ttl, length = _RECORD.unpack_from(message, at)
    at += _RECORD.size
    end = at + length
    if end > len(message):
        raise ProtocolError(502, "DNS message ends within a record")
    if space != _IN or kind not in (A, AAAA, CNAME, SRV):
        return None, end
    # A TTL with the sign bit set counts as 0 (RFC 2181 section 8).
    return Record(name, kind, ttl if ttl < 1 << 31 else 0, _decode_data(message, at, end, kind)), end


def _decode_data(message: bytes, at: int, end: int, kind: int) -> IPv4Address | IPv6Address | Service | str:
    if kind == A and end - at == 4:
        return IPv4Address(message[at:end])
    if kind == AAAA and end - at == 16:
        return IPv6Address(message[at:end])
    if kind == CNAME:
        name, stop = _decode_name(message, at)
        if stop == end:
            return name
    if kind == SRV and end - at > _SERVICE.size:
        target, stop = _decode_name(message, at + _SERVICE.size)
        if stop == end:
            priority, weight, port = _SERVICE.unpack_from(message, at)
            return Service(priority, weight, port, target)
    raise ProtocolError(502, "malformed DNS record data")
