"""The observers of a worker: made from the configuration, joined to the routes, ticked and flushed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from edgewise.http.masking import Masking
from edgewise.router.caching import Caches
from edgewise.server.log_choice import Log, LogChoice
from edgewise.telemetry.access_log import AccessLog
from edgewise.telemetry.decision_log import DecisionLog
from edgewise.telemetry.layout import MetricsMemory, WorkerSample
from edgewise.telemetry.metrics import MetricsObserver

if TYPE_CHECKING:
    from edgewise.config.authorize import DecisionLog as DecisionLogSpec
    from edgewise.config.schema import AccessLog as AccessLogSpec
    from edgewise.config.schema import Config
    from edgewise.contracts.observer import Observer
    from edgewise.contracts.table import Table

log = logging.getLogger("edgewise.worker")
Figures = Callable[[], tuple[int, int, int, int, int, int, int, int]]
Spec: TypeAlias = "tuple[AccessLogSpec, tuple[str, ...]]"
"""The table of the log, and the names of the parameters whose values are secrets."""


class Observers:
    """Metrics always, logs where they are configured. A change is prepared, then committed or aborted."""

    def __init__(self, memory: MetricsMemory, slot: int, figures: Figures) -> None:
        self._figures = figures
        self._metrics = MetricsObserver(memory, slot, self._sample)
        self._access: LogChoice[Spec] = LogChoice(_access_log)
        self._decisions: LogChoice[DecisionLogSpec] = LogChoice(_decision_log)
        self._caches: Caches | None = None

    def _sample(self) -> WorkerSample:
        connections, active, memo, accepted, hits, misses, refused, given_up = self._figures()
        size, objects, evictions = (0, 0, 0) if self._caches is None else self._caches.figures()
        disk = (0, 0, 0, 0) if self._caches is None else self._caches.disk_figures()
        dropped = sum(log.dropped for log in self._logs)
        now = (connections, active, memo, size, objects)
        return WorkerSample(*now, accepted, hits, misses, refused, given_up, dropped, evictions, *disk)

    @property
    def _logs(self) -> list[Log]:
        return [*self._access.logs, *self._decisions.logs]

    def prepare(self, config: Config) -> None:
        """Open the logs of the coming generation, if they are others. Raises OSError."""
        self.abort()
        self._access.prepare((config.access_log, tuple(config.secret_parameters())), config.access_log.path)
        self._decisions.prepare(config.decision_log, config.decision_log.path)

    def abort(self) -> None:
        """Forget what was prepared."""
        self._access.abort()
        self._decisions.abort()

    def commit(self, table: Table) -> None:
        """Join the observers to every route of `table`."""
        self._caches = table.caches if isinstance(table.caches, Caches) else None
        self._access.commit()
        self._decisions.commit()
        observers: list[Observer] = [self._metrics]
        observers += [self._access.log] if self._access.log is not None else []
        done = tuple(observer.done for observer in observers)
        decided = () if self._decisions.log is None else (self._decisions.log.done,)
        layer_4 = (tcp.route for tcp in table.tcp.values())
        for route in (*table.routes, *table.own_routes, table.unmatched, *layer_4):
            route.done = done + decided if route.decides else done
            route.progress = (self._metrics.progress,)
        self.watch(table)

    def watch(self, table: Table) -> None:
        """Publish the figures of the endpoints that the upstreams of `table` have now."""
        self._metrics.watch(endpoint for upstream in table.upstreams.values() for endpoint in upstream.endpoints)

    def tick(self, now: float) -> None:
        """Flush what was recorded; runs about four times a second."""
        for one in self._logs:
            one.tick(now)
        self._metrics.tick(now)

    def reopen(self) -> None:
        """Open the log files anew, after rotation."""
        for one in self._logs:
            try:
                one.reopen()
            except OSError as error:
                log.error("a log stays as it was: %s", error)

    def close(self) -> None:
        """Flush what is left."""
        for one in self._logs:
            one.close()
        self._metrics.close()


def _access_log(spec: Spec) -> AccessLog | None:
    log, secrets = spec
    return None if log.path == "off" else AccessLog(log.path, log.format, Masking(secrets, log.show))


def _decision_log(spec: DecisionLogSpec) -> DecisionLog | None:
    return None if spec.path == "off" else DecisionLog(spec.path, all=spec.of == "all")
