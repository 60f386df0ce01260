"""What plain and TLS listeners answer themselves, through the very tables and plans that serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgewise.config import build as configured
from edgewise.contracts.plan import Answer
from edgewise.contracts.table import Table
from edgewise.protocols.http1 import parse_response_head
from edgewise.proxy.plans import make_plan, make_response_plan
from edgewise.router import build
from edgewise.router.explain import explain
from edgewise.tls.development import DevelopmentAuthority

TOKEN = "/.well-known/acme-challenge/abc"


@pytest.fixture
def tables(tmp_path: Path) -> Any:
    cert, key = DevelopmentAuthority().issue(["shop.test", "*.wild.test"]).write(tmp_path, "shop")

    def table(server: Mapping[str, Any] | None = None, **tls: Any) -> Table:
        return build(
            configured(
                {
                    "server": {"tls_listen": ["127.0.0.1:8443"], "trusted_proxies": ["10.0.0.1"], **(server or {})},
                    "tls": {"certificates": [{"cert": cert, "key": key}], **tls},
                    "upstreams": {"app": {"servers": ["127.0.0.1:9"]}},
                    "routes": [
                        {"upstream": "app"},
                        {"path": "/fixed", "respond": {"body": "fixed"}},
                        {"path": "/moved", "redirect": {"to": "/fixed"}},
                    ],
                }
            )
        )

    return table


def plain(
    table: Table, target: str, host: str = "shop.test", *lines: str, method: str = "GET", trusted: bool = False
) -> Answer | None:
    """Return what a plain listener answers itself; None where it goes to the upstream."""
    assert table.match_plain is not None
    seen = replace(table, match=table.match_plain.for_peers(trusted=trusted))
    head = "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, ""))
    return make_plan(seen, head.encode(), b"http", trusted=trusted).answer


def location(answer: Answer | None) -> bytes | None:
    return dict(answer.fields).get(b"Location") if answer is not None and answer.status == 308 else None


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        ("/", "shop.test", b"https://shop.test:8443/"),
        ("/a%20b?c=d&e", "SHOP.test:80", b"https://shop.test:8443/a%20b?c=d&e"),
        ("/fixed", "any.wild.test", b"https://any.wild.test:8443/fixed"),
        ("/a/../b", "shop.test.", b"https://shop.test:8443/b"),
        ("http://shop.test/x", "shop.test", b"https://shop.test:8443/x"),
    ],
)
def test_requests_for_certified_hosts_are_sent_to_the_same_url_with_https(
    tables: Any, target: str, host: str, expected: bytes
) -> None:
    assert location(plain(tables(redirect=True), target, host)) == expected


@pytest.mark.parametrize("host", ["other.test", "a.b.wild.test", "wild.test", "127.0.0.1", "[::1]:80"])
def test_hosts_without_a_certificate_are_served_as_before(tables: Any, host: str) -> None:
    assert plain(tables(redirect=True), "/", host) is None


def test_every_method_is_redirected_and_keeps_itself(tables: Any) -> None:
    for method in ("GET", "HEAD", "POST", "DELETE"):
        answer = plain(tables(redirect=True), "/", method=method)
        assert answer is not None
        assert answer.status == 308
    assert plain(tables(redirect=True), "*", method="OPTIONS") is None


def test_nothing_is_redirected_unless_asked(tables: Any) -> None:
    assert plain(tables(), "/") is None


@pytest.mark.parametrize(
    ("listen", "tls", "port"),
    [
        (["127.0.0.1:443"], {}, b""),
        (["unix:/run/x", "[::]:444"], {}, b":444"),
        (["unix:/run/x"], {}, b""),
        (["127.0.0.1:8443"], {"redirect_port": 443}, b""),
        (["127.0.0.1:443"], {"redirect_port": 9443}, b":9443"),
    ],
)
def test_the_port_is_that_of_the_listener_or_the_one_given(
    tables: Any, listen: list[str], tls: dict[str, int], port: bytes
) -> None:
    table = tables({"tls_listen": listen}, redirect=True, **tls)
    assert location(plain(table, "/")) == b"https://shop.test" + port + b"/"


@pytest.mark.parametrize(
    ("lines", "redirected"),
    [((), False), (("X-Forwarded-Proto: https",), False), (("X-Forwarded-Proto: http",), True)],
)
def test_a_trusted_proxy_says_whether_the_client_came_by_https(
    tables: Any, lines: tuple[str, ...], redirected: bool
) -> None:
    table = tables(redirect=True)
    assert bool(location(plain(table, "/", "shop.test", *lines, trusted=True))) is redirected
    assert location(plain(table, "/", "shop.test", "X-Forwarded-Proto: https")) is not None


def test_a_challenge_under_way_is_answered_and_no_other(tables: Any) -> None:
    table: Table = tables(redirect=True)
    assert table.match_plain is not None
    under_way = replace(table, match_plain=table.match_plain.with_tokens({"abc": "abc.print"}))
    answer = plain(under_way, TOKEN)
    assert answer is not None
    assert (answer.status, answer.content) == (200, b"abc.print")
    assert plain(under_way, TOKEN, "10.1.2.3") == answer  # authorities look by any name that leads here
    for target in (TOKEN + "d", TOKEN + "/", TOKEN[:-1], "/.well-known/acme-challenge/"):
        assert plain(under_way, target) is None
    assert plain(table, TOKEN) is None


def test_a_token_is_compared_whole_whatever_it_is(tables: Any) -> None:
    table: Table = tables()
    assert table.match_plain is not None
    under_way = replace(table, match_plain=table.match_plain.with_tokens({"abc": "abc.print"}))
    answer = plain(under_way, "/x/../.well-known/acme-challenge/%61bc?query")
    assert answer is not None
    assert answer.content == b"abc.print"


def tls_fields(table: Table, target: str) -> list[bytes]:
    """Return the Strict-Transport-Security values that a TLS client gets for a route."""
    seen = replace(table, match=table.match_tls) if table.match_tls is not None else table
    plan = make_plan(seen, f"GET {target} HTTP/1.1\r\nHost: shop.test\r\n\r\n".encode(), b"https", trusted=False)
    if plan.answer is not None:
        return [value for name, value in plan.answer.fields if name == b"Strict-Transport-Security"]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nStrict-Transport-Security: max-age=1\r\n\r\n"
    response = make_response_plan(plan.route, parse_response_head(head), head_only=False, close=False, minor=1)
    return [line[27:] for line in response.head.split(b"\r\n") if line.startswith(b"Strict-Transport-Security: ")]


@pytest.mark.parametrize("target", ["/", "/fixed", "/moved"])
def test_strict_transport_security_is_on_every_routes_answers_over_tls_in_place_of_the_apps(
    tables: Any, target: str
) -> None:
    assert tls_fields(tables(hsts="1y"), target) == [b"max-age=31536000"]
    hsts = {"max_age": "2y", "include_subdomains": True, "preload": True}
    assert tls_fields(tables(hsts=hsts), target) == [b"max-age=63072000; includeSubDomains; preload"]
    assert tls_fields(tables(hsts=0), target) == [b"max-age=0"]


def test_plain_answers_never_carry_it(tables: Any) -> None:
    answer = plain(tables(hsts="1y"), "/fixed")
    assert answer is not None
    assert b"Strict-Transport-Security" not in dict(answer.fields)


def test_a_route_over_tls_counts_as_the_route_that_is_configured(tables: Any) -> None:
    table: Table = tables(hsts="1y")
    assert {route.index for route in table.own_routes} <= {route.index for route in (*table.routes, table.unmatched)}
    assert {route.name for route in table.own_routes} >= {route.name for route in table.routes}


def test_explain_tells_of_the_redirect() -> None:
    tables = {
        "server": {"tls_listen": ["127.0.0.1:8443"]},
        "tls": {"acme": True, "redirect": True},
        "routes": [{"host": "shop.test.example", "respond": {}}],
    }
    config = configured(tables)
    assert "308 to https, where the host has a certificate" in explain(config, "GET", "http://shop.test.example/")
    assert "308" not in explain(config, "GET", "https://shop.test.example/")
