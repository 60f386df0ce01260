"""Counts exchanges: list increments while requests run, added to shared memory four times a second."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from operator import add
from typing import TYPE_CHECKING

from edgewise.telemetry.layout import (
    BUCKETS,
    CACHED,
    CALLS,
    CLASS_START,
    FAILURES,
    GRPC_STATUSES,
    REFUSED,
    REQUEST_BYTES,
    REQUESTS,
    RESPONSE_BYTES,
    RETRIES,
    ROUTE,
    SCHEME,
    SUM,
    SUMS,
    TUNNELS,
    WORKER_GAUGES,
    MetricsMemory,
    WorkerSample,
)

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Endpoint
    from edgewise.contracts.exchange import Exchange


class MetricsObserver:
    """The counters of one worker: a `contracts.observer.Observer` for every route.

    Route figures go to the row `route.index`, endpoint figures to the row `endpoint.slot`; what lies outside the
    shared memory (an index or slot of -1) is not counted. `sample` says how the worker is doing, on each tick.
    """

    __slots__ = ("_endpoints", "_memory", "_open", "_routes", "_sample", "_sample_base", "_tunnels", "_worker")

    def __init__(self, memory: MetricsMemory, worker: int, sample: Callable[[], WorkerSample] = WorkerSample) -> None:
        self._memory = memory
        self._worker = worker
        self._sample = sample
        self._routes: dict[int, list[int | float]] = {}
        """Counts since the last tick, only of routes that had any."""
        self._tunnels: dict[Exchange, tuple[int, int]] = {}
        """Bytes of each open tunnel that are counted already: requested, answered."""
        self._open: Counter[int] = Counter()
        """Open tunnels by route, those of routes whose last one closed since the last tick included."""
        self._endpoints: dict[int, _EndpointRow] = {}
        self._sample_base = memory.workers.row(worker)[:REQUESTS].tolist()

    def watch(self, endpoints: Iterable[Endpoint]) -> None:
        """Publish the figures of these endpoints and no others, from the next tick on. Run at start and reload."""
        self._publish_endpoints()
        shared = [endpoint for endpoint in endpoints if 0 <= endpoint.slot < self._memory.endpoints.capacity]
        self._endpoints = {endpoint.slot: self._row_of(endpoint) for endpoint in shared}

    def done(self, exchange: Exchange) -> None:
        """Count a finished exchange."""
        index = exchange.route.index
        cells = self._routes.get(index)
        if cells is None:
            cells = self._routes[index] = [0] * ROUTE
        seconds = exchange.ended - exchange.started
        start = CLASS_START[exchange.status]
        if exchange.client.tls:
            start += SCHEME
        cells[start + bisect_left(BUCKETS, seconds)] += 1
        cells[start + SUM] += seconds
        cells[RESPONSE_BYTES] += exchange.response_bytes
        if exchange.request_bytes:
            cells[REQUEST_BYTES] += exchange.request_bytes
        if self._tunnels and exchange in self._tunnels:
            self._tunnel_closed(exchange, cells)
        if exchange.attempts > 1:
            cells[RETRIES] += exchange.attempts - 1
        if exchange.end:
            cells[FAILURES] += 1
        if exchange.grpc is not None and exchange.grpc.status is not None:
            cells[CALLS + min(exchange.grpc.status, len(GRPC_STATUSES) - 1)] += 1
        if exchange.cached:
            cells[CACHED - 1 + exchange.cached] += 1
        if exchange.refused:
            cells[REFUSED - 1 + exchange.refused] += 1

    def progress(self, exchange: Exchange) -> None:
        """Count what an open tunnel relayed since the last time; its first time is its beginning."""
        index = exchange.route.index
        if exchange not in self._tunnels:
            self._open[index] += 1
        requested, answered = self._tunnels.get(exchange, (0, 0))
        cells = self._routes.setdefault(index, [0] * ROUTE)
        cells[REQUEST_BYTES] += exchange.request_bytes - requested
        cells[RESPONSE_BYTES] += exchange.response_bytes - answered
        self._tunnels[exchange] = exchange.request_bytes, exchange.response_bytes

    def _tunnel_closed(self, exchange: Exchange, cells: list[int | float]) -> None:
        """Take back what was counted while the tunnel was open."""
        requested, answered = self._tunnels.pop(exchange)
        cells[REQUEST_BYTES] -= requested
        cells[RESPONSE_BYTES] -= answered
        self._open[exchange.route.index] -= 1

    def tick(self, now: float) -> None:
        """Add what was counted since the last tick to shared memory."""
        routes, self._routes = self._routes, {}
        finished = sum(self._publish_route(index, cells) for index, cells in routes.items())
        self._publish_tunnels()
        self._publish_endpoints()
        self._publish_worker(finished)

    def close(self) -> None:
        """Publish what is left."""
        self.tick(0.0)

    def _is_shared(self, index: int) -> bool:
        return 0 <= index < self._memory.routes.size // ROUTE

    def _publish_tunnels(self) -> None:
        counts = self._memory.routes.row(self._worker)
        for index, number in list(self._open.items()):
            if self._is_shared(index):
                counts[index * ROUTE + TUNNELS] = number
            if not number:
                del self._open[index]

    def _publish_route(self, index: int, cells: list[int | float]) -> int:
        if not self._is_shared(index):
            return 0
        counts = self._memory.routes.row(self._worker)
        sums = self._memory.routes.float_row(self._worker)
        start = index * ROUTE
        finished = 0
        for offset in [offset for offset, value in enumerate(cells) if value]:
            if offset in SUMS:
                sums[start + offset] += cells[offset]
                continue
            counts[start + offset] += int(cells[offset])
            if offset < REQUEST_BYTES:
                finished += int(cells[offset])
        return finished

    def _publish_endpoints(self) -> None:
        for row in self._endpoints.values():
            row.publish()

    def _publish_worker(self, finished: int) -> None:
        row = self._memory.workers.row(self._worker)
        for index, value in enumerate(self._sample()):
            row[index] = value if index < WORKER_GAUGES else value + self._sample_base[index]
        row[REQUESTS] += finished

    def _row_of(self, endpoint: Endpoint) -> _EndpointRow:
        watched = self._endpoints.get(endpoint.slot)
        if watched is not None and watched.endpoint is endpoint:
            return watched
        return _EndpointRow(endpoint, self._memory.endpoints.cells(self._worker, endpoint.slot))


class _EndpointRow:
    """Copies one endpoint's figures to its cells, on top of what earlier workers counted there."""

    __slots__ = ("_base", "_cells", "_last", "endpoint")

    def __init__(self, endpoint: Endpoint, cells: memoryview[int]) -> None:
        self.endpoint = endpoint
        self._cells = cells
        _, _, _, _, *counted = cells.tolist()
        self._base = [before - now for before, now in zip(counted, self._counts(), strict=True)]
        self._last: tuple[int, ...] = ()

    def _counts(self) -> tuple[int, ...]:
        endpoint = self.endpoint
        return (endpoint.requests, endpoint.failures, endpoint.ejections, *endpoint.moved)

    def publish(self) -> None:
        endpoint = self.endpoint
        values = (
            endpoint.active,
            endpoint.connections,
            len(endpoint.waiting),
            int(endpoint.ejected),
            *map(add, self._base, self._counts()),
        )
        if values != self._last:
            self._cells[:] = memoryview(array("Q", values))
            self._last = values
