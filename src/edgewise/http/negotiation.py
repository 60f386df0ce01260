"""Which content coding a client gets (RFC 9110 section 12.5.3)."""

from __future__ import annotations

import re
from functools import lru_cache

_MEMBER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")
_LONGEST = 512
_ALIASES = {b"x-gzip": b"gzip", b"x-compress": b"compress"}


@lru_cache(maxsize=512)
def codings(accepted: bytes, offered: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return those of the codings `offered` that Accept-Encoding `accepted` prefers to none, best first.

    Of equal weights the one offered first is best. Members that are malformed are passed over; a field of more than 512
    bytes accepts nothing.
    """
    weights: dict[bytes, float] = {}
    for member in accepted.split(b",") if len(accepted) <= _LONGEST else ():
        match = _MEMBER.fullmatch(member.strip(b" \t"))
        if match is not None:
            name = match[1].lower()
            weights.setdefault(_ALIASES.get(name, name), 1.0 if match[2] is None else float(match[2]))
    others = weights.get(b"*", 0.0)
    least = weights.get(b"identity", 0.0)
    found = [(-weights.get(coding, others), order, coding) for order, coding in enumerate(offered)]
    return tuple(coding for weight, _, coding in sorted(found) if weight < 0 and -weight >= least)
