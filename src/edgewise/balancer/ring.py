"""A hash ring: each endpoint owns many points, a key belongs to the next point (Karger et al., 1997)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter

from edgewise.balancer.options import RAMP_STEPS
from edgewise.contracts.endpoint import Endpoint

POINTS = 160
"""Points of an endpoint of weight 1 (as in ketama)."""
MOST_POINTS = 65536
"""Points of a ring at most; beyond, every endpoint's share of points is halved until they fit."""


def hash_key(key: bytes) -> int:
    """Return a 64-bit hash that is the same in every process, machine and release."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")


class HashRing:
    """An immutable ring over endpoints. Points follow from an endpoint's own key and weight only, so that adding or
    removing one endpoint moves no key between two others."""

    __slots__ = ("_owners", "_points")

    def __init__(self, endpoints: Sequence[Endpoint], weights: Sequence[int]) -> None:
        counts = [weight * POINTS // RAMP_STEPS for weight in weights]
        while sum(counts) > MOST_POINTS and max(counts) > 1:
            counts = [max(1, count // 2) for count in counts]
        owned = [
            (point, endpoint.key, endpoint)
            for endpoint, count in zip(endpoints, counts, strict=True)
            for point in _points(endpoint.key, count)
        ]
        owned.sort(key=itemgetter(0, 1))
        self._points = [point for point, _, _ in owned]
        self._owners = [endpoint for _, _, endpoint in owned]

    def owner(self, key: bytes) -> Endpoint | None:
        """Return the endpoint the key belongs to, None on an empty ring."""
        owners = self._owners
        return owners[bisect_right(self._points, hash_key(key)) % len(owners)] if owners else None

    def walk(self, key: bytes) -> Iterator[Endpoint]:
        """Yield each endpoint once, in the order in which the key falls to them."""
        owners = self._owners
        start = bisect_right(self._points, hash_key(key))
        seen: set[Endpoint] = set()
        for place in range(start, start + len(owners)):
            endpoint = owners[place % len(owners)]
            if endpoint not in seen:
                seen.add(endpoint)
                yield endpoint


@lru_cache(maxsize=1024)
def _points(key: str, count: int) -> tuple[int, ...]:
    """Return the points of an endpoint; cached because every change of the upstream asks again."""
    points: list[int] = []
    for block in range(-(-count // 8)):
        digest = blake2b(f"{key}#{block}".encode()).digest()
        points += (int.from_bytes(digest[at : at + 8], "big") for at in range(0, 64, 8))
    return tuple(points[:count])
