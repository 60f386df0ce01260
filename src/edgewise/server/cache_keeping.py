"""The control process's part in the answers on disk: their keeper, what is counted of them, what is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.admin.control import DiskStatus
from edgewise.cache.disk.keeper import Counted, Growth, Keeper
from edgewise.cache.purges import Mark, Purge, Purges
from edgewise.router.caching import purges, url_rules
from edgewise.server import messages as m
from edgewise.telemetry.layout import WorkerSample

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.telemetry.layout import MetricsMemory

_COUNTING = 15.0
"""Seconds for which is counted what a purge would concern."""
_WRITTEN, _REMOVED, _ADDED, _LOST = map(
    WorkerSample._fields.index, ("disk_written", "disk_removed", "disk_added", "disk_lost")
)


class CacheKeeping:
    """Runs from `start` to `close`."""

    def __init__(
        self, config: Config, memory: MetricsMemory, numbered: Purges, send: Callable[[m.ToSupervisor], None]
    ) -> None:
        """`numbered` are the purges as they were at the fork."""
        assert config.cache.directory is not None
        self._memory = memory
        self._most = config.cache.disk
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._keeper = Keeper(Path(config.cache.directory), self._most, numbered, self._growth, self._compared)

    def start(self) -> None:
        """Begin."""
        self._keeper.start()

    def close(self) -> None:
        """Stop."""
        self._keeper.close()

    def numbered(self, marks: Iterable[Mark]) -> None:
        """Heed purges."""
        self._keeper.purged(marks)

    def forget(self, epoch: int) -> None:
        """Forget the purges up to `epoch`."""
        self._keeper.forget(epoch)

    async def count(self, specs: list[m.PurgeSpec], config: Config) -> Counted:
        """Count what purges would concern, as the routes of `config` read URLs. Raises ValueError."""
        reading = list(url_rules(config).values())
        wanted: list[Purge] = []
        for spec in specs:
            wanted += purges(spec.kind, spec.value, soft=False, reading=reading)
        return await asyncio.to_thread(self._keeper.count, wanted, _COUNTING)

    def status(self) -> DiskStatus:
        """Return how much there is."""
        keeper = self._keeper
        written = self._memory.workers.sum(_WRITTEN)
        return DiskStatus(self._most, keeper.bytes, keeper.entries, keeper.evictions, written)

    def _growth(self) -> Growth:
        workers = self._memory.workers
        return Growth(
            workers.sum(_WRITTEN) - workers.sum(_REMOVED),
            workers.sum(_ADDED) - workers.sum(_LOST),
        )

    def _compared(self, epoch: int) -> None:
        self._loop.call_soon_threadsafe(self._send, m.EntriesCompared(epoch))
