"""Each endpoint in turn, as often as its weight says."""

from __future__ import annotations

from edgewise.balancer.options import DEFAULTS, PolicyOptions, untried
from edgewise.balancer.smooth import take_turns
from edgewise.contracts.endpoint import Endpoint
from edgewise.contracts.exchange import Exchange


class RoundRobin:
    """Smooth weighted round robin; a pick is one step of a precomputed cycle."""

    def __init__(self, options: PolicyOptions = DEFAULTS) -> None:
        self._options = options
        self._endpoints: tuple[Endpoint, ...] = ()
        self._weights: tuple[int, ...] = ()
        self._turn = take_turns((), ())

    def update(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Start a new cycle at a random place, so that workers do not march in step; unchanged input does nothing."""
        weights = self._options.weights(endpoints)
        if endpoints == self._endpoints and weights == self._weights:
            return
        self._endpoints, self._weights = endpoints, weights
        self._turn = take_turns(endpoints, weights, self._options.rand())

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """Return the endpoint whose turn it is."""
        if exchange.tried:
            return self._pick_again(exchange.tried)
        return self._turn()

    def _pick_again(self, tried: tuple[Endpoint, ...]) -> Endpoint | None:
        chosen = self._turn()
        if chosen not in tried:
            return chosen
        rest = untried(self._endpoints, tried)
        return rest[int(self._options.rand() * len(rest))] if rest else None
