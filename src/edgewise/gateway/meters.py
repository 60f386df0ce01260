"""How requests of a key are counted: token bucket, sliding window or calendar quota, each on a row of shared memory.

`take` returns how many requests more would pass (0.0 or above) where this one does, else the seconds to wait, negative;
None where the row has gone to another key. Times are monotonic seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from mmap import mmap
from typing import Protocol, runtime_checkable

from edgewise.contracts.limits import CELLS, CELLS_AT, COUNTED

_DEBT_SECONDS = 10.0
"""What others admitted puts a key off by this much at most, whatever a counter says."""
_ROUNDING = 1e-9
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""Of the units of rates that last equally long each time; a month does not."""


@runtime_checkable
class Meter(Protocol):
    """Counts by one rate. Its row keeps three cells; the first says when the row is no different from a new one."""

    limit: int
    """Requests at once after a rest: what clients are told as their quota."""
    window: int
    """Seconds in which those come again, rounded up."""
    kind: str
    """What must be equal for a count to go on when rates change."""

    def take(self, rows: mmap, offset: int, mark: int, now: float, cost: int) -> float | None:
        """Count a request that costs `cost`, or tell how long it has to wait."""

    def charge(self, rows: mmap, offset: int, amount: float, now: float) -> None:
        """Count what was admitted elsewhere, over the limit if need be; negative: what was given back."""

    def reset(self, rows: mmap, offset: int, left: float, now: float) -> int:
        """Return the seconds until the whole quota is there again, of a key with `left` requests left."""


class TokenBucket:
    """A bucket of `limit` tokens that gets `rate` tokens a second.

    Kept as the time at which it is full again (the generic cell rate algorithm, ITU-T I.371 annex A).
    """

    __slots__ = ("_interval", "_tolerance", "kind", "limit", "window")

    def __init__(self, rate: float, burst: int) -> None:
        self.kind = "bucket"
        self.limit = burst
        self._interval = 1.0 / rate
        self._tolerance = burst / rate
        self.window = _whole(self._tolerance)

    def take(self, rows: mmap, offset: int, mark: int, now: float, cost: int) -> float | None:
        """Take `cost` tokens."""
        found, _, full, _, _, admitted = COUNTED.unpack_from(rows, offset)
        if found != mark:
            return None
        full = (full if full > now else now) + cost * self._interval
        left: float = now + self._tolerance - full
        if left < -_ROUNDING:
            return left
        CELLS.pack_into(rows, offset + CELLS_AT, full, 0.0, 0.0, admitted + cost)
        return left / self._interval if left > 0.0 else 0.0

    def charge(self, rows: mmap, offset: int, amount: float, now: float) -> None:
        """Take tokens that others gave away, below zero if need be."""
        full, _, _, admitted = CELLS.unpack_from(rows, offset + CELLS_AT)
        full = max(full, now) + amount * self._interval
        CELLS.pack_into(rows, offset + CELLS_AT, min(full, now + self._tolerance + _DEBT_SECONDS), 0.0, 0.0, admitted)

    def reset(self, rows: mmap, offset: int, left: float, now: float) -> int:
        """Return when the bucket is full."""
        return _whole((self.limit - left) * self._interval)


class SlidingWindow:
    """At most `limit` requests in a window, those of the window before counted by the part of it that still overlaps.

    So requests are taken to have come evenly in the window before: where they came at its end, up to twice the limit
    may pass within the length of a window.
    """

    __slots__ = ("_length", "kind", "limit", "window")

    def __init__(self, limit: int, window: float) -> None:
        self.limit = limit
        self._length = window
        self.window = _whole(window)
        self.kind = f"window {window:g}"

    def take(self, rows: mmap, offset: int, mark: int, now: float, cost: int) -> float | None:
        """Count."""
        found, _, until, current, previous, admitted = COUNTED.unpack_from(rows, offset)
        if found != mark:
            return None
        until, current, previous = self._rolled(until, current, previous, now)
        start = until - 2 * self._length
        left: float = self.limit - current - cost - previous * (1.0 - (now - start) / self._length)
        if left < -_ROUNDING:
            return -self._wait(start, current, previous, now, cost)
        CELLS.pack_into(rows, offset + CELLS_AT, until, current + cost, previous, admitted + cost)
        return max(left, 0.0)

    def _rolled(self, until: float, current: float, previous: float, now: float) -> tuple[float, float, float]:
        """Return the cells as they are in the window of `now`."""
        if now >= until:
            return now + 2 * self._length, 0.0, 0.0
        if now >= until - self._length:
            return until + self._length, 0.0, current
        return until, current, previous

    def _wait(self, start: float, current: float, previous: float, now: float, cost: int) -> float:
        """Return the seconds until enough of the window before has passed by, or of this one after its end."""
        room = self.limit - current - cost
        if room < 0.0:
            start, previous, room = start + self._length, current, self.limit - cost
        gone = 1.0 - room / previous if previous > room else 0.0
        return max(start + self._length * gone - now, 0.001)

    def charge(self, rows: mmap, offset: int, amount: float, now: float) -> None:
        """Count what others admitted as of now."""
        until, current, previous, admitted = CELLS.unpack_from(rows, offset + CELLS_AT)
        until, current, previous = self._rolled(until, current, previous, now)
        CELLS.pack_into(rows, offset + CELLS_AT, until, max(current + amount, 0.0), previous, admitted)

    def reset(self, rows: mmap, offset: int, left: float, now: float) -> int:
        """Return when the window ends, and its requests begin to count less."""
        until: float = CELLS.unpack_from(rows, offset + CELLS_AT)[0]
        return _whole(until - self._length - now)


class Quota:
    """At most `limit` requests in each second, minute, hour, day or month of the calendar, in UTC.

    The row keeps when its window is over and the count; the wall clock is asked once a window.
    """

    __slots__ = ("_clock", "kind", "limit", "unit", "window")

    def __init__(self, limit: int, unit: str, clock: Callable[[], float] = time.time) -> None:
        """`unit`: a key of SECONDS, or "month"; `clock` in Unix seconds."""
        self.limit = limit
        self.unit = unit
        self.window = SECONDS.get(unit, 30 * 86400)
        self.kind = f"quota {unit}"
        self._clock = clock

    def take(self, rows: mmap, offset: int, mark: int, now: float, cost: int) -> float | None:
        """Count."""
        found, _, until, count, _, admitted = COUNTED.unpack_from(rows, offset)
        if found != mark:
            return None
        if now >= until:
            until, count = now + self.lasts(), 0.0
        left: float = self.limit - count - cost
        if left < 0.0:
            wait: float = now - until
            return wait
        CELLS.pack_into(rows, offset + CELLS_AT, until, count + cost, 0.0, admitted + cost)
        return left

    def charge(self, rows: mmap, offset: int, amount: float, now: float) -> None:
        """Count what was admitted elsewhere in this window."""
        until, count, _, admitted = CELLS.unpack_from(rows, offset + CELLS_AT)
        if now >= until:
            until, count = now + self.lasts(), 0.0
        CELLS.pack_into(rows, offset + CELLS_AT, until, max(count + amount, 0.0), 0.0, admitted)

    def reset(self, rows: mmap, offset: int, left: float, now: float) -> int:
        """Return when the window ends."""
        until: float = CELLS.unpack_from(rows, offset + CELLS_AT)[0]
        return _whole(until - now)

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
