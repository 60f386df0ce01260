"""Time that passes when a test says so, for code that sleeps."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from support.manual_clock import ManualClock

_TURNS = 20
"""Turns of the loop after which everything that could go on has."""


class ManualTime(ManualClock):
    """A clock with a `sleep` that ends when the clock gets there."""

    def __init__(self, now: float = 1000.0) -> None:
        super().__init__(now)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def sleep(self, seconds: float) -> None:
        """Wait until so much time has passed."""
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), future))
        await future

    async def pass_by(self, seconds: float) -> None:
        """Let time pass, moment after moment at which somebody wakes."""
        end = self.now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.now, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await settle()
        self.now = end


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
