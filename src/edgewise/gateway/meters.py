"""How requests of a key are counted: token bucket, sliding window or calendar quota, each on a row of shared memory.

`take` returns how many requests more would pass (0.0 or above) where this one does, else the seconds to wait, negative;
None where the row has gone to another key. Times are monotonic seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from edgewise.contracts.limits import ADMITTED, STATE, LimitMemory

_DEBT_SECONDS = 10.0
"""What others admitted puts a key off by this much at most, whatever a counter says."""
_ROUNDING = 1e-9
_STATE, _ADMITTED = 1, 4
"""Of what `LimitMemory.counted` reads: the first of a meter's cells, and the first of those of workers."""
_SKIPPED = ADMITTED - _ADMITTED
_BASE, _PREVIOUS = STATE + 1, STATE + 2
"""Cells of a meter: what `take` counts from, and of a sliding window the requests of the window before."""
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""Of the units of rates that last equally long each time; a month does not."""


class Meter(Protocol):
    """Counts by one rate. Its row keeps three cells; the first says when the row is no different from a new one."""

    limit: int
    """Requests at once after a rest: what clients are told as their quota."""
    window: int
    """Seconds in which those come again, rounded up."""
    kind: str
    """What must be equal for a count to go on when rates change."""
    refills: bool
    """Does it follow from what is left when all is there again?"""

    def take(self, memory: LimitMemory, offset: int, mark: int, now: float, cost: int) -> float | None:
        """Count a request that costs `cost`, or tell how long it has to wait."""

    def charge(self, memory: LimitMemory, offset: int, amount: int, now: float) -> None:
        """Count what was admitted elsewhere, over the limit if need be."""

    def reset(self, memory: LimitMemory, offset: int, left: float, now: float) -> int:
        """Return the seconds until the whole quota is there again, of a key with `left` requests left."""


class TokenBucket:
    """A bucket of `limit` tokens that gets `rate` tokens a second.

    Kept as the time at which it is full again (the generic cell rate algorithm, ITU-T I.371 annex A): a base, which
    moves when the bucket is full, and from there on what all workers took.
    """

    __slots__ = ("_interval", "_tolerance", "kind", "limit", "refills", "window")

    def __init__(self, rate: float, burst: int) -> None:
        self.refills = True
        self.kind = f"bucket {rate:g} {burst}"
        self.limit = burst
        self._interval = 1.0 / rate
        self._tolerance = burst / rate
        self.window = _whole(self._tolerance)

    def take(self, memory: LimitMemory, offset: int, mark: int, now: float, cost: int) -> float | None:
        """Take `cost` tokens."""
        row = memory.counted.unpack_from(memory.rows, offset)
        if row[0] != mark:
            return None
        interval, cells, cell, own = self._interval, memory.cells, offset >> 3, memory.own
        taken = (row[_ADMITTED] if memory.alone else sum(row[_ADMITTED:])) * interval
        full = row[_STATE + 1] + taken
        if full < now:
            full = now
            cells[cell + _BASE] = now - taken
        full += cost * interval
        left: float = now + self._tolerance - full
        if left < -_ROUNDING:
            return left
        cells[cell + STATE] = full
        cells[cell + own] = row[own - _SKIPPED] + cost
        return left / interval if left > 0.0 else 0.0

    def charge(self, memory: LimitMemory, offset: int, amount: int, now: float) -> None:
        """Take tokens that others gave away, below zero if need be."""
        row = memory.counted.unpack_from(memory.rows, offset)
        taken = sum(row[_ADMITTED:]) * self._interval
        full = max(row[_STATE + 1] + taken, now) + amount * self._interval
        full = min(full, now + self._tolerance + _DEBT_SECONDS)
        memory.cells[(offset >> 3) + STATE] = full
        memory.cells[(offset >> 3) + _BASE] = full - taken

    def reset(self, memory: LimitMemory, offset: int, left: float, now: float) -> int:
        """Return when the bucket is full."""
        return _whole((self.limit - left) * self._interval)


class SlidingWindow:
    """At most `limit` requests in a window, those of the window before counted by the part of it that still overlaps.

    So requests are taken to have come evenly in the window before: where they came at its end, up to twice the limit
    may pass within the length of a window.
    """

    __slots__ = ("_length", "kind", "limit", "refills", "window")

    def __init__(self, limit: int, window: float) -> None:
        self.limit = limit
        self._length = window
        self.window = _whole(window)
        self.refills = False
        self.kind = f"window {window:g}"

    def take(self, memory: LimitMemory, offset: int, mark: int, now: float, cost: int) -> float | None:
        """Count."""
        row = memory.counted.unpack_from(memory.rows, offset)
        if row[0] != mark:
            return None
        admitted = sum(row[_ADMITTED:])
        until, base, previous = row[_STATE], row[_STATE + 1], row[_STATE + 2]
        if now >= until - self._length:
            until, base, previous = self._roll(memory, offset >> 3, row, admitted, now)
        start = until - 2 * self._length
        current = admitted - base
        left: float = self.limit - current - cost - previous * (1.0 - (now - start) / self._length)
        if left < -_ROUNDING:
            return -self._wait(start, current, previous, now, cost)
        memory.cells[(offset >> 3) + memory.own] = row[memory.own - _SKIPPED] + cost
        return max(left, 0.0)

    def _roll(
        self, memory: LimitMemory, cell: int, row: tuple[float, ...], admitted: float, now: float
    ) -> tuple[float, float, float]:
        """Begin a window. Its end is written first: who reads in between takes it for full, for a moment."""
        until, previous = row[_STATE] + self._length, admitted - row[_STATE + 1]
        if now >= row[_STATE]:
            until, previous = now + 2 * self._length, 0.0
        memory.cells[cell + STATE] = until
        memory.cells[cell + _BASE] = admitted
        memory.cells[cell + _PREVIOUS] = previous
        return until, admitted, previous

    def _wait(self, start: float, current: float, previous: float, now: float, cost: int) -> float:
        """Return the seconds until enough of the window before has passed by, or of this one after its end."""
        room = self.limit - current - cost
        if room < 0.0:
            start, previous, room = start + self._length, current, float(self.limit - cost)
        gone = 1.0 - room / previous if previous > room else 0.0
        return max(start + self._length * gone - now, 0.001)

    def charge(self, memory: LimitMemory, offset: int, amount: int, now: float) -> None:
        """Count what others admitted as of now."""
        row = memory.counted.unpack_from(memory.rows, offset)
        base = row[_STATE + 1]
        if now >= row[_STATE] - self._length:
            _, base, _ = self._roll(memory, offset >> 3, row, sum(row[_ADMITTED:]), now)
        memory.cells[(offset >> 3) + _BASE] = base - amount

    def reset(self, memory: LimitMemory, offset: int, left: float, now: float) -> int:
        """Return when the window ends, and its requests begin to count less."""
        return _whole(memory.cells[(offset >> 3) + STATE] - self._length - now)


class Quota:
    """At most `limit` requests in each second, minute, hour, day or month of the calendar, in UTC.

    The wall clock is asked once a window.
    """

    __slots__ = ("_clock", "kind", "limit", "refills", "unit", "window")

    def __init__(self, limit: int, unit: str, clock: Callable[[], float] = time.time) -> None:
        """`unit`: a key of SECONDS, or "month"; `clock` in Unix seconds."""
        self.limit = limit
        self.unit = unit
        self.window = SECONDS.get(unit, 30 * 86400)
        self.refills = False
        self.kind = f"quota {unit}"
        self._clock = clock

    def take(self, memory: LimitMemory, offset: int, mark: int, now: float, cost: int) -> float | None:
        """Count."""
        row = memory.counted.unpack_from(memory.rows, offset)
        if row[0] != mark:
            return None
        admitted = sum(row[_ADMITTED:])
        until, base = row[_STATE], row[_STATE + 1]
        if now >= until:
            until, base = self._roll(memory, offset >> 3, admitted, now)
        left: float = self.limit - (admitted - base) - cost
        if left < 0.0:
            wait: float = min(now - until, -0.001)
            return wait
        memory.cells[(offset >> 3) + memory.own] = row[memory.own - _SKIPPED] + cost
        return left

    def _roll(self, memory: LimitMemory, cell: int, admitted: float, now: float) -> tuple[float, float]:
        """Begin a window, its end first as in `SlidingWindow`."""
        until = now + self.lasts()
        memory.cells[cell + STATE] = until
        memory.cells[cell + _BASE] = admitted
        return until, admitted

    def charge(self, memory: LimitMemory, offset: int, amount: int, now: float) -> None:
        """Count what was admitted elsewhere in this window."""
        row = memory.counted.unpack_from(memory.rows, offset)
        base = row[_STATE + 1]
        if now >= row[_STATE]:
            _, base = self._roll(memory, offset >> 3, sum(row[_ADMITTED:]), now)
        memory.cells[(offset >> 3) + _BASE] = base - amount

    def reset(self, memory: LimitMemory, offset: int, left: float, now: float) -> int:
        """Return when the window ends."""
        return _whole(memory.cells[(offset >> 3) + STATE] - now)

    def lasts(self) -> float:
        """Return the seconds until the window of now ends."""
        now = self._clock()
        if self.unit != "month":
            length = SECONDS[self.unit]
            return length - now % length
        today = datetime.fromtimestamp(now, UTC)
        year, month = (today.year, today.month + 1) if today.month < 12 else (today.year + 1, 1)
        return datetime(year, month, 1, tzinfo=UTC).timestamp() - now

    def month(self) -> str:
        """Return the month of now, such as 2026-11."""
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m")


def _whole(seconds: float) -> int:
    """Return whole seconds, at least one, not less than `seconds`."""
    return max(1, -int(-seconds // 1))
