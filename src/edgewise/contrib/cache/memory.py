"""The copies that a process keeps of what the shared store has, within a bound of bytes."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from edgewise.cache.sieve import Sieve
from edgewise.contracts.state import Entry, Snapshot

_OVERHEAD = 900
"""Bytes that a copy is taken to cost beside its data."""
UNREAD = object()
"""In the place of a value that is decoded at each hit."""


class Mark:
    """When a tag was purged last, as it was read. One attribute, so that threads see a read whole."""

    __slots__ = ("__weakref__", "key", "snapshot")

    def __init__(self, key: str, snapshot: Snapshot) -> None:
        self.key = key
        self.snapshot = snapshot


def revision_of(snapshot: Snapshot) -> int:
    """Return the revision of what was read, 0 where there was nothing."""
    return 0 if snapshot.entry is None else snapshot.entry.revision


class Copy:
    """An entry as it was read, and how to tell whether it still holds."""

    __slots__ = (
        "cost", "data", "key", "marks", "names", "newer", "older", "renew_at", "since", "size", "snapshot", "stale",
        "value", "visited",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        snapshot: Snapshot,
        marks: tuple[Mark, ...],
        since: int,
        stale: float,
        cost: float,
        data: bytes,
        names: tuple[str, ...] = (),
    ) -> None:
        self.key = key
        self.snapshot = snapshot
        self.marks = marks
        self.since = since
        """A revision that was there before the computation began: what was purged at a later one is not valid."""
        self.stale = stale
        """Seconds before the entry's end from which on it is stale."""
        self.cost = cost
        """Seconds that the computation took."""
        self.data = data
        self.names = names
        """Tags, by their names."""
        self.value: Any = UNREAD
        self.renew_at = -math.inf
        self.size = _OVERHEAD + len(data) + sum(map(len, names))
        self.newer: Copy | None = None
        self.older: Copy | None = None
        self.visited = False

    def read_at(self) -> float:
        """Return the monotonic seconds as of which it is known to be valid; infinity for now."""
        read = (mark.snapshot for mark in self.marks)
        return min((each.read for each in read if isinstance(each, Timed)), default=math.inf)

    def left(self) -> float:
        """Return the seconds that it lives on, stale ones included; 0 or less: read again."""
        left = self.snapshot.left()
        if left <= 0:
            return 0.0
        since = self.since
        for mark in self.marks:
            read = mark.snapshot
            if read.left() <= 0 or (read.entry is not None and read.entry.revision > since):
                return 0.0
        return left


class Memory:
    """Copies by key, evicted by SIEVE, and the marks that they share; from any thread."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._lock = threading.Lock()
        self._order: Sieve[Copy] = Sieve()
        self._marks: weakref.WeakValueDictionary[str, Mark] = weakref.WeakValueDictionary()
        self.copies: dict[str, Copy] = {}
        self.bytes = 0
        self.purges = 0
        """How often this process purged: what it read before and cannot check counts no more."""

    def keep(self, copy: Copy) -> None:
        """Keep a copy in the place of an earlier one, unless it alone is more than there is room for."""
        with self._lock:
            self._remove(copy.key)
            if copy.size > self._most:
                return
            while self.bytes + copy.size > self._most:
                self._remove(self._order.victim().key)
            self.copies[copy.key] = copy
            self._order.add(copy)
            self.bytes += copy.size

    def drop(self, key: str) -> None:
        """Forget a copy."""
        with self._lock:
            self._remove(key)

    def _remove(self, key: str) -> None:
        copy = self.copies.pop(key, None)
        if copy is not None:
            self._order.remove(copy)
            self.bytes -= copy.size

    def mark(self, key: str) -> Mark | None:
        """Return a mark that copies hold on to."""
        with self._lock:
            return self._marks.get(key)

    def share(self, mark: Mark) -> Mark:
        """Return the one mark of its key: this one, or one that another thread read meanwhile."""
        with self._lock:
            return self._marks.setdefault(mark.key, mark)


class Timed(NamedTuple):
    """`contracts.state.Snapshot` for engines that cannot tell: holds for a while, and until this process purges."""

    memory: Memory
    purges: int
    entry: Entry | None
    read: float
    """Monotonic seconds, before the entry was read."""
    until: float
    clock: Callable[[], float] = time.monotonic

    def left(self) -> float:
        """See `contracts.state.Snapshot`."""
        now = self.clock()
        if now >= self.until or self.memory.purges != self.purges:
            return 0.0
        return math.inf if self.entry is None or self.entry.ttl is None else self.read + self.entry.ttl - now
