"""What a worker heeds of purges with numbers, which concern the answers on disk (see `cache.disk.purge_log`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from edgewise.cache.purges import Mark, Purges
from edgewise.router.caching import Caches

if TYPE_CHECKING:
    from edgewise.cache.disk.store import DiskStore


class NumberedPurges:
    """Kept up to date whether or not a route caches, since one may from the next reload on."""

    def __init__(self, purges: Purges | None, *, caught_up: bool) -> None:
        """`purges` as the supervisor had them at the fork, None where it gives no numbers.

        Until it is `caught_up` nothing is used from disk.
        """
        self._numbering = purges is not None
        self._purges = purges if purges is not None else Purges()
        self._behind = not caught_up
        self._pending = int(self._behind)
        self._disk: DiskStore | None = None

    def attach(self, caches: object) -> None:
        """Have the disk store of a table's caches heed them, where there is one."""
        self._disk = caches.disk if isinstance(caches, Caches) else None
        if self._disk is not None:
            self._disk.purges = self._purges
            self._disk.pending = self._pending

    def told(self) -> None:
        """A purge of this worker is on its way to get its number."""
        if self._numbering:
            self._wait(1)

    def numbered(self, marks: Iterable[Mark]) -> None:
        """It got its number."""
        self.take(marks)
        self._wait(-1)

    def take(self, marks: Iterable[Mark]) -> None:
        """Heed purges."""
        for mark in marks:
            self._purges.restore(mark)

    def forget(self, epoch: int) -> None:
        """Forget the purges up to `epoch`."""
        self._purges.forget(epoch)

    def caught_up(self) -> None:
        """This node has heard what others purged while it was away, or validates what it has."""
        if self._behind:
            self._behind = False
            self._wait(-1)

    def _wait(self, change: int) -> None:
        self._pending += change
        if self._disk is not None:
            self._disk.pending = self._pending
