"""The store in memory of one worker: bounded by bytes, evicting by SIEVE, purged by epochs."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from edgewise.cache.admission import Probation
from edgewise.cache.purges import GONE, Purge, Purges
from edgewise.cache.request import CacheRequest
from edgewise.cache.sieve import Sieve
from edgewise.cache.stored import Stored

MOST_VARIANTS = 64
"""Of one key; the oldest goes first. A flood of made-up field values takes the place of nothing else."""
MOST_VARY = 4
"""Different Vary fields that answers under one key had."""


def recency(stored: Stored) -> tuple[float, float]:
    """Return what is greater for the later of two responses (RFC 9111 section 4.1)."""
    return stored.date, stored.received


class _Variants:
    """What there is under one key beside an answer that does not vary."""

    __slots__ = ("keys", "names")

    def __init__(self) -> None:
        self.names: list[tuple[bytes, ...]] = []
        """The latest first."""
        self.keys: dict[bytes, None] = {}
        """The oldest first."""


class MemoryStore:
    """Finds, keeps and purges objects. Not for several threads.

    A fill takes `epoch` before its request goes out and gives it back to `put`.
    """

    __slots__ = (
        "_objects", "_order", "_purges", "_sweeping", "_sweeping_for", "_variants",
        "bytes", "evictions", "max_bytes",
    )  # fmt: skip

    def __init__(self, max_bytes: int, *, second_hit: bool = False) -> None:
        """`second_hit`: what was asked for once only gives way first (`Probation`)."""
        self.max_bytes = max_bytes
        """What objects may cost together."""
        self._objects: dict[bytes, Stored] = {}
        self._variants: dict[bytes, _Variants] = {}
        self._order: Sieve[Stored] = Probation(max_bytes) if second_hit else Sieve()
        self._purges = Purges()
        self._sweeping: Stored | None = None
        """The object that the sweep looks at next."""
        self._sweeping_for = 0
        """The last purge when the sweep began."""
        self.bytes = 0
        """What the objects are taken to cost."""
        self.evictions = 0
        """Objects that gave way to others."""

    def __len__(self) -> int:
        return len(self._objects)

    @property
    def epoch(self) -> int:
        """The epoch for a fill that begins now."""
        return self._purges.epoch

    # ---- finding -----------------------------------------------------------------------------------------------------

    def find(self, request: CacheRequest) -> Stored | None:
        """Return the response stored for this request, of several the latest (RFC 9111 section 4.1); None: none."""
        stored = self._objects.get(request.key)
        if stored is not None and stored.checked != self._purges.epoch and not self._holds(stored):
            stored = None
        if self._variants and (variants := self._variants.get(request.key)) is not None:
            for names in variants.names:
                variant = self._objects.get(request.variant(names))
                if variant is not None and self._holds(variant):
                    stored = variant if stored is None else max(stored, variant, key=recency)
        if stored is not None:
            stored.visited = True
        return stored

    def get(self, key: bytes) -> Stored | None:
        """Return the response under a key that stands for one variant, or for a slice; None: none."""
        stored = self._objects.get(key)
        if stored is None or not self._holds(stored):
            return None
        stored.visited = True
        return stored

    def under(self, key: bytes) -> list[Stored]:
        """Return all that is stored under a request's key, variants included."""
        variants = self._variants.get(key)
        keys = [key] if variants is None else [key, *variants.keys]
        found = [self._objects[each] for each in keys if each in self._objects]
        return [stored for stored in found if self._holds(stored)]

    def varies(self, request: CacheRequest) -> bool:
        """Are there responses under its key, only for other variants (Cache-Status: fwd=vary-miss)?"""
        return request.key in self._variants

    def unpurged(self, url: bytes, since: int) -> bool:
        """May a request that comes now be answered by a fill for `url` that began at the epoch `since`?

        Its tags are not known before its head is there: once any tag is purged, only what began later will do.
        """
        if since == self._purges.epoch:
            return True
        known = since >= self._purges.floor and since >= self._purges.tagged
        return known and self._purges.until(url, b"", since) == inf

    # ---- keeping -----------------------------------------------------------------------------------------------------

    def put(self, stored: Stored, epoch: int) -> bool:
        """Keep a response whose request went out at `epoch`; False where it was purged since, or does not fit.

        Nor is one kept that is older than what is there.
        """
        before = self._objects.get(stored.key)
        size = stored.size
        if epoch < self._purges.floor or self.too_small_for(stored):
            return False
        stored.checked = epoch
        if not self._apply_purges(stored) or (before is not None and before.received > stored.received):
            return False
        if before is not None:
            stored.visited = before.visited
            self.discard(before)
        self._make_room(size)
        self._insert(stored, size)
        return True

    def amend(self, stored: Stored, change: Callable[[], None]) -> bool:
        """Change what an object costs, in what clients see of it; False, and nothing is done, where it is gone."""
        if self._objects.get(stored.key) is not stored:
            return False
        self.bytes -= stored.size
        change()
        self.bytes += stored.size
        self._make_room(0)
        return True

    def resize(self, max_bytes: int, most: int) -> bool:
        """Have another bound, and evict up to `most` objects for it; False: call again, there are more of them.

        Until then the bound is what there is, so that nobody who keeps something has to evict all of them at once.
        """
        while most > 0 and self.bytes > max_bytes:
            self.discard(self._order.victim())
            self.evictions += 1
            most -= 1
        self.max_bytes = max(max_bytes, self.bytes)
        if isinstance(self._order, Probation):
            self._order.resize(self.max_bytes)
        return self.max_bytes == max_bytes

    def _make_room(self, size: int) -> None:
        while self.bytes + size > self.max_bytes:
            self.discard(self._order.victim())
            self.evictions += 1

    def too_small_for(self, stored: Stored) -> bool:
        """Could it not be kept even if nothing else was?"""
        return stored.size > self.max_bytes

    def discard(self, stored: Stored) -> None:
        """Forget a response; nothing where it is not there any more."""
        if self._objects.get(stored.key) is not stored:
            return
        if self._sweeping is stored:
            self._sweeping = stored.newer
        del self._objects[stored.key]
        self._order.remove(stored)
        self.bytes -= stored.size
        if stored.vary:
            variants = self._variants[stored.primary]
            del variants.keys[stored.key]
            if not variants.keys:
                del self._variants[stored.primary]

    def _insert(self, stored: Stored, size: int) -> None:
        if stored.vary:
            self._register(stored)
        self._objects[stored.key] = stored
        self._order.add(stored)
        self.bytes += size

    def _register(self, stored: Stored) -> None:
        variants = self._variants.get(stored.primary)
        if variants is not None and len(variants.keys) >= MOST_VARIANTS:
            self.discard(self._objects[next(iter(variants.keys))])
            variants = self._variants.get(stored.primary)
        if variants is None:
            variants = self._variants[stored.primary] = _Variants()
        if stored.vary in variants.names:
            variants.names.remove(stored.vary)
        variants.names.insert(0, stored.vary)
        del variants.names[MOST_VARY:]
        variants.keys[stored.key] = None

    # ---- purging -----------------------------------------------------------------------------------------------------

    def purge(self, purge: Purge, now: float) -> int:
        """Purge at `now` (seconds since the epoch); return the epoch, after which nothing purged is found any more."""
        if self._purges.crowded:
            # Enough that a whole sweep ends long before there is no room: a purge never has to wait for one.
            self.sweep(2 * len(self._objects) // max(self._purges.room, 1) + 1)
        return self._purges.apply(purge, now)

    def count(self, purges: list[Purge]) -> int:
        """Return how many objects purges would concern; walks through all of them."""
        alone = Purges()
        for purge in purges:
            alone.apply(purge, 0.0)
        concerned = [stored for stored in self._order if alone.until(stored.url, stored.tags, 0) != inf]
        return sum(self._holds(stored) for stored in concerned)

    def sweep(self, most: int) -> bool:
        """Compare up to `most` objects with the purges, so that what was purged gives its memory back.

        True where the last object was reached; then purges that all objects were compared with are forgotten, if there
        are many. The next sweep begins anew.
        """
        if self._sweeping is None:
            self._sweeping, self._sweeping_for = self._order.oldest, self._purges.epoch
        for _ in range(most):
            stored = self._sweeping
            if stored is None:
                break
            self._sweeping = stored.newer
            self._holds(stored)
        if self._sweeping is not None:
            return False
        if self._purges.crowded:
            self._purges.forget(self._sweeping_for)
        return True

    def _holds(self, stored: Stored) -> bool:
        """Compare an object with the purges since it was last compared; discard it where it is gone."""
        if stored.checked == self._purges.epoch or self._apply_purges(stored):
            return True
        self.discard(stored)
        return False

    def _apply_purges(self, stored: Stored) -> bool:
        until = self._purges.until(stored.url, stored.tags, stored.checked)
        stored.checked = self._purges.epoch
        stored.fresh_until = min(stored.fresh_until, until)
        return until != GONE
