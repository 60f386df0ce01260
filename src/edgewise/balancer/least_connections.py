"""The endpoint with the fewest exchanges under way for its weight."""

from __future__ import annotations

from collections.abc import Sequence

from edgewise.balancer.options import DEFAULTS, PolicyOptions, untried
from edgewise.balancer.smooth import take_turns
from edgewise.contracts.endpoint import Endpoint
from edgewise.contracts.exchange import Exchange

WINDOW = 64
"""Endpoints looked at for one pick; a larger upstream is seen through a window that moves on with each pick."""


class LeastConnections:
    """Least active/weight. Equals are served in weighted turns, so that a quiet upstream is balanced too."""

    def __init__(self, options: PolicyOptions = DEFAULTS) -> None:
        self._options = options
        self._endpoints: tuple[Endpoint, ...] = ()
        self._weights: tuple[int, ...] = ()
        self._weight_of: dict[Endpoint, int] = {}
        self._turn = take_turns((), ())
        self._start = 0
        self._twice: tuple[Endpoint, ...] = ()

    def update(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Take endpoints and their present weights; unchanged input keeps everybody's turn."""
        weights = self._options.weights(endpoints)
        if endpoints == self._endpoints and weights == self._weights:
            return
        self._endpoints, self._weights = endpoints, weights
        self._weight_of = dict(zip(endpoints, weights, strict=True))
        self._turn = take_turns(endpoints, weights, self._options.rand())
        self._start = 0
        self._twice = endpoints + endpoints

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """Return the least loaded endpoint."""
        chosen = self._turn()
        if chosen is None:
            return None
        if exchange.tried:
            rest = untried(self._endpoints, exchange.tried)
            return self._least(rest, chosen if chosen in rest else rest[0])
        if not chosen.active:
            return chosen
        return self._least(self._window(), chosen)

    def _window(self) -> tuple[Endpoint, ...]:
        """Return up to WINDOW endpoints, beginning one further than last time so that no position is favoured."""
        count = len(self._endpoints)
        start = self._start = (self._start + 1) % count
        return self._twice[start : start + min(count, WINDOW)]

    def _least(self, candidates: Sequence[Endpoint], best: Endpoint) -> Endpoint:
        weight_of = self._weight_of
        least = best.active / weight_of[best]
        for endpoint in candidates:
            load = endpoint.active / weight_of[endpoint]
            if load < least:
                best, least = endpoint, load
        return best
