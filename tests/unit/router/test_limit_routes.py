"""Limits of the configuration: where they stand among the policies, what counts together, what `explain` says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgewise.config import load
from edgewise.config.schema import Config
from edgewise.contracts.identity import Identity
from edgewise.contracts.plan import Route
from edgewise.contracts.policies import Denial
from edgewise.http.head import plain_head
from edgewise.router.build import build
from edgewise.router.explain import explain

TOML = """
[server]
listen = ["127.0.0.1:8080"]
[policies]
rate_limit = { rate = "2/h", burst = 2, by = "all" }
[hosts."api.example.com"]
rate_limit = [{ rate = "1/h", burst = 1 }, { rate = "10/d", by = "consumer" }]
[[routes]]
path = "/a"
respond = { body = "a" }
[[routes]]
path = "/b"
respond = { body = "b" }
[[routes]]
path = "/own"
respond = { body = "own" }
rate_limit = { rate = "1/h", burst = 1 }
concurrency = { limit = 1, by = "all", status = 429 }
[[routes]]
path = "/named"
respond = { body = "named" }
rate_limit = { rate = "1/h", burst = 1, name = "ours" }
[[routes]]
path = "/named-too"
respond = { body = "named" }
rate_limit = { rate = "1/h", burst = 1, name = "ours" }
[[routes]]
path = "/free"
respond = { body = "free" }
rate_limit = false
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("limits") / "edgewise.toml"
    path.write_text(TOML)
    return load(path)


def routes(config: Config, previous: Any = None) -> tuple[dict[str, Route], Any]:
    table = build(config, previous)
    return {route.spec.path: route for route in table.routes}, table


def exchange(route: Route, identity: Identity | None = None) -> Any:
    return SimpleNamespace(
        client=SimpleNamespace(peer_ip="192.0.2.1"),
        plan=SimpleNamespace(request=plain_head()),
        route=route,
        identity=identity,
        started=1000.0,
        answer_lines=b"",
        held=(),
        refused=0,
    )


def refused_by(route: Route) -> str:
    """Return the policy that refuses a request, "" for none."""
    request = exchange(route)
    for policy in route.policies:
        outcome = policy(request)
        if isinstance(outcome, Denial):
            return outcome.policy
    return ""


def test_routes_that_share_a_table_count_together_and_a_route_of_its_own_apart(config: Config) -> None:
    found, _ = routes(config)
    assert [refused_by(found[path]) for path in ("/a", "/b", "/a", "/b")] == ["", "", "rate-limit", "rate-limit"]
    assert refused_by(found["/own"]) == ""


def test_limits_of_one_name_count_together(config: Config) -> None:
    found, _ = routes(config)
    assert [refused_by(found[path]) for path in ("/named", "/named-too")] == ["", "rate-limit"]


def test_a_route_can_turn_a_limit_off(config: Config) -> None:
    found, _ = routes(config)
    assert found["/free"].policies == ()


def test_what_is_under_way_is_limited_apart_from_the_rate(config: Config) -> None:
    found, _ = routes(config)
    assert [refused_by(found["/own"]) for _ in range(2)] == ["", "rate-limit"]
    late = found["/own"].policies[-1]
    assert isinstance(late(exchange(found["/own"])), Denial)


def test_counts_go_on_over_a_reload(config: Config) -> None:
    found, table = routes(config)
    assert refused_by(found["/own"]) == ""
    found, _ = routes(config, table)
    assert refused_by(found["/own"]) == "rate-limit"


def test_limits_by_who_asks_come_after_those_by_address(config: Config) -> None:
    table = build(config)
    copies = [route for route in table.own_routes if route.spec is not None and route.spec.path == "/a"]
    assert [len(route.policies) for route in copies] == [2]


def test_explain_tells_the_limits_and_where_they_stand(config: Config) -> None:
    text = explain(config, "GET", "http://api.example.com/a")
    assert 'limit     1/h by client_ip: 1 requests a hour, 1 at once (hosts."api.example.com")' in text
    assert 'limit     10/d by consumer: 10 requests a day of the calendar, in UTC (hosts."api.example.com")' in text
    text = explain(config, "GET", "http://b/own")
    assert "limit     at most 1 requests under way by all, more get 429" in text
    assert "\nlimit" not in explain(config, "GET", "http://b/free")
