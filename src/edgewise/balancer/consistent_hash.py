"""The same endpoint for the same key, unless it has more than its share (Mirrokni, Thorup, Zadimoghaddam, 2016)."""

from __future__ import annotations

from math import ceil
from operator import attrgetter

from edgewise.balancer.keys import key_reader
from edgewise.balancer.options import DEFAULTS, PolicyOptions
from edgewise.balancer.ring import HashRing
from edgewise.contracts.endpoint import Endpoint, Move
from edgewise.contracts.exchange import Exchange

_active = attrgetter("active")


class ConsistentHash:
    """Consistent hashing with bounded load: no endpoint is given more than ceil(load_factor x its fair share).

    A key whose endpoint is full falls to the next one on the ring, so a popular key cannot overload one endpoint.
    """

    def __init__(self, options: PolicyOptions = DEFAULTS) -> None:
        if options.load_factor and options.load_factor < 1:
            raise ValueError(f"load_factor must be 0 or at least 1, not {options.load_factor}")
        self._options = options
        self._key = key_reader(options.hash_key)
        self._endpoints: tuple[Endpoint, ...] = ()
        self._shares: dict[Endpoint, float] = {}
        self._ring = HashRing((), ())

    def update(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Rebuild the ring and the shares."""
        weights = self._options.weights(endpoints)
        factor = self._options.load_factor
        total = sum(weights)
        self._endpoints = endpoints
        self._shares = {endpoint: factor * weight / total for endpoint, weight in zip(endpoints, weights, strict=True)}
        self._ring = HashRing(endpoints, weights)

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """Return the first endpoint on the key's way round the ring that has room."""
        key = self._key(exchange)
        owner = self._ring.owner(key)
        if owner is None or (owner not in exchange.tried and self._has_room(owner)):
            return owner
        chosen = self._next_with_room(key, owner, exchange.tried)
        if chosen is not owner and len(exchange.tried) < 2 and exchange.primary is None:
            chosen.moved[Move.FAILED if exchange.tried else Move.FULL] += 1
        return chosen

    def _has_room(self, endpoint: Endpoint) -> bool:
        if not endpoint.active or not self._options.load_factor:
            return True
        load: int = sum(map(_active, self._endpoints)) + 1
        limit = ceil(self._shares[endpoint] * load)
        return endpoint.active < limit

    def _next_with_room(self, key: bytes, owner: Endpoint, tried: tuple[Endpoint, ...]) -> Endpoint:
        """Walk on from the owner: for a retry first past what was tried, then past what is full."""
        fresh: Endpoint | None = None
        for endpoint in self._ring.walk(key):
            if endpoint in tried:
                continue
            if self._has_room(endpoint):
                return endpoint
            fresh = fresh or endpoint
        # Only a retry gets here: what it has not tried is full, or it has tried all.
        return fresh or owner
