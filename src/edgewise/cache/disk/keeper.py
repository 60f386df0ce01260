"""Keeps a cache directory within its bound, and free of what was purged: a thread of the control process.

It has no list of what is stored. It counts bucket by bucket, adds what workers say they wrote, and where that is too
much removes of the next buckets what was not used for the longest time: names are hashes, so any bucket is a sample.
"""

from __future__ import annotations

import logging
import os
from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from pathlib import Path
from threading import Event, Lock, Thread, get_native_id
from time import monotonic
from typing import NamedTuple

from edgewise.cache.disk.bucket import Bucket
from edgewise.cache.disk.layout import BUCKETS, Head
from edgewise.cache.purges import GONE, Mark, Purge, Purges

log = logging.getLogger("edgewise.cache")
_ENOUGH = 0.95
"""Share of the bound down to which room is made."""
_SAMPLE = 256
"""Objects at least of which the least used ones are chosen."""
_MOST_AT_ONCE = 0.5
"""Share of a sample that is removed at most."""
_LOOK = 0.25
"""Seconds between two looks at how much there is."""
_IDLE = 4
"""Looks for each bucket that is visited though there is no need: all of them in 70 minutes."""
_AGAIN = 5.0
"""Seconds after which all is counted again at the earliest, where much was written since."""
_MUCH = 1 / 16
"""Share of what there is."""
_LONGEST_PAUSE = 0.05
_NICE = 10
_QUIET = 60.0
"""Seconds between two words about a directory that cannot be read."""


class Growth(NamedTuple):
    """What workers wrote and removed since the start."""

    bytes: int
    entries: int


class Counted(NamedTuple):
    """What purges would concern."""

    objects: int
    exact: bool
    """False: estimated, from as many buckets as there was time for."""


class Keeper:
    """Runs from `start` to `close`; the other methods are for any thread."""

    def __init__(
        self,
        directory: Path,
        most: int,
        purges: Purges,
        growth: Callable[[], Growth],
        swept: Callable[[int], None],
    ) -> None:
        """Keep `directory` below `most` bytes. `purges` is its own from now on.

        `swept(epoch)` is called in its thread: every entry was compared with the purges up to there.
        """
        self._directory = directory
        self._most = most
        self._purges = purges
        self._lock = Lock()
        """Held while `_purges` is used."""
        self._growth = growth
        self._swept = swept
        now = growth()
        self._bytes, self._entries = _Sum(now.bytes), _Sum(now.entries)
        self._next = 0
        """The bucket that is visited next."""
        self._counted = 0
        """Buckets that were counted since the counting began, up to all."""
        self._counting = monotonic(), now.bytes
        """When that was, and the growth up to then."""
        self._sweep: tuple[int, int] | None = None
        """The last purge when the sweep began, and the buckets that are left of it."""
        self._swept_to = 0
        self._looks = 0
        self._complained = -_QUIET
        self._stop = Event()
        self._thread: Thread | None = None
        self.evictions = 0
        """Objects that gave way to others."""

    def start(self) -> None:
        """Begin."""
        self._thread = Thread(target=self._run, name="edgewise-cache-keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, after the bucket that it is at."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_LOOK)

    @property
    def bytes(self) -> int:
        """Bytes of disk that all files take; less than that while they are counted after the start."""
        return self._bytes.now(self._growth().bytes)

    @property
    def entries(self) -> int:
        """How many entries there are, with the same reserve."""
        return self._entries.now(self._growth().entries)

    # ---- purging -----------------------------------------------------------------------------------------------------

    def purged(self, marks: Iterable[Mark]) -> None:
        """Heed purges."""
        with self._lock:
            for mark in marks:
                self._purges.restore(mark)

    def forget(self, epoch: int) -> None:
        """Forget the purges up to `epoch`."""
        with self._lock:
            self._purges.forget(epoch)

    def count(self, purges: Iterable[Purge], seconds: float) -> Counted:
        """Count what purges would concern, for so long at most."""
        wanted, found, deadline = Purges(), 0, monotonic() + seconds
        for purge in purges:
            wanted.apply(purge, 0.0)
        for number in range(BUCKETS):
            if monotonic() > deadline:
                return Counted(round(found * BUCKETS / max(number, 1)), False)
            with suppress(OSError):
                heads = Bucket(self._directory, number).heads()
                found += sum(self._concerns(wanted, head) for head in heads)
        return Counted(found, True)

    def _concerns(self, wanted: Purges, head: Head) -> bool:
        said = head.metadata
        return bool(said.status) and wanted.until(said.url, said.tags, 0) != inf and self._compare(head) is not None

    def _compare(self, head: Head) -> tuple[int, float] | None:
        """Return the stamp of an entry after a comparison with all purges; None where it is gone."""
        with self._lock:
            if head.epoch < self._purges.floor:
                return None
            until = self._purges.until(head.metadata.url, head.metadata.tags, head.epoch)
            if until == GONE:
                return None
            return max(head.epoch, self._purges.epoch), min(head.fresh_until, until)

    # ---- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICE)  # of this thread alone
        while not self._stop.is_set():
            began = monotonic()
            try:
                busy = self.turn()
            except Exception:  # a defect must not have the disk fill up
                log.exception("the keeper of the cache directory failed, and begins anew")
                busy = False
            # No more than half of the time, so that the control process has the rest.
            self._stop.wait(min(monotonic() - began, _LONGEST_PAUSE) if busy else _LOOK)

    def turn(self) -> bool:
        """Do one piece of work; False where there is nothing urgent."""
        if self.bytes > self._most:
            self._make_room()
        elif self._counts():
            self._visit(compare=False)
        elif self._sweeps():
            self._visit(compare=True)
        else:
            self._looks += 1
            if self._looks % _IDLE == 0:
                self._visit(compare=True)
            return False
        return True

    def _counts(self) -> bool:
        """Is all to be counted: at the start, and where so much was written since that its place matters?"""
        if self._counted < BUCKETS:
            return True
        now, (began, growth) = monotonic(), self._counting
        written = abs(self._growth().bytes - growth)
        if written <= _MUCH * self.bytes or now - began < _AGAIN:
            return False
        self._counting = now, self._growth().bytes
        self._counted = 0
        return True

    def _sweeps(self) -> bool:
        """Is every entry to be compared with the purges, so that these can be forgotten?"""
        with self._lock:
            due = self._purges.crowded and self._purges.floor >= self._swept_to
            if self._sweep is None and due:
                self._sweep = self._purges.epoch, BUCKETS
        return self._sweep is not None

    def _visit(self, *, compare: bool) -> tuple[int, Bucket] | None:
        """Count the next bucket, without what was purged where it is to be compared; None where it cannot be read."""
        number, self._next = self._next, (self._next + 1) % BUCKETS
        growth = self._growth()
        bucket = None
        try:
            bucket = Bucket(self._directory, number)
            if compare:
                bucket.compare(self._compare, stamp=self._sweep is not None)
            self._bytes.set(number, bucket.size, growth.bytes)
            self._entries.set(number, bucket.entries, growth.entries)
        except OSError as error:
            self._complain(error)
        self._counted = min(self._counted + 1, BUCKETS)
        if compare and self._sweep is not None:
            epoch, left = self._sweep
            self._sweep = (epoch, left - 1) if left > 1 else None
            if self._sweep is None:
                self._swept_to = epoch
                self._swept(epoch)
        return None if bucket is None else (number, bucket)

    def _make_room(self) -> None:
        """Remove the least used of the next objects, more of them the more there is above the bound."""
        sample = []
        for _ in range(BUCKETS):
            found = self._visit(compare=True)
            if found is not None:
                number, bucket = found
                sample += [(each.used, name, number, bucket) for name, each in bucket.objects.items() if each.entry]
            if len(sample) >= _SAMPLE or self._stop.is_set():
                break
        enough, total = int(_ENOUGH * self._most), self.bytes
        share = min(4 * (total - enough) / max(total, 1), _MOST_AT_ONCE)
        for _, name, number, bucket in sorted(sample, key=lambda each: each[:2])[: int(share * len(sample)) + 1]:
            if self.bytes <= enough:
                return
            freed = bucket.remove(name)
            self._bytes.add(number, -freed)
            if freed:
                self._entries.add(number, -1)
                self.evictions += 1

    def _complain(self, error: OSError) -> None:
        if monotonic() - self._complained >= _QUIET:
            self._complained = monotonic()
            log.error("the cache directory cannot be read: %s", error)


class _Sum:
    """What is in all buckets: of each as it was counted last, and its part of the growth since."""

    def __init__(self, growth: int) -> None:
        self._in = array("q", bytes(8 * BUCKETS))
        self._at = array("q", [growth] * BUCKETS)
        """The growth when the bucket was counted."""
        self._total = 0
        self._grown = growth * BUCKETS

    def set(self, bucket: int, counted: int, growth: int) -> None:
        """Take what was counted in a bucket."""
        self.add(bucket, counted - self._in[bucket])
        self._grown += growth - self._at[bucket]
        self._at[bucket] = growth

    def add(self, bucket: int, amount: int) -> None:
        """Add to what was counted."""
        self._in[bucket] += amount
        self._total += amount

    def now(self, growth: int) -> int:
        """Return what there is now."""
        return max(self._total + growth - self._grown // BUCKETS, 0)
