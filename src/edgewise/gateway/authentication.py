"""Who asks, by several ways: one of them is enough, or every one is needed."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from edgewise.contracts.identity import Identity
from edgewise.contracts.plan import Answer
from edgewise.contracts.policies import Authenticator, Denial, Fields, Outcome, Verified

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

_NOBODY = "The request has no credentials."
_PART = "The request lacks one of the credentials that are needed."


class Authentication:
    """The policy `auth`. It waits only where a way has to."""

    def __init__(self, ways: tuple[Authenticator, ...], *, every: bool = False, optional: bool = False) -> None:
        """`every`: each way must tell who asks, not one of them; `optional`: who has no credential is let in."""
        self._ways = ways
        self._every = every
        self._optional = optional
        self._challenges = tuple((b"WWW-Authenticate", way.challenge) for way in ways if way.challenge)

    def check(self, exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """Set who asks, or refuse."""
        found: list[Identity] = []
        refused: Denial | None = None
        for index, way in enumerate(self._ways):
            verified = way.authenticate(exchange)
            if isinstance(verified, Identity) and not self._every:
                exchange.identity = verified
                return None
            if isinstance(verified, Awaitable):
                return self._wait(exchange, verified, index + 1, found, refused)
            if isinstance(verified, Answer):
                return verified
            refused = self._take(verified, found, refused)
        return self._conclude(exchange, found, refused)

    async def _wait(
        self,
        exchange: Exchange,
        first: Awaitable[Verified],
        index: int,
        found: list[Identity],
        refused: Denial | None,
    ) -> Outcome:
        """The same from a way on that has to wait."""
        verified = await first
        while True:
            if isinstance(verified, Answer):
                return verified
            refused = self._take(verified, found, refused)
            if index == len(self._ways) or (found and not self._every):
                return self._conclude(exchange, found, refused)
            result = self._ways[index].authenticate(exchange)
            verified = await result if isinstance(result, Awaitable) else result
            index += 1

    @staticmethod
    def _take(verified: Identity | Denial | None, found: list[Identity], refused: Denial | None) -> Denial | None:
        """Note what a way says; return the first refusal."""
        if isinstance(verified, Identity):
            found.append(verified)
        elif verified is not None and refused is None:
            return verified
        return refused

    def _conclude(self, exchange: Exchange, found: list[Identity], refused: Denial | None) -> Outcome:
        if len(found) == len(self._ways) or (found and not self._every):
            exchange.identity = found[0] if len(found) == 1 else _together(found)
            return None
        if refused is not None:
            challenges = self._other_challenges(refused) if refused.status == 401 else ()
            return refused._replace(fields=(*refused.fields, *challenges))
        if found:
            return Denial(401, "auth", _PART, self._challenges)
        return None if self._optional else self.nobody(exchange)

    def nobody(self, exchange: Exchange) -> Outcome:
        """Answer a request that must say who sends it, and does not."""
        for way in self._ways:
            answer = way.begin(exchange)
            if answer is not None:
                return answer
        return Denial(401, "auth", _NOBODY, self._challenges)

    def _other_challenges(self, refused: Denial) -> Fields:
        """Return the challenges of schemes that a refusal does not say more of itself."""
        said = {_scheme(value) for name, value in refused.fields if name == b"WWW-Authenticate"}
        return tuple(field for field in self._challenges if _scheme(field[1]) not in said)


def _scheme(challenge: bytes) -> bytes:
    return challenge.partition(b" ")[0].lower()


def _together(found: list[Identity]) -> Identity:
    """Return the first of them, with what all of them were granted."""
    first = found[0]
    return Identity(
        first.name,
        first.method,
        consumer=next((one.consumer for one in found if one.consumer is not None), None),
        groups=frozenset().union(*(one.groups for one in found)),
        scopes=frozenset().union(*(one.scopes for one in found)),
        claims={name: value for one in reversed(found) for name, value in one.claims.items()},
        expires=min(one.expires for one in found),
    )
