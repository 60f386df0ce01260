"""What every built-in policy may be told, and the weights slow start leaves them."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgewise.contracts.endpoint import Endpoint

RAMP_STEPS = 10
"""Slow start raises an endpoint's weight in this many steps, so weights stay whole numbers."""


def ramp_step(endpoint: Endpoint, now: float, slow_start: float) -> int:
    """Return how many tenths of its weight `endpoint` carries at `now` (monotonic seconds): 1 to 10."""
    if slow_start <= 0 or not endpoint.slow_start_from:
        return RAMP_STEPS
    elapsed = now - endpoint.slow_start_from
    return max(1, min(RAMP_STEPS, 1 + int(RAMP_STEPS * elapsed / slow_start)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions:
    """Options of the built-in policies; each reads those it knows."""

    slow_start: float = 0.0
    """Seconds over which an endpoint that came (back) into service reaches its weight; 0 for at once."""
    hash_key: str = "ip"
    """What consistent_hash hashes: ip, path, header:NAME or cookie:NAME."""
    load_factor: float = 1.25
    """consistent_hash: an endpoint carries at most this multiple of its fair share; 0 for no bound."""
    decay: float = 10.0
    """ewma: seconds in which the weight of an old latency falls to 1/e."""
    clock: Callable[[], float] = time.monotonic
    rand: Callable[[], float] = random.random
    """Uniform over [0, 1). The module's own generator, because that one is seeded afresh in a forked worker."""

    def weights(self, endpoints: Sequence[Endpoint]) -> tuple[int, ...]:
        """Return the present whole-number weight of each endpoint, in tenths of the configured weight."""
        now = self.clock()
        return tuple(max(1, endpoint.weight) * ramp_step(endpoint, now, self.slow_start) for endpoint in endpoints)


DEFAULTS = PolicyOptions()


def reduced(weights: Sequence[int]) -> tuple[int, ...]:
    """Divide weights by their greatest common divisor."""
    divisor = math.gcd(*weights)
    return tuple(weight // divisor for weight in weights)


def untried(endpoints: Sequence[Endpoint], tried: Sequence[Endpoint]) -> Sequence[Endpoint]:
    """Return the endpoints a retry should prefer: those not tried yet, or all where none is left."""
    return [endpoint for endpoint in endpoints if endpoint not in tried] or endpoints
