"""The same endpoint for the same client address, while it is available."""

from __future__ import annotations

from edgewise.balancer.keys import client_key
from edgewise.balancer.options import DEFAULTS, PolicyOptions
from edgewise.balancer.ring import HashRing
from edgewise.contracts.endpoint import Endpoint
from edgewise.contracts.exchange import Exchange


class IpHash:
    """Strict affinity by client address, whatever the load; a lost endpoint's clients spread over the others."""

    def __init__(self, options: PolicyOptions = DEFAULTS) -> None:
        self._options = options
        self._ring = HashRing((), ())

    def update(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Rebuild the ring."""
        self._ring = HashRing(endpoints, self._options.weights(endpoints))

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """Return the client's endpoint."""
        key = client_key(exchange)
        owner = self._ring.owner(key)
        if owner not in exchange.tried:
            return owner
        return next((endpoint for endpoint in self._ring.walk(key) if endpoint not in exchange.tried), owner)
