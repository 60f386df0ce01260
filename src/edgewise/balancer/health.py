"""Active health checks: asks each endpoint at intervals whether it is well. Runs in the control process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgewise.balancer.probe import HealthCheck, probe
from edgewise.contracts.endpoint import Address
from edgewise.protocols.errors import ProtocolError

OnVerdict = Callable[[str, bool, str], None]
"""Told `(endpoint key, healthy?, text of the result that decided)`."""

JITTER = 0.1
"""Share of the interval by which checks are spread, so that they do not arrive together."""
QUICK = 0.5
"""Seconds between two checks of an endpoint that somebody has doubts about."""

_log = logging.getLogger("edgewise.health")


@dataclass(frozen=True, slots=True)
class Target:
    """What is checked and how; a target that stays equal over a reload keeps its state."""

    address: Address
    settings: HealthCheck
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    """Name asked for in TLS; None: the address's host."""


@dataclass(slots=True)
class CheckStatus:
    """State of one endpoint's checks, for the status page."""

    healthy: bool | None = None
    """None while nothing is known."""
    in_a_row: int = 0
    """Results of the same kind up to now."""
    result: str = ""
    """Text of the last result."""
    seconds: float = 0.0
    """Duration of the last check."""
    checked_at: float = 0.0
    """Unix time of the last check; 0 before the first."""
    checks: int = 0
    failures: int = 0
    last_ok: bool = True


class HealthChecker:
    """Checks one endpoint and tells `on_verdict` the first verdict and each change."""

    def __init__(
        self,
        endpoint_key: str,
        address: Address,
        settings: HealthCheck,
        on_verdict: OnVerdict,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        self.key = endpoint_key
        self.target = Target(address, settings, tls, server_name)
        self.status = CheckStatus()
        self._on_verdict = on_verdict
        self._task: asyncio.Task[None] | None = None
        self._doubted = asyncio.Event()
        self._hurries = False

    def start(self) -> None:
        """Begin checking on the running loop, the first time at once."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"health {self.key}")

    def stop(self) -> None:
        """Stop checking."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def record(self, ok: bool, result: str, seconds: float) -> None:
        """Take one result: the first success is a verdict at once, else the thresholds decide."""
        status = self.status
        status.in_a_row = status.in_a_row + 1 if ok is status.last_ok else 1
        status.last_ok, status.result, status.seconds, status.checked_at = ok, result, seconds, time.time()
        status.checks += 1
        status.failures += not ok
        settings = self.target.settings
        enough = status.in_a_row >= (settings.healthy if ok else settings.unhealthy)
        if status.healthy is not ok and (enough or (ok and status.healthy is None)):
            status.healthy = ok
            self._on_verdict(self.key, ok, result)

    async def check(self) -> None:
        """Check once, now."""
        target = self.target
        begun = time.monotonic()
        try:
            async with asyncio.timeout(target.settings.timeout):
                ok, result = await probe(target.address, target.settings, target.tls, target.server_name)
        except TimeoutError:
            ok, result = False, f"no answer within {target.settings.timeout:g} s"
        except (OSError, EOFError, ProtocolError) as error:
            ok, result = False, str(error) or type(error).__name__
        self.record(ok, result, time.monotonic() - begun)

    def doubt(self) -> None:
        """Check at once, and while that fails soon again, until it is decided."""
        self._hurries = True
        self._doubted.set()

    async def _run(self) -> None:
        while True:
            try:
                await self.check()
            except Exception:  # one broken callback must not end the checks
                _log.exception("health check of %s failed unexpectedly", self.key)
            await self._pause()

    async def _pause(self) -> None:
        """Wait until the next check is due."""
        interval = self.target.settings.interval
        if self._hurries and (self.status.last_ok or self.status.healthy is False):
            self._hurries = False
        if self._hurries:
            interval = min(interval, QUICK)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(interval * random.uniform(1 - JITTER, 1 + JITTER)):
                await self._doubted.wait()
            self._hurries = True
        self._doubted.clear()


class HealthMonitor:
    """Owns the checkers of all upstreams; lives on the control process's loop."""

    def __init__(self, on_verdict: OnVerdict) -> None:
        self._on_verdict = on_verdict
        self._checkers: dict[str, HealthChecker] = {}

    def update(self, targets: Mapping[str, Target]) -> None:
        """Check exactly `targets` (endpoint key -> target) from now on; equal ones keep their checker and state."""
        for key, checker in list(self._checkers.items()):
            if targets.get(key) != checker.target:
                checker.stop()
                del self._checkers[key]
        for key, target in targets.items():
            if key not in self._checkers:
                checker = HealthChecker(
                    key, target.address, target.settings, self._on_verdict, target.tls, target.server_name
                )
                self._checkers[key] = checker
                checker.start()

    def doubt(self, key: str) -> bool:
        """Check an endpoint at once; False where it is not checked."""
        checker = self._checkers.get(key)
        if checker is not None:
            checker.doubt()
        return checker is not None

    def status(self) -> dict[str, CheckStatus]:
        """Return the state of each endpoint that is checked."""
        return {key: checker.status for key, checker in self._checkers.items()}

    def close(self) -> None:
        """Stop all checks."""
        self.update({})
