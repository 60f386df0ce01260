"""The shared counters as Prometheus text (exposition format 0.0.4).

Names follow OpenTelemetry where it has one (`http.server.request.duration` -> `http_server_request_duration_seconds`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from edgewise.contracts.policies import POLICIES
from edgewise.contracts.shared import DRAINED, UNHEALTHY, EndpointFlags
from edgewise.telemetry.layout import (
    BUCKETS,
    CACHE_RESULTS,
    CACHED,
    CALLS,
    CLASSES,
    FAILURES,
    GRPC_STATUSES,
    HISTOGRAM,
    REFUSED,
    REQUEST_BYTES,
    REQUESTS,
    RESPONSE_BYTES,
    RETRIES,
    ROUTE,
    SCHEME,
    SCHEMES,
    SUM,
    TUNNELS,
    MetricsMemory,
    WorkerSample,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BOUNDS = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")
_ROUTE_FIELDS = (
    (
        "edgewise_request_body_bytes_total", "counter",
        "Bytes of request content received, or relayed to servers by tunnels.", REQUEST_BYTES,
    ),
    ("edgewise_response_bytes_total", "counter", "Bytes sent to clients, heads included.", RESPONSE_BYTES),
    ("edgewise_retries_total", "counter", "Attempts beyond an exchange's first.", RETRIES),
    ("edgewise_incomplete_exchanges_total", "counter", "Exchanges that ended without a whole answer.", FAILURES),
    ("edgewise_tunnels", "gauge", "Open WebSockets and layer 4 sessions.", TUNNELS),
)  # fmt: skip
_ENDPOINT_FIELDS = (
    ("edgewise_upstream_active_requests", "gauge", "Exchanges under way at the server.", "active"),
    ("edgewise_upstream_connections", "gauge", "Open connections to the server, idle ones included.", "connections"),
    ("edgewise_upstream_waiting_requests", "gauge", "Exchanges queued for a connection.", "waiting"),
    ("edgewise_upstream_ejected_workers", "gauge", "Workers that ejected the server for its failures.", "ejected"),
    ("edgewise_upstream_attempts_total", "counter", "Attempts sent to the server.", "requests"),
    ("edgewise_upstream_failures_total", "counter", "Attempts that failed.", "failures"),
    ("edgewise_upstream_ejections_total", "counter", "Times a worker ejected the server.", "ejections"),
)
_WORKER_FIELDS = (
    ("edgewise_connections", "gauge", "Open client connections.", "connections"),
    ("http_server_active_requests", "gauge", "Exchanges under way.", "active"),
    ("edgewise_memo_bytes", "gauge", "Bytes kept by the memo of plans.", "memo_bytes"),
    ("edgewise_connections_accepted_total", "counter", "Client connections accepted.", "accepted"),
    ("edgewise_memo_hits_total", "counter", "Request heads found in the memo of plans.", "memo_hits"),
    ("edgewise_memo_misses_total", "counter", "Request heads that had to be parsed.", "memo_misses"),
    (
        "edgewise_http2_connections_refused_total",
        "counter",
        "HTTP/2 connections refused or ended for what their address had asked in vain.",
        "http2_refused",
    ),
    (
        "edgewise_http2_requests_given_up_total",
        "counter",
        "HTTP/2 requests that were never begun: their reset came along with them.",
        "http2_given_up",
    ),
    ("edgewise_access_log_dropped_lines_total", "counter", "Access-log lines that could not be written.", "log_drops"),
)

_CLUSTER_FIELDS = (
    ("edgewise_cluster_version", "gauge", "Published configuration in force; 0: the node's own file.", "applied"),
    ("edgewise_cluster_newest_version", "gauge", "Newest published configuration that this node knows of.", "newest"),
    ("edgewise_cluster_refused", "gauge", "1 where this node refuses the newest published configuration.", "refused"),
    ("edgewise_cluster_hints_told_total", "counter", "Failing servers that other nodes were told of.", "told"),
    ("edgewise_cluster_hints_withheld_total", "counter", "Failing servers not told of again so soon.", "withheld"),
    ("edgewise_cluster_hints_heeded_total", "counter", "Hints of other nodes that made this one look.", "heeded"),
    ("edgewise_cluster_hints_passed_over_total", "counter", "Hints too old, too many or not sealed.", "passed over"),
)
_CACHE_FIELDS = (
    ("edgewise_cache_bytes", "gauge", "Memory that stored answers take.", "cache_bytes"),
    ("edgewise_cache_objects", "gauge", "Stored answers.", "cache_objects"),
    ("edgewise_cache_evictions_total", "counter", "Stored answers that gave way to others.", "cache_evictions"),
)

_CACHE_DISK_FIELDS = (
    ("edgewise_cache_disk_bytes", "gauge", "Disk that stored answers take.", "bytes"),
    ("edgewise_cache_disk_objects", "gauge", "Answers stored on disk.", "objects"),
    ("edgewise_cache_disk_evictions_total", "counter", "Answers on disk that gave way to others.", "evictions"),
    ("edgewise_cache_disk_written_bytes_total", "counter", "Bytes of answers written to disk.", "written"),
)
_DATABASE_FIELDS = (
    ("edgewise_database_listening", "gauge", "1 while writes to the database are heard.", "listening"),
    ("edgewise_database_losses_total", "counter", "Times that the connection to it was lost.", "losses"),
    ("edgewise_database_tags_total", "counter", "Tags that were purged since the database was written.", "tags"),
)


def render(
    memory: MetricsMemory,
    routes: Mapping[str, int],
    endpoints: Mapping[str, int],
    flags: EndpointFlags,
    *,
    version: str = "",
    generation: int = 0,
    certificates: Sequence[tuple[str, float | None, int]] = (),
    cluster: Mapping[str, int] = {},
    cache_disk: Mapping[str, int] = {},
    database: Mapping[str, int] = {},
) -> str:
    """Return every metric, summed over workers where `worker` is no label.

    `routes` maps a route's name to its slot, `endpoints` maps `upstream/server` to its slot (`SlotMap.present`).
    `certificates` are (name, Unix time of its end where there is one, failures in a row). `cluster` holds what
    _CLUSTER_FIELDS name, `cache_disk` and `database` likewise, as far as there is anything to tell.
    """
    lines = [
        *_family("edgewise_build_info", "gauge", "Always 1.", [(_labels(version=version), 1)]),
        *_family("edgewise_config_generation", "gauge", "Configurations loaded so far.", [("", generation)]),
        *_route_lines(memory, routes),
        *_endpoint_lines(memory, endpoints, flags),
        *_worker_lines(memory),
        *_certificate_lines(certificates),
        *_whole_lines(_CLUSTER_FIELDS, cluster),
        *_whole_lines(_CACHE_DISK_FIELDS, cache_disk),
        *_whole_lines(_DATABASE_FIELDS, database),
    ]
    return "\n".join(lines) + "\n"


def _route_lines(memory: MetricsMemory, routes: Mapping[str, int]) -> Iterator[str]:
    cells = {name: memory.routes.sums(slot * ROUTE, (slot + 1) * ROUTE) for name, slot in routes.items()}
    name = "http_server_request_duration_seconds"
    yield from _header(name, "histogram", "Time from a request's first byte to its end.")
    for route, slot in routes.items():
        for start, labels in _histograms(route):
            counts = list(accumulate(cells[route][start : start + SUM]))
            if counts[-1]:
                yield from _histogram(name, labels, counts, memory.routes.float_sum(slot * ROUTE + start + SUM))
    for name, kind, text, cell in _ROUTE_FIELDS:
        yield from _family(name, kind, text, [(_labels(http_route=route), row[cell]) for route, row in cells.items()])
    calls = [
        (_labels(http_route=route, grpc_status=status), row[CALLS + index])
        for route, row in cells.items()
        for index, status in enumerate(GRPC_STATUSES)
        if row[CALLS + index]
    ]
    yield from _family("edgewise_grpc_responses_total", "counter", "gRPC calls by the status that ended them.", calls)
    cached = [
        (_labels(http_route=route, result=result), row[CACHED + index])
        for route, row in cells.items()
        if any(row[CACHED:REFUSED])
        for index, result in enumerate(CACHE_RESULTS)
    ]
    yield from _family("edgewise_cache_requests_total", "counter", "Requests by what the cache did for them.", cached)
    refused = [
        (_labels(http_route=route, policy=policy), row[REFUSED + index])
        for route, row in cells.items()
        for index, policy in enumerate(POLICIES)
        if row[REFUSED + index]
    ]
    text = "Requests refused, by the policy that refused them."
    yield from _family("edgewise_policy_refusals_total", "counter", text, refused)


def _histograms(route: str) -> Iterator[tuple[int, str]]:
    for scheme_index, scheme in enumerate(SCHEMES):
        for class_index, status in enumerate(CLASSES):
            labels = _labels(http_route=route, http_response_status_code=status, url_scheme=scheme)
            yield scheme_index * SCHEME + class_index * HISTOGRAM, labels


def _histogram(name: str, labels: str, counts: list[int], total: float) -> Iterator[str]:
    inner = labels[1:-1]
    for bound, count in zip(_BOUNDS, counts, strict=True):
        yield f'{name}_bucket{{{inner},le="{bound}"}} {count}'
    yield f"{name}_sum{labels} {total!r}"
    yield f"{name}_count{labels} {counts[-1]}"


def _endpoint_lines(memory: MetricsMemory, endpoints: Mapping[str, int], flags: EndpointFlags) -> Iterator[str]:
    labels = {key: _endpoint_labels(key) for key in endpoints}
    states = {key: memory.endpoints.read(slot) for key, slot in endpoints.items()}
    for name, kind, text, field in _ENDPOINT_FIELDS:
        yield from _family(name, kind, text, [(labels[key], getattr(state, field)) for key, state in states.items()])
    moved = [
        (_endpoint_labels(key, reason=reason), count)
        for key, state in states.items()
        for reason, count in state.moved.items()
    ]
    text = "Requests that came to the server though another is their session's."
    yield from _family("edgewise_upstream_moved_sessions_total", "counter", text, moved)
    for name, text, flag in (
        ("edgewise_upstream_unhealthy", "1 where active checks found the server unhealthy.", UNHEALTHY),
        ("edgewise_upstream_drained", "1 where the server takes no new requests.", DRAINED),
    ):
        yield from _family(
            name, "gauge", text, [(labels[key], int(bool(flags.get(slot) & flag))) for key, slot in endpoints.items()]
        )


def _worker_lines(memory: MetricsMemory) -> Iterator[str]:
    rows = [memory.workers.row(worker).tolist() for worker in range(memory.workers.workers)]
    for name, kind, text, field in _WORKER_FIELDS:
        cell = WorkerSample._fields.index(field)
        yield from _family(name, kind, text, [("", sum(row[cell] for row in rows))])
    for name, kind, text, field in _CACHE_FIELDS:
        cell = WorkerSample._fields.index(field)
        samples = [(_labels(worker=str(worker)), row[cell]) for worker, row in enumerate(rows)]
        yield from _family(name, kind, text, samples)
    by_worker = [(_labels(worker=str(worker)), row[REQUESTS]) for worker, row in enumerate(rows)]
    yield from _family("edgewise_worker_requests_total", "counter", "Exchanges a worker finished.", by_worker)


def _certificate_lines(certificates: Sequence[tuple[str, float | None, int]]) -> Iterator[str]:
    ends = [(_labels(name=name), int(end)) for name, end, _ in certificates if end is not None]
    failures = [(_labels(name=name), count) for name, _, count in certificates]
    text = "Unix time at which the certificate ends."
    yield from _family("edgewise_tls_certificate_not_after_seconds", "gauge", text, ends)
    text = "Attempts in a row to get the certificate that failed."
    yield from _family("edgewise_tls_certificate_failures", "gauge", text, failures)


def _whole_lines(fields: Iterable[tuple[str, str, str, str]], figures: Mapping[str, int]) -> Iterator[str]:
    """Yield what there is one figure of."""
    for name, kind, text, field in fields:
        yield from _family(name, kind, text, [("", figures[field])] if field in figures else [])


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, int]]) -> Iterator[str]:
    yield from _header(name, kind, text)
    for labels, value in samples:
        yield f"{name}{labels} {value}"


def _header(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _endpoint_labels(key: str, **further: str) -> str:
    upstream, _, server = key.partition("/")
    return _labels(upstream=upstream, server=server, **further)


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
