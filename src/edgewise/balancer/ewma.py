"""The faster and less busy of two endpoints: peak exponentially weighted moving average of latency."""

from __future__ import annotations

from math import exp

from edgewise.balancer.sampling import TwoChoices
from edgewise.contracts.endpoint import Endpoint
from edgewise.contracts.exchange import Exchange

FAILURE_SECONDS = 1.0
"""A failed attempt counts as an answer at least this slow: failing fast must not attract requests."""
UNKNOWN_SECONDS = 1e6
"""Cost of an endpoint whose first answer is still awaited: one request at a time finds out how fast it is."""


class PeakEwma(TwoChoices):
    """Of two endpoints drawn by weight, the one with the lower latency x (active + 1) / weight.

    The average jumps up with a slow answer and comes down gradually; without answers it decays, so an endpoint that
    was slow once is tried again. Latencies come in through `observe`.
    """

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """Return the cheaper of two endpoints; of equals the first drawn."""
        drawn = self._two(exchange)
        if drawn is None:
            return None
        first, second = drawn
        now = self._options.clock()
        return second if self._cost(second, now) < self._cost(first, now) else first

    def observe(self, endpoint: Endpoint, seconds: float, ok: bool) -> None:
        """Take the latency of an attempt into the endpoint's average."""
        now = self._options.clock()
        if not ok:
            seconds = max(seconds, FAILURE_SECONDS, endpoint.ewma)
        if seconds < endpoint.ewma:
            kept = exp((endpoint.ewma_at - now) / self._options.decay)
            seconds += (endpoint.ewma - seconds) * kept
        endpoint.ewma = seconds
        endpoint.ewma_at = now

    def _cost(self, endpoint: Endpoint, now: float) -> float:
        if endpoint.ewma_at:
            latency = endpoint.ewma * exp((endpoint.ewma_at - now) / self._options.decay)
        else:
            latency = UNKNOWN_SECONDS if endpoint.active else 0.0
        return latency * (endpoint.active + 1) / self._weight_of[endpoint]
