"""What upstreams are told of who asks: fields, or a short-lived JWT; written once for a sender who comes again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote

import msgspec

from edgewise.gateway.claims import ABSENT, claim

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.identity import Identity
    from edgewise.gateway.identity_keys import SigningKey

_FOREVER = float("inf")
_MOST_TELLERS = 16
"""That an identity keeps the lines of."""
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "%")
"""Characters of a value that are written as they are."""
_PLAIN_ITEM = _PLAIN.replace(",", "")
"""The same of one in a list."""
_MOST_VALUE = 1024
"""Characters of a claim that is told in a field; a longer one is left out."""
_MOST_ITEMS = 64
"""Of a claim that is a list."""


class Writer(Protocol):
    """Puts in lines who asks."""

    def write(self, identity: Identity, audience: str, now: float) -> tuple[bytes, float]:
        """Return the field lines, each with its CRLF, and until when (Unix seconds) they may be sent."""


class FieldNames(NamedTuple):
    """Names of the fields that say who asks."""

    user: str
    consumer: str
    groups: str
    scopes: str
    method: str


class IdentityFields:
    """A field for each thing that is known of who asks; there is none for what is not known.

    What is not visible ASCII is percent-encoded as UTF-8, and so are "%", and "," in a group: no name, wherever it
    comes from, can pass for two groups or for another field.
    """

    def __init__(self, names: FieldNames, claims: Mapping[str, str]) -> None:
        """`claims`: further fields, each with the path of its claim."""
        self._names = names
        self._claims = tuple(claims.items())

    def write(self, identity: Identity, audience: str, now: float) -> tuple[bytes, float]:
        """Return the lines, which are good for as long as the identity is."""
        names = self._names
        pairs = [
            (names.user, quote(identity.name, safe=_PLAIN)),
            (names.consumer, quote(identity.consumer or "", safe=_PLAIN)),
            (names.groups, ",".join(_listed(identity.groups))),
            (names.scopes, " ".join(_listed(identity.scopes))),
            (names.method, quote(identity.method, safe=_PLAIN)),
            *((name, _value(claim(identity.claims, path))) for name, path in self._claims),
        ]
        return b"".join(f"{name}: {value}\r\n".encode("ascii") for name, value in pairs if value), _FOREVER


class IdentityToken:
    """A JWT (RFC 7519) of who asks, signed by the first of the keys."""

    def __init__(
        self, field: str, key: SigningKey, *, issuer: str, lifetime: float = 60.0, claims: Iterable[str] = ()
    ) -> None:
        """`claims`: paths of those that are passed on; `lifetime` in seconds."""
        scheme = "Bearer " if field.lower() == "authorization" else ""  # RFC 6750 section 2.1
        self._start = f"{field}: {scheme}".encode()
        self._key = key
        self._issuer = issuer
        self._lifetime = lifetime
        self._claims = tuple(claims)

    def write(self, identity: Identity, audience: str, now: float) -> tuple[bytes, float]:
        """Return the line with a token signed now; it is never good for longer than the credential is."""
        expires = min(now + self._lifetime, identity.expires)
        said: dict[str, Any] = {
            "iss": self._issuer,
            "aud": audience,
            "sub": identity.name,
            "iat": int(now),
            "exp": int(expires),
            "jti": os.urandom(12).hex(),
            "auth_method": identity.method,
            "groups": sorted(identity.groups),
            "scope": " ".join(sorted(identity.scopes)),
        }
        if identity.consumer is not None:
            said["consumer"] = identity.consumer
        for path in self._claims:
            value = claim(identity.claims, path)
            if value is not ABSENT:
                said.setdefault(path, value)
        token = self._key.sign(msgspec.json.encode(said))
        return b"%b%b\r\n" % (self._start, token), now + (expires - now) * 0.75


class Telling:
    """Tells the upstreams of a route who asks. As a policy it goes right behind `auth`."""

    def __init__(
        self, writer: Writer, names: frozenset[bytes], audience: str, clock: Callable[[], float] = time.time
    ) -> None:
        """`names`: lower-case names of its fields; `audience`: whom a JWT is for; `clock` returns Unix seconds."""
        self._writer = writer
        self._names = names
        self._audience = audience
        self._clock = clock

    def tell(self, exchange: Exchange) -> None:
        """Add the lines of who was verified to what a server gets."""
        identity = exchange.identity
        if identity is not None:
            exchange.forward_lines += self._lines(identity)

    def tell_other(self, exchange: Exchange, identity: Identity | None) -> None:
        """A filter says that it is another who asks: that one is told in place of the one before."""
        lines = exchange.forward_lines.splitlines(keepends=True)
        kept = [line for line in lines if line.partition(b":")[0].lower() not in self._names]
        exchange.forward_lines = b"".join(kept)
        exchange.identity = identity
        self.tell(exchange)

    def _lines(self, identity: Identity) -> bytes:
        now = self._clock()
        told = identity.lines.get(self)
        if told is None or told[1] <= now:
            if len(identity.lines) >= _MOST_TELLERS:
                identity.lines.clear()
            told = identity.lines[self] = self._writer.write(identity, self._audience, now)
        return told[0]


def _listed(names: Iterable[str]) -> list[str]:
    return sorted(quote(name, safe=_PLAIN_ITEM) for name in names if name)


def _value(value: Any) -> str:
    """Return a claim in one line, "" for what has no place in a field."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        items = [item for item in value[:_MOST_ITEMS] if isinstance(item, str)]
        return ",".join(_listed(item for item in items if len(item) <= _MOST_VALUE))
    if isinstance(value, str) and len(value) <= _MOST_VALUE:
        return quote(value, safe=_PLAIN)
    return ""
