"""Which keys were written, told by the writer to readers in shared memory: what was read can be known to hold.

A file of counters that all processes map; keys share them by a hash. The writer makes the counters of a batch's keys
odd before it commits and even again after, before it acknowledges anything. So while a counter that was even before a
read is the same as it was, no write of the key has been acknowledged since, or could have been seen by another reader.
A writer that is killed in between leaves the counter odd: nothing read is taken to hold until the next one starts.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from zlib import crc32

from edgewise.contracts.state import Entry

_SLOTS = 65_536
_SIZE = _SLOTS * 8
_FILE = "changes"
_LOOK = 1.0
"""Seconds between two looks at whether the file is still the one that was mapped."""
_NEVER = memoryview(bytes(_SIZE)).cast("Q")
"""Counts that nothing was ever read under."""


def slot_of(key: str) -> int:
    """Return the number of a key's counter."""
    return crc32(key.encode()) % _SLOTS


class Announcements:
    """The writer's side. Raises OSError where the file cannot be made."""

    def __init__(self, directory: Path) -> None:
        path = directory / _FILE
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size != _SIZE:
                path.unlink()  # of another version; cut or grown in place, it would end those who map it
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _SIZE)  # now, as a page that a full disk has no room for ends a process
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._counts = memoryview(self._map).cast("Q")
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Let nothing hold that was read before: anything may have been done to the files while nobody wrote.

        A new file begins at the time, so that no count of an earlier one comes again.
        """
        least = time.time_ns() // 1000
        counts = self._counts
        for slot in range(_SLOTS):
            counts[slot] = (max(counts[slot], least) | 1) + 1

    def begin(self, slots: Iterable[int]) -> None:
        """Announce that these are about to be committed."""
        counts = self._counts
        for slot in slots:
            counts[slot] += 1

    end = begin
    """Announce that they were, or were not."""

    def close(self) -> None:
        """Let go of the file; nothing that was read under it stops to hold."""
        self._counts.release()
        self._map.close()


class Changes:
    """The readers' side, one for all snapshots of a reader."""

    __slots__ = ("_identity", "_path", "clock", "counts", "look_at")

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        """`clock` returns seconds since the boot."""
        self._path = directory / _FILE
        self._identity: tuple[int, int] | None = None
        self.clock = clock
        self.counts = _NEVER
        self.look_at = -math.inf

    def look(self, now: float) -> None:
        """Map the file that is there, where it is another than before: nothing read until then holds."""
        self.look_at = now + _LOOK
        try:
            found = self._path.stat()
        except OSError:
            self.counts, self._identity = _NEVER, None
            return
        if (found.st_dev, found.st_ino) != self._identity:
            self.counts, self._identity = _NEVER, None
            with contextlib.suppress(OSError, ValueError):
                self._open()

    def _open(self) -> None:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            found = os.fstat(descriptor)
            if found.st_size == _SIZE:
                self.counts = memoryview(mmap.mmap(descriptor, _SIZE, access=mmap.ACCESS_READ)).cast("Q")
                self._identity = (found.st_dev, found.st_ino)
        finally:
            os.close(descriptor)

    def count(self, slot: int) -> int:
        """Return what to compare with later; a count that never comes where nothing that is read now would hold."""
        now = self.clock()
        if now >= self.look_at:
            self.look(now)
        count = self.counts[slot]
        return -1 if count & 1 or not count else count


class SqliteSnapshot:
    """`contracts.state.Snapshot` of a key in the files."""

    __slots__ = ("_changes", "_count", "_ends", "_slot", "entry")

    def __init__(self, changes: Changes, slot: int, count: int, read: float, entry: Entry | None) -> None:
        """`count` was taken at `read`, both before the entry."""
        self._changes = changes
        self._slot = slot
        self._count = count
        self._ends = math.inf if entry is None or entry.ttl is None else read + entry.ttl
        self.entry = entry

    def left(self) -> float:
        """Return the seconds that the entry lives on; 0 or less: read again."""
        changes = self._changes
        now = changes.clock()
        if now >= changes.look_at:
            changes.look(now)
        return self._ends - now if changes.counts[self._slot] == self._count else 0.0
