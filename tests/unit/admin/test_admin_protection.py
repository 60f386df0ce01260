from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Ask = Callable[..., Any]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:9900", "[::1]:9900", "[::1]", "192.0.2.1:80", "localhost", "LOCALHOST:9900", "localhost."],
)
def test_addresses_and_localhost_are_our_own(ask: Ask, host: str) -> None:
    assert ask("GET", "/healthz", host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:9900",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "user@localhost",
        "localhost/path",
        "localhost?x",
        "localhost#x",
        "localhost:port",
        "localhost:99999",
        "[::1",
        "::1",
        "127.1",
        "2130706433",
        "local\u00adhost",
        " localhost",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_name_that_is_not_ours_gets_nothing(ask: Ask, host: str, method: str, control: Any) -> None:
    answer = ask(method, "/api/v1/reload" if method == "POST" else "/api/v1/status", host)
    assert answer.status == 421
    assert answer.headers["content-type"] == "application/problem+json"
    assert control.generation == 3


def test_a_configured_name_is_our_own(ask: Ask) -> None:
    assert ask("GET", "/healthz", "Admin.Example.com:9900", names=("admin.example.com",)).status == 200
    assert ask("GET", "/healthz", "admin.example.com:9900").status == 421


def test_our_own_page_and_tools_may_change_things(ask: Ask, control: Any) -> None:
    assert ask("POST", "/api/v1/reload").status == 200
    own = {"origin": "http://127.0.0.1:9900", "sec_fetch_site": "same-origin"}
    assert ask("POST", "/api/v1/reload", **own).status == 200
    assert control.generation == 5


@pytest.mark.parametrize(
    "fields",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://127.0.0.1:9901"},
        {"origin": "ftp://127.0.0.1:9900"},
        {"origin": "127.0.0.1:9900"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://127.0.0.1:9900", "sec_fetch_site": "cross-site"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_foreign_page_may_change_nothing(ask: Ask, control: Any, fields: dict[str, str], method: str) -> None:
    answer = ask(method, "/api/v1/reload", **fields)
    assert answer.status == 403
    assert answer.json()["title"] == "Forbidden"
    assert control.generation == 3


def test_reading_needs_no_origin(ask: Ask) -> None:
    assert ask("GET", "/api/v1/status", origin="http://evil.example").status == 200
