"""What is allowed in a configuration and hardly meant."""

from __future__ import annotations

from typing import Any

import pytest

from edgewise.config import build
from edgewise.config.advice import advice

SERVER = {"workers": 4}


def told(cache: dict[str, Any], route: dict[str, Any] | None) -> list[str]:
    upstreams = {"app": {"servers": ["127.0.0.1:9001"]}}
    routes = [{"upstream": "app"} if route is None else {"upstream": "app", "cache": route}]
    config = build({"server": SERVER, "cache": cache, "upstreams": upstreams, "routes": routes})
    return [sentence.partition(":")[0] for sentence in advice(config)]


@pytest.mark.parametrize(
    ("cache", "route", "keys"),
    [
        ({}, {}, []),
        ({}, None, []),
        ({"memory": "40MB"}, {"max_object": "10MB"}, []),
        ({"memory": "40MB"}, {"max_object": "11MB"}, ["routes[0].cache.max_object"]),
        ({"memory": "1MB"}, {}, []),
        ({"memory": "40MB", "disk": "1GB"}, {"max_object": "100MB"}, []),
        ({"disk": "1GB"}, None, ["cache.disk"]),
        ({"directory": "d"}, {}, ["cache.directory"]),
    ],
)
def test_advice_names_the_key(cache: dict[str, Any], route: dict[str, Any] | None, keys: list[str]) -> None:
    assert told(cache, route) == keys
