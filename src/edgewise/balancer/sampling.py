"""Two endpoints drawn by weight, for the policies that compare two (power of two choices)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from edgewise.balancer.options import DEFAULTS, PolicyOptions, untried
from edgewise.contracts.endpoint import Endpoint
from edgewise.contracts.exchange import Exchange


class WeightedSample:
    """Draws endpoints with a probability that follows their weights, in O(log n); O(1) for equal weights."""

    __slots__ = ("_endpoints", "_equal", "_limits", "_rand")

    def __init__(self, endpoints: Sequence[Endpoint], weights: Sequence[int], rand: Callable[[], float]) -> None:
        self._endpoints = endpoints
        self._equal = len(set(weights)) <= 1
        self._limits = list(accumulate(weights))
        self._rand = rand

    def one(self) -> Endpoint:
        """Draw one endpoint; there must be one."""
        if self._equal:
            return self._endpoints[int(self._rand() * len(self._endpoints))]
        return self._endpoints[bisect_right(self._limits, self._rand() * self._limits[-1])]

    def two(self) -> tuple[Endpoint, Endpoint]:
        """Draw two different endpoints by weight (the same one twice only where there is no other)."""
        count = len(self._endpoints)
        if count == 1:
            return self._endpoints[0], self._endpoints[0]
        if self._equal:
            place = int(self._rand() * count)
            return self._endpoints[place], self._another(place)
        first = self.one()
        for _ in range(4):
            second = self.one()
            if second is not first:
                return first, second
        # One endpoint has nearly all the weight: take any other, so that the draw ends.
        return first, self._another(self._endpoints.index(first))

    def _another(self, place: int) -> Endpoint:
        """Draw one endpoint, whatever its weight, that is not at `place`."""
        other = int(self._rand() * (len(self._endpoints) - 1))
        return self._endpoints[other + (other >= place)]


class TwoChoices:
    """What policies that compare two endpoints have in common."""

    def __init__(self, options: PolicyOptions = DEFAULTS) -> None:
        self._options = options
        self._endpoints: tuple[Endpoint, ...] = ()
        self._weight_of: dict[Endpoint, int] = {}
        self._sample: WeightedSample | None = None

    def update(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Take endpoints and their present weights."""
        weights = self._options.weights(endpoints)
        self._endpoints = endpoints
        self._weight_of = dict(zip(endpoints, weights, strict=True))
        self._sample = WeightedSample(endpoints, weights, self._options.rand) if endpoints else None

    def _two(self, exchange: Exchange) -> tuple[Endpoint, Endpoint] | None:
        """Draw two endpoints, for a retry among those not tried; None where there are none."""
        sample = self._sample
        if sample is not None and exchange.tried:
            rest = untried(self._endpoints, exchange.tried)
            sample = WeightedSample(rest, [self._weight_of[endpoint] for endpoint in rest], self._options.rand)
        return sample.two() if sample is not None else None
