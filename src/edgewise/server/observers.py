"""The observers of a worker: made from the configuration, joined to the routes, ticked and flushed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from edgewise.http.masking import Masking
from edgewise.router.caching import Caches
from edgewise.telemetry.access_log import AccessLog
from edgewise.telemetry.layout import MetricsMemory, WorkerSample
from edgewise.telemetry.metrics import MetricsObserver

if TYPE_CHECKING:
    from edgewise.config.schema import AccessLog as AccessLogSpec
    from edgewise.config.schema import Config
    from edgewise.contracts.observer import Observer
    from edgewise.contracts.table import Table

log = logging.getLogger("edgewise.worker")
Figures = Callable[[], tuple[int, int, int, int, int, int, int, int]]
Spec: TypeAlias = "tuple[AccessLogSpec, tuple[str, ...]]"
"""The table of the log, and the names of the parameters whose values are secrets."""


class Observers:
    """Metrics always, an access log where one is configured. A change is prepared, then committed or aborted."""

    def __init__(self, memory: MetricsMemory, slot: int, figures: Figures) -> None:
        self._figures = figures
        self._metrics = MetricsObserver(memory, slot, self._sample)
        self._spec: Spec | None = None
        self._log: AccessLog | None = None
        self._caches: Caches | None = None
        self._next: tuple[Spec, AccessLog | None] | None = None
        self._replaced: list[AccessLog] = []
        """Logs of earlier generations: exchanges that began there still write to them."""

    def _sample(self) -> WorkerSample:
        connections, active, memo, accepted, hits, misses, refused, given_up = self._figures()
        size, objects, evictions = (0, 0, 0) if self._caches is None else self._caches.figures()
        disk = (0, 0, 0, 0) if self._caches is None else self._caches.disk_figures()
        dropped = sum(log.dropped for log in self._logs())
        now = (connections, active, memo, size, objects)
        return WorkerSample(*now, accepted, hits, misses, refused, given_up, dropped, evictions, *disk)

    def _logs(self) -> list[AccessLog]:
        return [*self._replaced, self._log] if self._log is not None else self._replaced

    def prepare(self, config: Config) -> None:
        """Open the log of the coming generation, if it is another one. Raises OSError."""
        self.abort()
        log, secrets = config.access_log, tuple(config.secret_parameters())
        if (log, secrets) != self._spec:
            try:
                self._next = ((log, secrets), _opened(log, secrets))
            except OSError as error:
                raise OSError(error.errno, f"cannot open {log.path}: {error.strerror}") from error

    def abort(self) -> None:
        """Forget what was prepared."""
        if self._next is not None and self._next[1] is not None:
            self._next[1].close()
        self._next = None

    def commit(self, table: Table) -> None:
        """Join the observers to every route of `table`."""
        self._caches = table.caches if isinstance(table.caches, Caches) else None
        if self._next is not None:
            if self._log is not None:
                self._replaced.append(self._log)
            (self._spec, self._log), self._next = self._next, None
        observers: list[Observer] = [self._metrics] if self._log is None else [self._metrics, self._log]
        done = tuple(observer.done for observer in observers)
        layer_4 = (tcp.route for tcp in table.tcp.values())
        for route in (*table.routes, *table.own_routes, table.unmatched, *layer_4):
            route.done = done
            route.progress = (self._metrics.progress,)
        self.watch(table)

    def watch(self, table: Table) -> None:
        """Publish the figures of the endpoints that the upstreams of `table` have now."""
        self._metrics.watch(endpoint for upstream in table.upstreams.values() for endpoint in upstream.endpoints)

    def tick(self, now: float) -> None:
        """Flush what was recorded; runs about four times a second."""
        for access_log in self._logs():
            access_log.tick(now)
        self._metrics.tick(now)

    def reopen(self) -> None:
        """Open the log files anew, after rotation."""
        for access_log in self._logs():
            try:
                access_log.reopen()
            except OSError as error:
                log.error("the access log stays as it was: %s", error)

    def close(self) -> None:
        """Flush what is left."""
        for access_log in self._logs():
            access_log.close()
        self._metrics.close()


def _opened(log: AccessLogSpec, secrets: tuple[str, ...]) -> AccessLog | None:
    return None if log.path == "off" else AccessLog(log.path, log.format, Masking(secrets, log.show))
