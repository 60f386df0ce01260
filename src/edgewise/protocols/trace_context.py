"""W3C Trace Context (https://www.w3.org/TR/trace-context/), parsed strictly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgewise.http.head import Field

TRACESTATE_LIMIT = 512
"""Characters of tracestate that are propagated (section 3.3.1.5 asks for at least this many)."""
_MEMBERS = 32
_LONG_MEMBER = 128

_MEMBER = re.compile(
    rb"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


def parse_traceparent(value: bytes) -> tuple[str, str] | None:
    """Return (trace id, flags) as hexadecimal digits, or None where the value must be ignored (section 3.2).

    Of a version later than 00 only the flags that version 00 knows (sampled) are kept (section 4.3).
    """
    known = value[:55]
    if len(known) < 55 or known.translate(None, b"0123456789abcdef") != b"---":
        return None
    if not known[2] == known[35] == known[52] == 0x2D:
        return None
    version, trace_id, flags = known[:2], known[3:35], known[53:]
    if version == b"ff" or trace_id == b"0" * 32 or known[36:52] == b"0" * 16:
        return None
    if version != b"00":
        flags = b"%02x" % (int(flags, 16) & 1)
    if len(value) > 55 and (version == b"00" or value[55] != 0x2D):
        return None
    return trace_id.decode(), flags.decode()


def parse_tracestate(values: Iterable[bytes]) -> bytes:
    """Return the list of several fields as one value fit to be forwarded, b"" where it must be dropped (section 3.3).

    Beyond 512 characters members longer than 128 go first, then those at the end (section 3.3.1.5).
    """
    members = [member for value in values for part in value.split(b",") if (member := part.strip(b" \t"))]
    if len(members) > _MEMBERS or not all(_MEMBER.fullmatch(member) for member in members):
        return b""
    keys = [member.partition(b"=")[0] for member in members]
    if len(set(keys)) < len(keys):
        return b""
    if _joined_length(members) > TRACESTATE_LIMIT:
        members = [member for member in members if len(member) <= _LONG_MEMBER]
    while _joined_length(members) > TRACESTATE_LIMIT:
        members.pop()
    return b",".join(members)


def _joined_length(members: list[bytes]) -> int:
    return sum(map(len, members)) + len(members) - 1


def trace_context(fields: Iterable[Field]) -> tuple[tuple[str, str] | None, bytes]:
    """Return ((trace id, flags) or None, tracestate) of a request head.

    Two traceparent fields are as bad as a malformed one, and then tracestate goes too (section 3.3).
    """
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value, _ in fields:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    if len(parents) != 1:
        return None, b""
    parsed = parse_traceparent(parents[0])
    if parsed is None:
        return None, b""
    return parsed, parse_tracestate(states) if states else b""
