"""Reads one cookie out of a request's Cookie fields."""

from __future__ import annotations

import re
from collections.abc import Callable

from edgewise.http.head import RequestHead

VALUE = rb"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
"""cookie-octets (RFC 6265 section 4.1.1), as a pattern."""


def cookie_reader(name: str, value: bytes = VALUE) -> Callable[[RequestHead], bytes | None]:
    """Return a function from a request head to the first cookie `name` whose whole value matches `value` (a pattern).

    A name that is not a token raises ValueError (RFC 6265 section 4.1.1).
    """
    if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name):
        raise ValueError(f"not a cookie name: {name!r}")
    pattern = re.compile(rb"(?:\A|;)[ \t]*" + re.escape(name.encode()) + rb"=(" + value + rb")[ \t]*(?=;|\Z)")

    def read(head: RequestHead) -> bytes | None:
        for field in head.fields:
            if field.name == b"cookie":
                found = pattern.search(field.value)
                if found:
                    return found[1]
        return None

    return read
