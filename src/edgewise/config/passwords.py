"""Hashes of passwords: which schemes are known, by what their texts begin with, and the library that each needs."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import NamedTuple

_MOST_ROUNDS = 20_000
"""Of SHA-crypt, which is computed in Python here: more would hold up a worker's other requests."""


class Scheme(NamedTuple):
    """A way to hash passwords."""

    name: str
    pattern: re.Pattern[str]
    library: str = ""
    """Module that verifies it; "": hashlib does."""
    slow: bool = False
    """Made for passwords: whoever gets hold of the hashes cannot try many."""


_BASE64 = r"[A-Za-z0-9+/]"
_CRYPT64 = r"[./A-Za-z0-9]"
_ROUNDS = r"(?:rounds=([1-9][0-9]{3,8})\$)?"
_ARGON2 = r"\$argon2(?:id|i|d)\$v=[0-9]{1,3}\$m=[0-9]{1,6},t=[0-9]{1,3},p=[0-9]{1,3}"
SCHEMES = (
    Scheme("argon2", re.compile(rf"{_ARGON2}\${_BASE64}+\${_BASE64}+"), "argon2", slow=True),
    Scheme("bcrypt", re.compile(rf"\$2[aby]\$(?:0[4-9]|1[0-6])\${_CRYPT64}{{53}}"), "bcrypt", slow=True),
    Scheme("sha512-crypt", re.compile(rf"\$6\${_ROUNDS}{_CRYPT64}{{0,16}}\${_CRYPT64}{{86}}"), "passlib"),
    Scheme("sha256-crypt", re.compile(rf"\$5\${_ROUNDS}{_CRYPT64}{{0,16}}\${_CRYPT64}{{43}}"), "passlib"),
    Scheme("apr1", re.compile(rf"\$apr1\${_CRYPT64}{{0,8}}\${_CRYPT64}{{22}}"), "passlib"),
    Scheme("sha", re.compile(rf"\{{SHA\}}{_BASE64}{{27}}=")),
    Scheme("ssha", re.compile(rf"\{{SSHA\}}{_BASE64}{{28,128}}={{0,2}}")),
)


def scheme_of(text: str) -> Scheme | None:
    """Return the scheme of a hash; None for what is none, or takes longer than a request may."""
    for scheme in SCHEMES:
        match = scheme.pattern.fullmatch(text)
        if match is not None:
            rounds = match.group(1) if scheme.pattern.groups else None
            return scheme if rounds is None or int(rounds) <= _MOST_ROUNDS else None
    return None


def missing(scheme: Scheme) -> str:
    """Return what to install before hashes of a scheme can be verified; "" where nothing is missing."""
    if not scheme.library or find_spec(scheme.library) is not None:
        return ""
    return f"{scheme.name} needs the extra 'passwords': pip install 'edgewise[passwords]'"
