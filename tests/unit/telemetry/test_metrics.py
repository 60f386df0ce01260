from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from edgewise.contracts.endpoint import Endpoint, Move
from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import Route
from edgewise.contracts.shared import DRAINED, EndpointFlags, EndpointState
from edgewise.telemetry.layout import MetricsMemory, WorkerSample
from edgewise.telemetry.metrics import MetricsObserver
from edgewise.telemetry.prometheus import render

Make = Callable[..., Exchange]
_SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+\})? (\S+)')


@pytest.fixture
def memory() -> MetricsMemory:
    return MetricsMemory(2, routes=4, endpoints=4)


def samples(memory: MetricsMemory, routes: dict[str, int], endpoints: dict[str, int] | None = None) -> dict[str, float]:
    text = render(memory, routes, endpoints or {}, EndpointFlags(4))
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            found[match[1] + (match[2] or "")] = float(match[3])
    return found


def labels(status: str, scheme: str = "http", **more: str) -> str:
    pairs = {"http_route": "items", "http_response_status_code": status, "url_scheme": scheme, **more}
    return "{" + ",".join(f'{name}="{value}"' for name, value in pairs.items()) + "}"


DURATION = "http_server_request_duration_seconds"
ROUTE = '{http_route="items"}'


def test_an_exchange_counts_in_its_bucket_and_all_wider_ones(memory: MetricsMemory, make_exchange: Make) -> None:
    observer = MetricsObserver(memory, 0)
    observer.done(make_exchange(ended=100.02, response_bytes=300, request_bytes=7))
    observer.tick(0.0)
    found = samples(memory, {"items": 0})
    counts = {bound: found[f"{DURATION}_bucket{labels('2xx', le=bound)}"] for bound in ("0.01", "0.025", "10", "+Inf")}
    assert counts == {"0.01": 0, "0.025": 1, "10": 1, "+Inf": 1}
    assert found[f"{DURATION}_count{labels('2xx')}"] == 1
    assert found[f"{DURATION}_sum{labels('2xx')}"] == pytest.approx(0.02)
    assert found['edgewise_response_bytes_total{http_route="items"}'] == 300
    assert found['edgewise_request_body_bytes_total{http_route="items"}'] == 7


def test_the_upper_bound_of_a_bucket_belongs_to_it(memory: MetricsMemory, make_exchange: Make) -> None:
    observer = MetricsObserver(memory, 0)
    observer.done(make_exchange(started=0.0, ended=0.005))
    observer.done(make_exchange(started=0.0, ended=11.0))
    observer.tick(0.0)
    found = samples(memory, {"items": 0})
    assert found[f"{DURATION}_bucket{labels('2xx', le='0.005')}"] == 1
    assert found[f"{DURATION}_bucket{labels('2xx', le='10')}"] == 1
    assert found[f"{DURATION}_bucket{labels('2xx', le='+Inf')}"] == 2


@pytest.mark.parametrize(
    ("status", "expected"),
    [(101, "1xx"), (204, "2xx"), (308, "3xx"), (499, "4xx"), (599, "5xx"), (0, "other"), (999, "other")],
)
def test_each_status_has_a_class(memory: MetricsMemory, make_exchange: Make, status: int, expected: str) -> None:
    observer = MetricsObserver(memory, 0)
    observer.done(make_exchange(status=status))
    observer.tick(0.0)
    found = samples(memory, {"items": 0})
    counts = {name: value for name, value in found.items() if name.startswith(f"{DURATION}_count")}
    assert counts == {f"{DURATION}_count{labels(expected)}": 1}


def test_schemes_are_told_apart(memory: MetricsMemory, make_exchange: Make, make_client: Callable[..., object]) -> None:
    observer = MetricsObserver(memory, 0)
    observer.done(make_exchange(client=make_client(tls=True)))
    observer.done(make_exchange())
    observer.done(make_exchange())
    observer.tick(0.0)
    found = samples(memory, {"items": 0})
    assert found[f"{DURATION}_count{labels('2xx', 'https')}"] == 1
    assert found[f"{DURATION}_count{labels('2xx')}"] == 2


def test_retries_and_broken_answers_are_counted(memory: MetricsMemory, make_exchange: Make) -> None:
    observer = MetricsObserver(memory, 0)
    observer.done(make_exchange(attempts=3, end="upstream-body"))
    observer.done(make_exchange(attempts=1))
    observer.tick(0.0)
    found = samples(memory, {"items": 0})
    assert found['edgewise_retries_total{http_route="items"}'] == 2
    assert found['edgewise_incomplete_exchanges_total{http_route="items"}'] == 1


def tunnel_figures(memory: MetricsMemory) -> tuple[float, float, float]:
    found = samples(memory, {"items": 0})
    names = ("edgewise_tunnels", "edgewise_request_body_bytes_total", "edgewise_response_bytes_total")
    return found[names[0] + ROUTE], found[names[1] + ROUTE], found[names[2] + ROUTE]


def test_a_tunnels_bytes_count_while_it_is_open_and_once(memory: MetricsMemory, make_exchange: Make) -> None:
    observer = MetricsObserver(memory, 0)
    exchange, other = make_exchange(status=101), make_exchange(status=101)
    seen = []
    for requested, answered in ((0, 120), (50, 120), (70, 300)):
        exchange.request_bytes, exchange.response_bytes = requested, answered
        observer.progress(exchange)
        observer.tick(0.0)
        seen.append(tunnel_figures(memory))
    assert seen == [(1, 0, 120), (1, 50, 120), (1, 70, 300)]
    observer.progress(other)
    observer.tick(0.0)
    assert tunnel_figures(memory) == (2, 70, 300)
    exchange.request_bytes, exchange.response_bytes = 75, 310
    for ended in (exchange, other):
        observer.done(ended)
    observer.tick(0.0)
    assert tunnel_figures(memory) == (0, 75, 310)


def test_a_tunnel_that_ends_within_a_tick_counts_like_any_exchange(memory: MetricsMemory, make_exchange: Make) -> None:
    observer = MetricsObserver(memory, 0)
    exchange = make_exchange(status=101, request_bytes=0, response_bytes=120)
    observer.progress(exchange)
    exchange.request_bytes, exchange.response_bytes = 30, 150
    observer.done(exchange)
    observer.tick(0.0)
    assert tunnel_figures(memory) == (0, 30, 150)


def test_open_tunnels_die_with_their_worker(memory: MetricsMemory, make_exchange: Make) -> None:
    for worker in (0, 1):
        observer = MetricsObserver(memory, worker)
        observer.progress(make_exchange(status=101, request_bytes=10))
        observer.tick(0.0)
    memory.worker_gone(0)
    assert tunnel_figures(memory) == (1, 20, 0)


def test_workers_add_up_and_a_replaced_worker_goes_on_where_the_old_one_stopped(
    memory: MetricsMemory, make_exchange: Make
) -> None:
    for worker in (0, 1, 0):
        observer = MetricsObserver(memory, worker, lambda: WorkerSample(connections=2, memo_hits=5))
        observer.done(make_exchange())
        observer.tick(0.0)
        observer.close()
        memory.worker_gone(worker)
    found = samples(memory, {"items": 0})
    assert found[f"{DURATION}_count{labels('2xx')}"] == 3
    assert found["edgewise_memo_hits_total"] == 15
    assert found["edgewise_connections"] == 0
    assert found['edgewise_worker_requests_total{worker="0"}'] == 2
    assert found['edgewise_worker_requests_total{worker="1"}'] == 1


def test_endpoint_counts_survive_a_replaced_worker_and_its_gauges_do_not(memory: MetricsMemory) -> None:
    for _ in range(2):
        endpoint = Endpoint("shop/a", ("127.0.0.1", 1))
        endpoint.slot = 2
        observer = MetricsObserver(memory, 0)
        observer.watch([endpoint])
        endpoint.requests, endpoint.failures, endpoint.ejections = 10, 2, 1
        endpoint.moved[Move.DRAINED] = 3
        endpoint.active, endpoint.connections, endpoint.ejected = 3, 4, True
        observer.tick(0.0)
        assert memory.endpoints.read(2)[:4] == (3, 4, 0, 1)
        memory.worker_gone(0)
    assert memory.endpoints.read(2) == EndpointState(0, 0, 0, 0, 20, 4, 2, moved_drained=6)
    assert memory.endpoints.read(2).moved == {"drained": 6}
    text = render(memory, {}, {"shop/a": 2}, EndpointFlags(4))
    assert 'edgewise_upstream_moved_sessions_total{upstream="shop",server="a",reason="drained"} 6' in text
    assert text.count("edgewise_upstream_moved_sessions_total{") == 1


def test_a_reload_that_keeps_an_endpoint_keeps_counting_it_once(memory: MetricsMemory) -> None:
    endpoint = Endpoint("shop/a", ("127.0.0.1", 1))
    endpoint.slot = 0
    observer = MetricsObserver(memory, 0)
    observer.watch([endpoint])
    endpoint.requests = 4
    observer.watch([endpoint, Endpoint("shop/not-shared", ("127.0.0.1", 2))])
    endpoint.requests = 6
    observer.tick(0.0)
    assert memory.endpoints.read(0).requests == 6


def test_a_slot_given_to_another_route_starts_at_zero(memory: MetricsMemory, make_exchange: Make) -> None:
    observer = MetricsObserver(memory, 0)
    observer.done(make_exchange(response_bytes=9))
    observer.done(make_exchange(route=Route("other", 1), response_bytes=4))
    observer.tick(0.0)
    memory.clear_route(0)
    found = samples(memory, {"new": 0, "other": 1})
    assert found['edgewise_response_bytes_total{http_route="new"}'] == 0
    assert found['edgewise_response_bytes_total{http_route="other"}'] == 4


@pytest.mark.parametrize("index", [-1, 4])
def test_a_route_outside_shared_memory_is_not_counted(memory: MetricsMemory, make_exchange: Make, index: int) -> None:
    observer = MetricsObserver(memory, 0)
    observer.done(make_exchange(route=Route("odd", index)))
    observer.tick(0.0)
    assert not any(memory.routes.sums(0, memory.routes.size))


def test_label_values_are_escaped(memory: MetricsMemory) -> None:
    found = samples(memory, {'a"b\\c\nd': 0})
    assert 'edgewise_retries_total{http_route="a\\"b\\\\c\\nd"}' in found


def test_each_family_has_its_help_and_type_once(memory: MetricsMemory, make_exchange: Make) -> None:
    observer = MetricsObserver(memory, 0)
    observer.done(make_exchange())
    observer.tick(0.0)
    text = render(memory, {"items": 0}, {"shop/a": 0}, EndpointFlags(4), version="1.2", generation=3)
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    helps = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert types == helps
    assert len(types) == len(set(types))
    assert text.endswith("\n")
    assert 'edgewise_build_info{version="1.2"} 1' in text
    assert "edgewise_config_generation 3" in text


def test_flags_show_as_gauges(memory: MetricsMemory) -> None:
    flags = EndpointFlags(4)
    flags.set(1, DRAINED, True)
    text = render(memory, {}, {"shop/unix:/run/a.sock": 1}, flags)
    assert 'edgewise_upstream_drained{upstream="shop",server="unix:/run/a.sock"} 1' in text
    assert 'edgewise_upstream_unhealthy{upstream="shop",server="unix:/run/a.sock"} 0' in text


def test_the_documentation_names_every_metric_and_no_other(memory: MetricsMemory) -> None:
    text = render(memory, {}, {}, EndpointFlags(4))
    served = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    page = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
    table = page.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    documented = {name for row in re.findall(r"(?m)^\| (`.*?) \|", table) for name in re.findall(r"`(\w+)`", row)}
    assert documented == served
