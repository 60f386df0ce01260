"""The less loaded of two endpoints drawn at random (Mitzenmacher, 2001)."""

from __future__ import annotations

from edgewise.balancer.sampling import TwoChoices
from edgewise.contracts.endpoint import Endpoint
from edgewise.contracts.exchange import Exchange


class RandomTwo(TwoChoices):
    """Power of two choices by active/weight: near least_connections' balance, without herds between workers."""

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """Return the less loaded of two; of equals the first drawn."""
        drawn = self._two(exchange)
        if drawn is None:
            return None
        first, second = drawn
        weight_of = self._weight_of
        return second if second.active * weight_of[first] < first.active * weight_of[second] else first
