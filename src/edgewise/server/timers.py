"""Timers and restart delays of the supervisor, which has no event loop."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable


class Timers:
    """Callbacks due at a time. `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._cancelled: set[int] = set()

    def after(self, seconds: float, callback: Callable[[], None]) -> int:
        """Run `callback` in `seconds`; return a number for `cancel`."""
        number = next(self._order)
        heapq.heappush(self._due, (self.clock() + seconds, number, callback))
        return number

    def cancel(self, number: int) -> None:
        """Forget a timer; one that already ran is no error."""
        if any(entry[1] == number for entry in self._due):
            self._cancelled.add(number)

    def wait(self) -> float | None:
        """Return the seconds until the next timer, None when there is none."""
        if not self._due:
            return None
        return max(0.0, self._due[0][0] - self.clock())

    def run_due(self) -> None:
        """Run every callback whose time has come."""
        while self._due and self._due[0][0] <= self.clock():
            _at, number, callback = heapq.heappop(self._due)
            if number in self._cancelled:
                self._cancelled.discard(number)
            else:
                callback()


class Backoff:
    """Delay before each restart of one process: none at first, then doubling up to `most` seconds.

    A process that lived for `stable` seconds starts over with no delay.
    """

    def __init__(self, first: float = 0.1, most: float = 10.0, stable: float = 10.0) -> None:
        self._first = first
        self._most = most
        self._stable = stable
        self._failures = 0

    def died(self, lived: float) -> float:
        """Note a death after `lived` seconds; return the seconds to wait before the next start."""
        if lived >= self._stable:
            self._failures = 0
        delay = 0.0 if self._failures == 0 else min(self._most, self._first * 2.0 ** (self._failures - 1))
        self._failures = min(self._failures + 1, 64)
        return delay
