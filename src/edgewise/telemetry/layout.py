"""What each cell of the shared counters means."""

from __future__ import annotations

from typing import NamedTuple

from edgewise.contracts.cache import Result
from edgewise.contracts.policies import POLICIES
from edgewise.contracts.shared import EndpointGauges, SharedCounters
from edgewise.protocols.grpc import Status

BUCKETS: tuple[float, ...] = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds in seconds that OpenTelemetry advises for `http.server.request.duration`."""

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
"""Status classes; `other` is for exchanges that ended with no status from 100 to 599."""
SCHEMES = ("http", "https")

HISTOGRAM = len(BUCKETS) + 2
"""Cells of one histogram: a count for each bucket, one for what is above them all, then the sum (a double)."""
SUM = HISTOGRAM - 1
SCHEME = HISTOGRAM * len(CLASSES)
"""Cells of the histograms of one scheme."""

REQUEST_BYTES = SCHEME * len(SCHEMES)
RESPONSE_BYTES = REQUEST_BYTES + 1
RETRIES = REQUEST_BYTES + 2
FAILURES = REQUEST_BYTES + 3
TUNNELS = REQUEST_BYTES + 4
"""Tunnels open now: the one figure of a route that dies with its worker."""
CALLS = REQUEST_BYTES + 5
"""The first of the cells that count gRPC answers by their status."""
GRPC_STATUSES = (*(str(int(status)) for status in Status), "other")
CACHED = CALLS + len(GRPC_STATUSES)
"""The first of the cells that count what the cache did."""
CACHE_RESULTS = tuple(result.name.lower() for result in Result if result)
REFUSED = CACHED + len(CACHE_RESULTS)
"""The first of the cells that count refusals by the policy that refused."""
ROUTE = REFUSED + len(POLICIES)
"""Cells of one route."""
SUMS = frozenset(range(SUM, REQUEST_BYTES, HISTOGRAM))
"""Cells of a route that hold doubles."""

CLASS_START = tuple(
    HISTOGRAM * (status // 100 - 1 if 100 <= status < 600 else CLASSES.index("other")) for status in range(1000)
)
"""Status to the first cell of its histogram."""


class WorkerSample(NamedTuple):
    """How a worker is doing: the first five say how things are now, the others only grow."""

    connections: int = 0
    """Open client connections."""
    active: int = 0
    """Exchanges under way."""
    memo_bytes: int = 0
    """Bytes kept by the memo of plans."""
    cache_bytes: int = 0
    cache_objects: int = 0
    """Answers that the HTTP cache keeps."""
    accepted: int = 0
    """Client connections ever accepted."""
    memo_hits: int = 0
    memo_misses: int = 0
    http2_refused: int = 0
    """HTTP/2 connections refused or ended for what their address had asked in vain."""
    http2_given_up: int = 0
    """Requests that were never begun: their reset came along with them."""
    log_drops: int = 0
    """Access-log lines lost to a full disk or a closed pipe."""
    cache_evictions: int = 0
    """Answers that gave way to others for want of room."""
    disk_written: int = 0
    disk_removed: int = 0
    """Bytes of disk that answers took, and that answers gave back which were replaced or removed."""
    disk_added: int = 0
    disk_lost: int = 0
    """Answers put on disk where there was none, and those removed."""


WORKER_GAUGES = 5
"""Fields at the start of WorkerSample that die with their worker."""
REQUESTS = len(WorkerSample._fields)
"""Cell of a worker's row that counts finished exchanges."""
WORKER = REQUESTS + 1


class MetricsMemory:
    """All counters of one edgewise instance. Make it before forking; see `contracts.shared`."""

    __slots__ = ("endpoints", "routes", "workers")

    def __init__(self, workers: int, routes: int = 1024, endpoints: int = 1024) -> None:
        self.workers = SharedCounters(workers, WORKER)
        self.routes = SharedCounters(workers, routes * ROUTE)
        self.endpoints = EndpointGauges(workers, endpoints)

    def clear_route(self, slot: int) -> None:
        """Forget every figure of a slot that gets a new route."""
        self.routes.zero_all(slot * ROUTE, (slot + 1) * ROUTE)

    def worker_gone(self, worker: int) -> None:
        """Forget what a dead worker had under way; what it counted stays. Run before it is replaced."""
        self.workers.zero(worker, 0, WORKER_GAUGES)
        for start in range(0, self.routes.size, ROUTE):
            self.routes.zero(worker, start + TUNNELS, start + TUNNELS + 1)
        self.endpoints.worker_gone(worker)
