"""Members of the Cache-Status field: how the cache handled a request (RFC 9211)."""

from __future__ import annotations

import re
from enum import StrEnum

_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+")
_NOT_IN_STRING = re.compile(r"[^ -~]")
_LONGEST = 256


class Forwarded(StrEnum):
    """Why a request went to the upstream (RFC 9211 section 2.2)."""

    BYPASS = "bypass"
    """The cache was configured not to handle it."""
    METHOD = "method"
    URI_MISS = "uri-miss"
    VARY_MISS = "vary-miss"
    REQUEST = "request"
    """The client's directives asked for it."""
    STALE = "stale"
    PARTIAL = "partial"


def hit(name: str, ttl: int, *, key: str = "", detail: str = "") -> bytes:
    """Return the field line of an answer from the cache; `ttl`: seconds left, negative for a stale one."""
    return _line([_bare(name), "hit", f"ttl={_integer(ttl)}"], key, detail)


def hit_template(name: str) -> bytes:
    """Return the line of a plain hit, made once: `template % ttl` is what `hit` returns."""
    return hit(name, 0).replace(b"%", b"%%").replace(b"; ttl=0", b"; ttl=%d")


def forwarded(
    name: str,
    why: Forwarded,
    *,
    status: int = 0,
    stored: bool = False,
    collapsed: bool = False,
    ttl: int | None = None,
    key: str = "",
    detail: str = "",
) -> bytes:
    """Return the field line of an answer from the upstream.

    `status`: the upstream's, where the client gets another one; `stored`: its response was stored; `collapsed`: the
    request waited for that of another client; `detail`: for people, such as the reason for not storing.
    """
    members = [_bare(name), f"fwd={why}"]
    if status:
        members.append(f"fwd-status={status}")
    if stored:
        members.append("stored")
    if collapsed:
        members.append("collapsed")
    if ttl is not None:
        members.append(f"ttl={_integer(ttl)}")
    return _line(members, key, detail)


def _line(members: list[str], key: str, detail: str) -> bytes:
    if key:
        members.append(f"key={_string(key)}")
    if detail:
        members.append(f"detail={_bare(detail)}")
    return b"Cache-Status: %b\r\n" % "; ".join(members).encode("ascii")


def _bare(text: str) -> str:
    """Return a token where the text is one, else a string (RFC 9651 section 3.3)."""
    return text if _TOKEN.fullmatch(text) else _string(text)


def _string(text: str) -> str:
    tidy = _NOT_IN_STRING.sub("?", text[:_LONGEST])
    return '"' + tidy.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _integer(number: int) -> int:
    """Keep within what an integer of a structured field may be (RFC 9651 section 3.3.1)."""
    return max(-(10**15) + 1, min(number, 10**15 - 1))
