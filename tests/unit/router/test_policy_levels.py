"""Policies: which table holds for a request, what its routes are then, and that answers to the known are not shared."""

from __future__ import annotations

from typing import Any

import pytest

from edgewise.cache.route import HttpCache
from edgewise.config.schema import Config
from edgewise.contracts.plan import Route
from edgewise.contracts.table import Refusal
from edgewise.http.head import plain_head
from edgewise.router.build import build
from edgewise.router.policies.hosts import most_specific
from edgewise.router.policies.levels import held

IP = {"server": {"deny": ["192.0.2.1"]}, "host": {"deny": ["192.0.2.2"]}, "upstream": {"deny": ["192.0.2.3"]}}


def configured(route: dict[str, Any] | None = None, **tables: Any) -> Config:
    upstream = {"servers": ["127.0.0.1:9001"], **tables.pop("upstream", {})}
    return Config.model_validate(
        {"upstreams": {"app": upstream}, "routes": [{"upstream": "app", **(route or {})}], **tables}
    )


def routed(config: Config, host: bytes) -> Route:
    found = build(config).match(plain_head(host=host))
    assert not isinstance(found, Refusal)
    return found[0]


def test_the_nearest_table_holds_and_holds_whole() -> None:
    everywhere = {"policies": {"ip": IP["server"]}, "hosts": {"a.example": {"ip": IP["host"]}}}
    config = configured(**everywhere, upstream={"policies": {"ip": IP["upstream"]}})
    assert held(config, config.routes[0], "a.example")["ip"].level == "upstreams.app"
    config = configured(**everywhere)
    assert held(config, config.routes[0], "a.example")["ip"].spec.deny == ["192.0.2.2/32"]
    assert held(config, config.routes[0])["ip"].spec.deny == ["192.0.2.1/32"]
    config = configured({"ip": {"allow": ["192.0.2.4"]}}, **everywhere)
    assert held(config, config.routes[0], "a.example")["ip"].level == "route"


def test_false_turns_off_what_stands_farther_away() -> None:
    config = configured({"ip": False}, policies={"ip": IP["server"]}, hosts={"a.example": {"ip": IP["host"]}})
    assert not held(config, config.routes[0], "a.example")
    assert routed(config, b"a.example").policies == ()


def test_requests_for_a_host_with_policies_take_a_copy_of_their_route() -> None:
    config = configured(hosts={"*.example": {"ip": IP["host"]}})
    with_policies, without = routed(config, b"a.example"), routed(config, b"other.test")
    assert len(with_policies.policies) == 1
    assert not with_policies.direct
    assert without.policies == ()
    assert without.direct
    assert (with_policies.name, with_policies.index) == (without.name, without.index)


@pytest.mark.parametrize(
    ("host", "pattern"),
    [
        ("a.b.example", "a.b.example"),
        ("c.b.example", "*.b.example"),
        ("b.example", "*.example"),
        ("example", None),
        ("a.b.examples", None),
    ],
)
def test_of_several_hosts_the_most_specific_holds(host: str, pattern: str | None) -> None:
    assert most_specific(host, ["*.example", "a.b.example", "*.b.example"]) == pattern


@pytest.mark.parametrize("level", ["route", "upstream", "policies", "hosts"])
def test_answers_of_routes_that_know_who_asks_are_kept_as_if_asked_with_authorization(level: str) -> None:
    auth = {"auth": {"api_keys": "consumers"}}
    tables: dict[str, dict[str, Any]] = {
        "route": {"route": {"cache": {}, **auth}},
        "upstream": {"upstream": {"policies": auth}},
        "policies": {"policies": auth},
        "hosts": {"hosts": {"a.example": auth}},
    }
    cache = build(configured(**{"route": {"cache": {}}, **tables[level]})).routes[0].cache
    assert isinstance(cache, HttpCache)
    assert cache.settings.authenticated
    cache = build(configured({"cache": {}})).routes[0].cache
    assert isinstance(cache, HttpCache)
    assert not cache.settings.authenticated
