"""Explain says how a route's cache takes a request."""

from __future__ import annotations

import pytest

from edgewise.config import build
from edgewise.router.explain import explain


@pytest.mark.parametrize(
    ("method", "headers", "said"),
    [
        ("GET", [], "cache     answered and kept as answers say, by https://example.com/a?b=1"),
        ("HEAD", [], "cache     answered and kept as answers say, by https://example.com/a?b=1"),
        ("GET", [("If-Match", '"1"')], "cache     goes by: only GET and HEAD"),
        ("POST", [], "cache     goes by: only GET and HEAD"),
    ],
)
def test_the_url_that_counts_is_shown_or_that_the_cache_is_passed_by(
    method: str, headers: list[tuple[str, str]], said: str
) -> None:
    route = {"upstream": "app", "cache": {"ignore_marketing": True}}
    config = build({"upstreams": {"app": {"servers": ["127.0.0.1:9001"]}}, "routes": [route]})
    assert said in explain(config, method, "https://Example.com/a?b=1&utm_source=x", headers)


def test_routes_without_a_cache_say_nothing_of_it() -> None:
    config = build({"upstreams": {"app": {"servers": ["127.0.0.1:9001"]}}, "routes": [{"upstream": "app"}]})
    assert "cache" not in explain(config, "GET", "http://example.com/")


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ({"disk": "10GB", "directory": "/var/cache/edge"}, "\n          in memory, and on disk (/var/cache/edge)\n"),
        ({"disk": "10GB"}, "\n          in memory, and on disk (in the state directory)\n"),
    ],
)
def test_a_cache_on_disk_is_told(cache: dict[str, str], said: str) -> None:
    upstreams = {"app": {"servers": ["127.0.0.1:9001"]}}
    config = build({"cache": cache, "upstreams": upstreams, "routes": [{"upstream": "app", "cache": {}}]})
    assert said in explain(config, "GET", "http://example.com/")


def test_what_browsers_are_told_is_shown() -> None:
    cache = {"browser": "private, max-age=60", "etag": "weak", "hide": ["Surrogate-Key"], "device": ["mobile"]}
    route = {"upstream": "app", "cache": cache, "clear_site_data": ["cache", "storage"]}
    config = build({"upstreams": {"app": {"servers": ["127.0.0.1:9001"]}}, "routes": [route]})
    text = explain(config, "GET", "https://example.com/", [("User-Agent", "iPhone")])
    assert "kept as answers say, by https://example.com/, for mobile devices\n" in text
    assert "          X-UA-Device: mobile\n" in text
    assert (
        "browsers  Cache-Control: private, max-age=60 with what is kept, its seconds from then on\n"
        "          a weak ETag of the content, with what is kept whole and has none\n"
        "          nothing of Surrogate-Key\n"
        '          Clear-Site-Data: "cache", "storage"\n'
    ) in text
