"""Logins under way: sealed into a cookie of the browser that began them, so that a flood of them costs no memory.

Each has a cookie of its own, named by its `state`: several tabs can log in at once. Another browser has none of them,
so an answer of the provider that was meant for it, or was made up, leads nowhere (RFC 6749 section 10.12).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from edgewise.contracts.sealing import Sealer
from edgewise.protocols.jose import base64url

if TYPE_CHECKING:
    from edgewise.contracts.logins import Logins
    from edgewise.gateway.oidc.client import Client

AGE = 600.0
"""Seconds that a login may take."""
_MOST = 5
"""Logins under way of a browser; of more, the oldest is forgotten."""
_MOST_COOKIE = 4096


class Attempt(msgspec.Struct, array_like=True, frozen=True):
    """A login under way."""

    state: str
    nonce: str
    verifier: str
    """Of PKCE (RFC 7636 section 4.1)."""
    redirect_uri: str
    back: str
    """Path to come back to."""
    began: float
    """Unix time."""

    @property
    def challenge(self) -> str:
        """Return what the provider is told of the verifier (S256)."""
        return base64url(hashlib.sha256(self.verifier.encode()).digest()).decode()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Attempt).decode


class Attempts:
    """The logins under way of one client."""

    def __init__(self, client: Client, logins: Logins, clock: Callable[[], float] = time.time) -> None:
        self._logins = logins
        self._clock = clock
        self._place = f"{client.registration} {client.name}"
        self._prefix = f"{'__Host-' if logins.secure else ''}login-"
        self._attributes = f"; Path=/{'; Secure' if logins.secure else ''}; HttpOnly; SameSite=Lax"
        self._sealer: Sealer | None = None

    async def _opened(self) -> Sealer:
        if self._sealer is None:
            self._sealer = Sealer(await self._logins.secret(), "login")
        return self._sealer

    async def begin(self, redirect_uri: str, back: str, cookies: Iterable[str]) -> tuple[Attempt, list[str]]:
        """Return a new login, and the values for Set-Cookie that remember it and forget the oldest of too many.

        Raises StateError.
        """
        sealer = await self._opened()
        now = self._clock()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        attempt = Attempt(state, nonce, verifier, redirect_uri, back, now)
        name = self._name(state)
        sealed = base64url(sealer.seal(_encode(attempt), f"{self._place} {name}")).decode()
        held = self._held(cookies)
        ages = {other: self._began(sealer, other, value) for other, value in held.items()}
        oldest = sorted(ages, key=lambda other: ages[other])[: max(0, len(ages) + 1 - _MOST)]
        fields = [f"{name}={sealed}{self._attributes}; Max-Age={AGE:.0f}"]
        return attempt, fields + [self._forgotten(other) for other in oldest]

    async def find(self, state: str, cookies: Iterable[str]) -> Attempt | None:
        """Return the login that this browser began with `state`; None where it began none, or too long ago."""
        name = self._name(state)
        value = self._held(cookies).get(name)
        attempt = None if value is None else self._read(await self._opened(), name, value)
        if attempt is None or not hmac.compare_digest(attempt.state.encode(), state.encode()):
            return None
        return attempt if 0 <= self._clock() - attempt.began < AGE else None

    def ended(self, attempt: Attempt) -> str:
        """Return the value for Set-Cookie that forgets a login."""
        return self._forgotten(self._name(attempt.state))

    def _forgotten(self, name: str) -> str:
        return f"{name}={self._attributes}; Max-Age=0"

    def _name(self, state: str) -> str:
        return self._prefix + hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def _held(self, cookies: Iterable[str]) -> dict[str, str]:
        """Return the cookies of logins under way; one that comes twice is none."""
        found: dict[str, str] = {}
        for field in cookies:
            for pair in field.split(";"):
                name, _, value = pair.strip(" \t").partition("=")
                if name.startswith(self._prefix) and len(name) == len(self._prefix) + 16:
                    found[name] = "" if name in found else value
        return found

    def _began(self, sealer: Sealer, name: str, value: str) -> float:
        """Return when a login began; 0 for what is none."""
        attempt = self._read(sealer, name, value)
        return 0.0 if attempt is None else attempt.began

    def _read(self, sealer: Sealer, name: str, value: str) -> Attempt | None:
        if len(value) > _MOST_COOKIE or not value.isascii():
            return None
        try:
            plain = sealer.open(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)), f"{self._place} {name}")
            return None if plain is None else _decode(plain)
        except (binascii.Error, ValueError):
            return None
