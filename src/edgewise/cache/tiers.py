"""Memory over disk: what a worker stores, as the routes that cache see it."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, NamedTuple

from edgewise.cache.memory import MemoryStore, recency
from edgewise.cache.purges import Purge
from edgewise.cache.request import CacheRequest
from edgewise.cache.stored import Stored

if TYPE_CHECKING:
    from edgewise.cache.disk.store import DiskStore

_LOOKED = 1.0
"""Seconds for which a stale object is not looked for on disk again, where another worker may have renewed it."""
_USED = 600.0
"""Seconds after which the disk is told that an object is in use which memory answers with."""


class Epoch(NamedTuple):
    """What was purged when a fill began."""

    memory: int
    disk: int


class Tiers:
    """Finds, keeps and purges objects, as a `MemoryStore` does; with a disk, what memory has not is looked for there.

    What is found on disk is put into memory. Large objects have only their description there (`Stored.file`).
    """

    __slots__ = ("disk", "memory")

    def __init__(self, memory: MemoryStore, disk: DiskStore | None = None) -> None:
        self.memory = memory
        self.disk = disk

    @property
    def epoch(self) -> Epoch:
        """The epoch for a fill that begins now."""
        return Epoch(self.memory.epoch, 0 if self.disk is None else self.disk.epoch)

    def unpurged(self, url: bytes, since: Epoch) -> bool:
        """As `MemoryStore.unpurged`."""
        return self.memory.unpurged(url, since.memory)

    # ---- finding -----------------------------------------------------------------------------------------------------

    def find(self, request: CacheRequest, now: float) -> Stored | None:
        """Return the response stored for this request; where that is stale, a later one that another worker stored."""
        stored = self.memory.find(request)
        if self.disk is None or not _wanting(stored, now):
            return stored
        return self._promoted(self.disk.find(request), stored)

    def get(self, key: bytes) -> Stored | None:
        """Return the response stored under exactly this key."""
        stored = self.memory.get(key)
        if self.disk is None or not _wanting(stored, time()):
            return stored
        return self._promoted(self.disk.get(key), stored)

    def _promoted(self, found: Stored | None, stored: Stored | None) -> Stored | None:
        """Take what was found on disk into memory, unless that is no later than what is there."""
        if found is None or (stored is not None and recency(found) <= recency(stored)):
            return stored
        # It was compared with all purges that have a number, and is found only while memory knows no others.
        self.memory.put(found, self.memory.epoch)
        return found

    def used(self, stored: Stored, now: float) -> None:
        """Memory answers with an object: let the disk know now and then. Costs a comparison otherwise."""
        if self.disk is not None and now - stored.looked > _USED:
            stored.looked = now
            self.disk.touch(stored)

    def under(self, key: bytes) -> tuple[list[Stored], list[Stored]]:
        """Return what is stored under a request's key, variants included: in memory, and on disk."""
        return self.memory.under(key), [] if self.disk is None else self.disk.under(key)

    # ---- keeping -----------------------------------------------------------------------------------------------------

    def put(self, stored: Stored, epoch: Epoch) -> bool:
        """Keep a response whose request went out at `epoch`; False where no tier keeps it.

        It was purged since, is older than what is there, or does not fit.
        """
        kept = self.memory.put(stored, epoch.memory)
        if self.disk is None or not (kept or self.memory.too_small_for(stored)):
            return kept
        return self.disk.put(stored, epoch.disk) or kept

    def discard(self, stored: Stored) -> None:
        """Forget a response."""
        self.memory.discard(stored)
        if self.disk is not None:
            self.disk.discard(stored)

    def purge(self, purge: Purge, now: float) -> int:
        """Purge what is in memory; what is on disk is purged once it has a number, and not found before."""
        return self.memory.purge(purge, now)


def _wanting(stored: Stored | None, now: float) -> bool:
    """Is it worth looking on disk? Notes that it is."""
    if stored is None:
        return True
    if now < stored.fresh_until or now - stored.looked < _LOOKED:
        return False
    stored.looked = now
    return True
