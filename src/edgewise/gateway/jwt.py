"""Tokens that others issue (RFC 7519), verified: the signature by a key of the issuer, then what the claims say."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from time import time
from typing import Any, TypeAlias

from edgewise.contracts.identity import Identity
from edgewise.gateway.jwt_keys import Keys, KeysUnavailable
from edgewise.gateway.jwt_rules import Naming, Rules, check_claims, check_head, identity_of, texts
from edgewise.protocols.jwa import Check
from edgewise.protocols.jws import MOST_BYTES, Head, Jws, TokenError, json_claims, read_jws

Outcome: TypeAlias = Identity | TokenError | KeysUnavailable
_END = 43
"""Characters at the end of a token: of the signature, 256 bits or more."""
_MOST_REMEMBERED_BYTES = 8 << 20
"""Of tokens in one generation."""


async def signed_claims(token: bytes, keys: Keys, most: int = MOST_BYTES) -> tuple[Head, dict[str, Any]]:
    """Return header and claims of a token that one of the keys signed; what they say is not looked at.

    Raises TokenError, or KeysUnavailable where that cannot be told at the moment.
    """
    jws = read_jws(token, most)
    checks = keys.known(jws.head) or await keys.find(jws.head)
    return jws.head, _verified(jws, checks)


def _verified(jws: Jws, checks: tuple[Check, ...]) -> dict[str, Any]:
    """Return the claims of a token. Raises TokenError.

    Verifying takes tens of microseconds for all but the largest keys, less than giving it to a thread would.
    """
    for check in checks:
        if check(jws.signature, jws.signed):
            return json_claims(jws)
    raise TokenError("No key of the issuer verifies the token.")


@dataclass(frozen=True)
class Issuer:
    """Whose tokens are accepted, and for what."""

    keys: Keys
    rules: Rules
    naming: Naming


class _Seen:
    """A token that was verified, and what must still hold for it to be so."""

    __slots__ = ("expires", "identity", "keys", "token", "version")

    def __init__(self, token: bytes, identity: Identity, keys: Keys) -> None:
        self.token = token
        self.identity = identity
        self.expires = identity.expires
        self.keys = keys
        self.version = keys.version


class TokenVerifier:
    """Verifies tokens of some issuers, and remembers those it verified for as long as they hold.

    Two generations of at most `remembered` tokens each: when the young one is full it becomes the old one. They are
    found by their ends, which is quicker than by the whole, and compared as a whole.
    """

    def __init__(self, issuers: Sequence[Issuer], *, remembered: int = 4096) -> None:
        self._issuers = tuple(issuers)
        self._longest = max(issuer.rules.longest for issuer in issuers)
        self._remembered = remembered
        self._young: dict[bytes, _Seen] = {}
        self._old: dict[bytes, _Seen] = {}
        self._bytes = 0

    def verify(self, token: bytes) -> Outcome | Awaitable[Outcome]:
        """Return who sent a token, or why it is refused; awaitable where keys must be asked for first."""
        seen = self._young.get(token[-_END:])
        if seen is not None and seen.token == token and seen.version == seen.keys.version and time() < seen.expires:
            return seen.identity
        return self._verify(token)

    def _verify(self, token: bytes) -> Outcome | Awaitable[Outcome]:
        seen = self._old.pop(token[-_END:], None)
        if seen is not None and seen.token == token and seen.version == seen.keys.version and time() < seen.expires:
            return self._keep(seen)
        try:
            jws = read_jws(token, self._longest)
            issuers = self._candidates(jws)
        except TokenError as error:
            return error
        for issuer in issuers:
            if not issuer.keys.known(jws.head) and not issuer.keys.settled():
                return self._ask(token, jws, issuers)
        return self._conclude(token, jws, issuers)

    def _candidates(self, jws: Jws) -> Sequence[Issuer]:
        """Return the issuers that a token may be of. Raises TokenError."""
        issuers = self._issuers
        if len(issuers) == 1:
            check_head(jws.head, issuers[0].rules)
            return issuers
        named = texts(json_claims(jws).get("iss"))
        fitting = []
        refused = TokenError("The token is of another issuer.")
        for issuer in issuers:
            if not issuer.rules.issuers.isdisjoint(named):
                try:
                    check_head(jws.head, issuer.rules)
                    fitting.append(issuer)
                except TokenError as error:
                    refused = error
        if not fitting:
            raise refused
        return fitting

    async def _ask(self, token: bytes, jws: Jws, issuers: Sequence[Issuer]) -> Outcome:
        """The same once the issuers' keys were looked at."""
        unavailable: KeysUnavailable | None = None
        for issuer in issuers:
            try:
                await issuer.keys.find(jws.head)
            except KeysUnavailable as error:
                unavailable = error
        outcome = self._conclude(token, jws, issuers)
        return unavailable if unavailable is not None and isinstance(outcome, TokenError) else outcome

    def _conclude(self, token: bytes, jws: Jws, issuers: Sequence[Issuer]) -> Outcome:
        """Verify by the keys that are known."""
        refused: TokenError | None = None
        for issuer in issuers:
            try:
                if len(token) > issuer.rules.longest:
                    raise TokenError("The token is too long.")
                claims = _verified(jws, issuer.keys.known(jws.head))
                expires = check_claims(claims, issuer.rules, time())
                identity = identity_of(claims, issuer.naming, expires)
            except TokenError as error:
                refused = refused or error
            else:
                return self._keep(_Seen(token, identity, issuer.keys))
        assert refused is not None
        return refused

    def _keep(self, seen: _Seen) -> Identity:
        if len(self._young) >= self._remembered or self._bytes > _MOST_REMEMBERED_BYTES:
            self._old = self._young
            self._young = {}
            self._bytes = 0
        if self._remembered:
            self._young[seen.token[-_END:]] = seen
            self._bytes += len(seen.token)
        return seen.identity
