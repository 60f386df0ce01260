"""What the claims of a token must say (RFC 7519 section 4.1, RFC 8725 section 3), and whom they then name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgewise.contracts.identity import Identity
from edgewise.gateway.claims import ABSENT, claim
from edgewise.protocols.jwa import ASYMMETRIC
from edgewise.protocols.jws import MOST_BYTES, Head, TokenError

TYPES = frozenset(("", "jwt", "at+jwt"))
"""Of tokens that say who asks: those for other purposes have their own (RFC 8725 section 3.11, RFC 9068)."""
_LAST_TIME = float(2**53)
"""Seconds beyond which a number is no time that anybody meant."""
_NUMBERS = (int, float)
"""Of a NumericDate (RFC 7519 section 2); a boolean is none."""
_MOST_NAME = 256
"""Characters of whom a token names."""

Value = str | int | float | bool


@dataclass(frozen=True)
class Rules:
    """What a token must say to be good."""

    issuers: frozenset[str]
    """Of `iss`."""
    audiences: frozenset[str]
    """One of them must be in `aud`; none: it may be for anybody."""
    algorithms: frozenset[str] = ASYMMETRIC
    types: frozenset[str] = TYPES
    """Of `typ`, in lower case; "" for a token without."""
    leeway: float = 30.0
    """Seconds by which clocks may differ."""
    required: tuple[str, ...] = ()
    """Paths of claims that must be there."""
    values: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    """(path of a claim, what it must be one of, or have one of among its members)."""
    longest: int = MOST_BYTES
    """Bytes of a token."""


@dataclass(frozen=True)
class Naming:
    """The paths of claims that say who asks."""

    user: str = "sub"
    consumer: str | None = None
    groups: tuple[str, ...] = ("groups",)
    scopes: tuple[str, ...] = ("scope", "scp")


def check_head(head: Head, rules: Rules) -> None:
    """Check what a token says before it is verified. Raises TokenError."""
    if head.algorithm not in rules.algorithms:
        raise TokenError("The token is signed by an algorithm that is not accepted.")
    if head.typ not in rules.types:
        raise TokenError("The token is of a type that is for something else.")


def check_claims(claims: Mapping[str, Any], rules: Rules, now: float) -> float:
    """Check the claims of a verified token; return the Unix time at which it ends. Raises TokenError.

    `exp` is needed: a token without end could never be forgotten once it is stolen.
    """
    ends: Any = claims.get("exp")
    if type(ends) not in _NUMBERS or not 0 <= ends <= _LAST_TIME:
        raise TokenError("The token has no end (exp) that is a number of seconds.")
    leeway = rules.leeway
    if now >= ends + leeway:
        raise TokenError("The token has expired.")
    for begins in (claims.get("nbf", 0), claims.get("iat", 0)):
        if type(begins) not in _NUMBERS or not 0 <= begins <= _LAST_TIME:
            raise TokenError("A time of the token (nbf, iat) is no number of seconds.")
        if now < begins - leeway:
            raise TokenError("The token is not valid yet.")
    issuer = claims.get("iss")
    if type(issuer) is not str or issuer not in rules.issuers:
        raise TokenError("The token is of another issuer.")
    if rules.audiences and rules.audiences.isdisjoint(texts(claims.get("aud"))):
        raise TokenError("The token is for another audience.")
    for path in rules.required:
        if claim(claims, path) in (ABSENT, None):
            raise TokenError("The token lacks a claim that is needed.")
    for path, wanted in rules.values:
        if not _is_one_of(claim(claims, path), wanted):
            raise TokenError("A claim of the token is not what it must be.")
    return float(ends + leeway)


def identity_of(claims: Mapping[str, Any], naming: Naming, expires: float) -> Identity:
    """Return who asks. Raises TokenError where that is not told."""
    name = claim(claims, naming.user)
    if not _is_name(name):
        raise TokenError("The token does not say whose it is.")
    consumer = None
    if naming.consumer is not None:
        consumer = claim(claims, naming.consumer)
        if not _is_name(consumer):
            raise TokenError("The token does not say which consumer's it is.")
    groups = _all_texts(claims, naming.groups)
    scopes = [word for text in _all_texts(claims, naming.scopes) for word in text.split()]
    return Identity(
        name,
        "jwt",
        consumer=consumer,
        groups=frozenset(groups),
        scopes=frozenset(scopes),
        claims=claims,
        expires=expires,
    )


def _all_texts(claims: Mapping[str, Any], paths: tuple[str, ...]) -> list[str]:
    """Return what several claims hold together."""
    found: list[str] = []
    for path in paths:
        value = claim(claims, path)
        if value is not ABSENT:
            found += texts(value)
    return found


def texts(value: object) -> list[str]:
    """Return a text, or the texts of a list, as a list."""
    if type(value) is list:
        return [one for one in value if type(one) is str]
    return [value] if type(value) is str else []


def _is_name(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= _MOST_NAME and value.isprintable()


def _is_one_of(value: object, wanted: tuple[Value, ...]) -> bool:
    """Compare with regard to types: 1 is not true, nor "1"."""
    members = value if isinstance(value, list) else [value]
    return any(type(one) is type(other) and one == other for one in members for other in wanted)
