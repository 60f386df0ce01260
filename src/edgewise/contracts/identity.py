"""Who asks: what was verified of a request's sender, for the policies that follow, filters, logs and upstreams."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Identity:
    """A verified sender. Immutable, and kept for as long as the credential holds: requests that come again share it."""

    __slots__ = ("claims", "consumer", "expires", "groups", "lines", "method", "name", "scopes")

    def __init__(
        self,
        name: str,
        method: str,
        *,
        consumer: str | None = None,
        groups: frozenset[str] = frozenset(),
        scopes: frozenset[str] = frozenset(),
        claims: Mapping[str, Any] = _NOTHING,
        expires: float = float("inf"),
    ) -> None:
        self.name = name
        """Whom a consumer's name or a token's subject names."""
        self.method = method
        """The key of the route's `auth` by which it was verified, such as "jwt"."""
        self.consumer = consumer
        """Name of the consumer whose credential it was; None for whoever is none."""
        self.groups = groups
        self.scopes = scopes
        """What the credential was granted (RFC 6749 section 3.3)."""
        self.claims = claims
        """What its issuer says of the sender."""
        self.expires = expires
        """Unix seconds from which on the credential must be verified anew."""
        self.lines: dict[object, tuple[bytes, float]] = {}
        """By who tells it: field lines for upstreams, each with its CRLF, and the Unix seconds until they are good."""

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, {self.method!r})"
