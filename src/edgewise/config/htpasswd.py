"""Files of users and the hashes of their passwords, as Apache and nginx have them (`htpasswd`)."""

from __future__ import annotations

from typing import NamedTuple

from edgewise.config.passwords import missing, scheme_of

MOST_BYTES = 4 << 20
"""Of a file."""
MOST_NAME = 255
"""Bytes of a user's name."""


class Htpasswd(NamedTuple):
    """What a file says."""

    users: dict[str, str]
    """Name -> hash of the password; of several lines for a name the first counts."""
    problems: list[str]
    """Lines that cannot be used, and why; without hashes."""


def read_htpasswd(content: bytes) -> Htpasswd:
    """Return the users in the content of a file."""
    users: dict[str, str] = {}
    problems = []
    for number, line in enumerate(content.split(b"\n"), 1):
        text = line.decode("utf-8", "surrogateescape").removesuffix("\r").rstrip(" \t")
        if not text or text.startswith("#"):
            continue
        name, _, rest = text.partition(":")
        problem = _problem(name, hashed := rest.partition(":")[0])
        if problem:
            problems.append(f"line {number}: {problem}")
        else:
            users.setdefault(name, hashed)
    return Htpasswd(users, problems)


def _problem(name: str, hashed: str) -> str:
    """Return why a user cannot be let in; "" where nothing is wrong."""
    if not name or len(name.encode("utf-8", "surrogateescape")) > MOST_NAME:
        return "there is no name before the colon, or a very long one"
    scheme = scheme_of(hashed)
    if scheme is None:
        return "no hash that is known (argon2, bcrypt, apr1, SHA, SSHA, SHA-crypt of at most 20000 rounds)"
    return missing(scheme)
