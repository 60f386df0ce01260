"""Stops sending to an upstream that is overloaded or broken, and tries again after a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from edgewise.contracts.endpoint import Upstream

BUCKETS = 10
"""Parts of the window; the oldest part is forgotten at once."""


class BreakerState(Enum):
    """Closed: all pass. Open: none pass. Half open: one request at a time finds out whether to close."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When a circuit breaker opens, and for how long."""

    max_active: int = 0
    """Exchanges under way in this worker at most; 0 for no limit."""
    error_rate: float | None = None
    """Share of failed attempts in the window at which the breaker opens; None for never."""
    min_requests: int = 20
    """Attempts in the window below which the rate says nothing."""
    window: float = 10.0
    """Seconds."""
    open_time: float = 5.0
    """Seconds for which an open breaker refuses everything."""


class CircuitBreaker:
    """Guards one upstream in one worker."""

    def __init__(
        self, upstream: Upstream, settings: BreakerSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._upstream = upstream
        self._settings = settings
        self._clock = clock
        self._until = 0.0
        self._width = settings.window / BUCKETS
        self.state = BreakerState.CLOSED
        self.refused = 0
        """Requests refused, ever."""
        self._forget()

    def allow(self) -> bool:
        """May one more exchange begin? Ask before it is counted in `upstream.active`; answer 503 where not."""
        if self._limited() or (self.state is not BreakerState.CLOSED and not self._may_probe()):
            self.refused += 1
            return False
        return True

    def record(self, ok: bool) -> None:
        """Note the end of an attempt: it failed where the endpoint could not be used or answered 502, 503 or 504."""
        if self._settings.error_rate is None:
            return
        if self.state is BreakerState.CLOSED:
            self._count(ok, self._settings.error_rate)
        elif self.state is BreakerState.HALF_OPEN:
            if ok:
                self.state = BreakerState.CLOSED
                self._forget()
            else:
                self._open()

    def _limited(self) -> bool:
        return 0 < self._settings.max_active <= self._upstream.active

    def _may_probe(self) -> bool:
        """Let one request through once the time is over; the next one only when that one's end is overdue."""
        now = self._clock()
        if now < self._until:
            return False
        self.state = BreakerState.HALF_OPEN
        self._until = now + self._settings.open_time
        return True

    def _open(self) -> None:
        self.state = BreakerState.OPEN
        self._until = self._clock() + self._settings.open_time

    def _forget(self) -> None:
        self._totals = [0] * BUCKETS
        self._failures = [0] * BUCKETS
        self._bucket = int(self._clock() / self._width)

    def _count(self, ok: bool, error_rate: float) -> None:
        bucket = int(self._clock() / self._width)
        if bucket != self._bucket:
            for stale in range(self._bucket + 1, min(bucket, self._bucket + BUCKETS) + 1):
                self._totals[stale % BUCKETS] = self._failures[stale % BUCKETS] = 0
            self._bucket = bucket
        self._totals[bucket % BUCKETS] += 1
        if ok:
            return
        self._failures[bucket % BUCKETS] += 1
        total = sum(self._totals)
        if total >= self._settings.min_requests and sum(self._failures) >= error_rate * total:
            self._open()
