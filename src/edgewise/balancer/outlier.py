"""Ejects endpoints whose answers fail or lag, for a while and never too many of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from statistics import median

from edgewise.balancer.observing import observer_of
from edgewise.balancer.options import RAMP_STEPS, ramp_step
from edgewise.contracts.endpoint import Endpoint, Upstream

LATENCY_FLOOR = 0.01
"""Seconds; a mean below this is never an outlier, whatever its multiple of the others'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ejection:
    """When endpoints are ejected, and for how long."""

    consecutive_errors: int = 5
    """Failed attempts in a row that eject at once; 0 for never."""
    success_rate: float | None = None
    """Least share of successful attempts in an interval; None for no such test."""
    latency_factor: float | None = None
    """Eject when the mean latency of an interval exceeds this multiple of the median of the others' means."""
    interval: float = 10.0
    """Seconds between two judgements of success rate and latency."""
    min_requests: int = 20
    """Attempts in an interval below which success rate and latency say nothing."""
    base_time: float = 10.0
    """Seconds of the first ejection; the n-th in a row lasts n times as long."""
    max_time: float = 300.0
    max_share: float = 0.5
    """Share of the upstream's endpoints that may be ejected at the same time; one always stays."""


class _Tally:
    """What one endpoint did in the present interval."""

    __slots__ = ("failed", "ok", "seconds")

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0
        self.seconds = 0.0


class OutlierDetector:
    """Implements `contracts.balancing.Outlier` for one upstream in one worker.

    It keeps `errors`, `successes`, `ejected`, `ejected_until` and `ejections` of the endpoints, advances slow start and
    passes latencies on to a policy that observes them. With `settings` None it ejects nothing.
    """

    def __init__(
        self,
        upstream: Upstream,
        settings: Ejection | None = None,
        *,
        slow_start: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        on_eject: Callable[[Endpoint, str], None] | None = None,
    ) -> None:
        """`slow_start` in seconds must equal the policy's; `on_eject` is told the endpoint and the reason."""
        self._upstream = upstream
        self._settings = settings
        self._slow_start = slow_start
        self._clock = clock
        self._on_eject = on_eject
        self._observe = observer_of(upstream.policy)
        self._consecutive = settings.consecutive_errors if settings else 0
        self._tallies: dict[Endpoint, _Tally] = {}
        self._judge_at = clock() + settings.interval if settings else float("inf")
        self._serving = set(upstream.endpoints)
        self._ramps: dict[Endpoint, int] = {}
        self.total = 0
        """Ejections ever."""
        self.reasons: dict[str, str] = {}
        """Endpoint key -> why it was ejected last, for the status page."""

    def attempted(self, endpoint: Endpoint, seconds: float, ok: bool) -> None:
        """Note the end of an attempt that took `seconds`; too many failures in a row eject at once."""
        tally = self._tallies.get(endpoint)
        if tally is None:
            tally = self._tallies[endpoint] = _Tally()
        if ok:
            endpoint.errors = 0
            endpoint.successes += 1
            tally.ok += 1
            tally.seconds += seconds
        else:
            endpoint.errors += 1
            tally.failed += 1
        if self._observe is not None:
            self._observe(endpoint, seconds, ok)
        if not ok and 0 < self._consecutive <= endpoint.errors:
            self._eject(endpoint, f"{endpoint.errors} errors in a row", self._clock())

    def suspect(self, endpoint: Endpoint) -> None:
        """Count one failure on somebody else's word: it ejects only with failures of this worker's own."""
        if 0 < endpoint.errors + 1 < self._consecutive:
            endpoint.errors += 1

    def tick(self, now: float) -> None:
        """End ejections that are over, judge the interval when it is over, advance slow start."""
        changed = False
        for endpoint in self._upstream.endpoints:
            if endpoint.ejected and now >= endpoint.ejected_until:
                endpoint.ejected = False
                endpoint.errors = 0
                changed = True
        if (self._slow_start > 0 and self._ramped(now)) or changed:
            self._upstream.changed()
        if now >= self._judge_at:
            self._judge(now)

    def _ramped(self, now: float) -> bool:
        """Begin slow start where an endpoint came into service; has any weight moved since the last tick?

        Whether it was ejected, drained, found unhealthy or not there at all makes no difference.
        """
        serving = {endpoint for endpoint in self._upstream.endpoints if endpoint.available}
        for endpoint in serving - self._serving:
            endpoint.slow_start_from = now
        steps = {endpoint: ramp_step(endpoint, now, self._slow_start) for endpoint in serving}
        ramps = {endpoint: step for endpoint, step in steps.items() if step < RAMP_STEPS}
        moved = ramps != self._ramps
        self._serving, self._ramps = serving, ramps
        return moved

    def _eject(self, endpoint: Endpoint, reason: str, now: float) -> None:
        settings = self._settings
        if settings is None or endpoint.ejected or not self._may_eject(endpoint, settings.max_share):
            return
        endpoint.ejections += 1
        endpoint.ejected = True
        endpoint.ejected_until = now + min(settings.base_time * endpoint.ejections, settings.max_time)
        self.total += 1
        self.reasons[endpoint.key] = reason
        self._serving.discard(endpoint)
        self._upstream.changed()
        if self._on_eject is not None:
            self._on_eject(endpoint, reason)

    def _may_eject(self, endpoint: Endpoint, max_share: float) -> bool:
        endpoints = self._upstream.endpoints
        ejected = sum(other.ejected for other in endpoints)
        stays = any(other.available for other in endpoints if other is not endpoint)
        return stays and ejected + 1 <= max_share * len(endpoints)

    def _judge(self, now: float) -> None:
        """Eject by success rate and latency, worst first; forgive one ejection where an interval went well."""
        settings = self._settings
        if settings is None:
            return
        self._judge_at = now + settings.interval
        tallies, self._tallies = self._tallies, {}
        for endpoint in self._upstream.endpoints:
            served, endpoint.successes = endpoint.successes > 0, 0
            if endpoint.ejections and served and now - endpoint.ejected_until >= settings.interval:
                endpoint.ejections -= 1
        counted = {
            endpoint: tally for endpoint, tally in tallies.items() if tally.ok + tally.failed >= settings.min_requests
        }
        if settings.success_rate is not None:
            self._judge_success(counted, settings.success_rate, now)
        if settings.latency_factor is not None:
            self._judge_latency(counted, settings.latency_factor, now)

    def _judge_success(self, tallies: dict[Endpoint, _Tally], least: float, now: float) -> None:
        rates = {endpoint: tally.ok / (tally.ok + tally.failed) for endpoint, tally in tallies.items()}
        for endpoint, rate in sorted(rates.items(), key=itemgetter(1)):
            if rate < least:
                self._eject(endpoint, f"success rate {rate:.2f} below {least:.2f}", now)

    def _judge_latency(self, tallies: dict[Endpoint, _Tally], factor: float, now: float) -> None:
        means = {endpoint: tally.seconds / tally.ok for endpoint, tally in tallies.items() if tally.ok}
        for endpoint, mean in sorted(means.items(), key=itemgetter(1), reverse=True):
            others = [value for other, value in means.items() if other is not endpoint]
            if not others or mean < LATENCY_FLOOR:
                return
            usual = median(others)
            if mean > factor * usual:
                self._eject(endpoint, f"mean latency {mean:.3f} s above {factor:g} x {usual:.3f} s", now)
