"""Tells the shared state engine what each limit admitted, and each limit what others did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic

from edgewise.contracts.limits import Limit
from edgewise.contracts.state import Count, StateEngine, StateError
from edgewise.gateway.rate_limit import WINDOW

INTERVAL = 0.1
"""Seconds between two exchanges of counts."""
_FULL = 10
"""Every so many exchanges everything is told."""
_RETRY = 1.0
_log = logging.getLogger("edgewise.limits")

Open = Callable[[], Awaitable[StateEngine]]
"""Connects to the engine. Raises StateError."""


class Sharing:
    """One task of a worker. Without the engine the limits go on alone; it is tried again every second."""

    def __init__(self, open_engine: Open, interval: float = INTERVAL) -> None:
        self._open = open_engine
        self._interval = interval
        self._limits: list[Limit] = []
        self._engine: StateEngine | None = None

    def follow(self, limits: Iterable[Limit]) -> None:
        """Share the counts of these limits and no others."""
        self._limits = list(limits)
        for limit in self._limits:
            limit.connect(self._engine)

    async def run(self) -> None:
        """Exchange counts until cancelled."""
        rounds = 0
        try:
            while not await self._connect():
                await asyncio.sleep(_RETRY)
            while True:
                await asyncio.sleep(self._interval)
                rounds += 1
                await self.exchange(everything=rounds % _FULL == 0)
        finally:
            if self._engine is not None:
                await self._engine.close()

    async def _connect(self) -> bool:
        try:
            self._engine = await self._open()
        except StateError as error:
            _log.warning("rate limits are this worker's alone: %s", error)
            return False
        self.follow(self._limits)
        return True

    async def exchange(self, *, everything: bool) -> None:
        """Tell what was admitted, learn what others admitted."""
        engine = self._engine
        assert engine is not None
        told = [(limit, key, amount) for limit in self._limits for key, amount in limit.due(everything=everything)]
        if not told:
            return
        adding = [engine.add(limit.counter(key), amount, WINDOW) for limit, key, amount in told]
        results = await asyncio.gather(*adding, return_exceptions=True)
        now = monotonic()
        for (limit, key, amount), result in zip(told, results, strict=True):
            if isinstance(result, Count):
                limit.shared(key, amount, result.value, now)
            else:
                limit.unshared(key, amount)
        failed = next((one for one in results if isinstance(one, BaseException)), None)
        if failed is not None:
            _log.warning("rate limits are not shared at the moment: %s", failed)
