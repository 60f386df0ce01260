"""Cross-site requests: which are refused, by what browsers say of where they come from."""

from __future__ import annotations

import pytest

from edgewise.contracts.filters import Request
from edgewise.gateway.same_origin import SameOrigin

Fields = list[tuple[str, str]]
HOST = ("Host", "shop.example")


def status(method: str, fields: Fields, *, secure: bool = True) -> int:
    """Return the status of the refusal, or 200."""
    answer = SameOrigin(secure=secure).request(Request(method, headers=fields))
    return 200 if answer is None else answer.status


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_safe_methods_may_come_from_anywhere(method: str) -> None:
    assert status(method, [HOST, ("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")]) == 200


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_browser_says_that_it_is_the_same_origin(site: str) -> None:
    assert status("POST", [HOST, ("Sec-Fetch-Site", site)]) == 200


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-site")],
        [("Sec-Fetch-Site", "Same-Origin")],
        [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://shop.example")],
        [("Origin", "null")],
        [("Origin", "")],
        [("Origin", "https://evil.example")],
        [("Origin", "https://shop.example.evil.example")],
        [("Origin", "https://evil.example/https://shop.example")],
        [("Origin", "https://shop.example:8443")],
        [("Origin", "http://shop.example")],
        [("Origin", "https://shop.example"), ("Origin", "https://evil.example")],
        [("Referer", "https://shop.example/")],
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "MKCOL"])
def test_what_is_not_shown_to_be_the_same_origin_is_refused(method: str, fields: Fields) -> None:
    assert status(method, [HOST, *fields]) == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("shop.example", "https://shop.example"),
        ("SHOP.example:443", "https://shop.example"),
        ("shop.example:8443", "https://shop.example:8443"),
        ("[::1]:443", "https://[::1]"),
    ],
)
def test_older_browsers_say_it_by_origin(host: str, origin: str) -> None:
    assert status("POST", [("Host", host), ("Origin", origin)]) == 200


def test_plain_http_is_the_same_origin_only_where_cookies_travel_by_it() -> None:
    fields = [("Host", "localhost:80"), ("Origin", "http://localhost")]
    assert (status("POST", fields), status("POST", fields, secure=False)) == (403, 200)


def test_a_request_without_host_has_no_origin() -> None:
    assert status("POST", [("Origin", "https://")]) == 403


def test_websockets_of_other_sites_are_refused() -> None:
    opening = [HOST, ("Upgrade", "WebSocket"), ("Origin", "https://evil.example")]
    assert status("GET", opening) == 403
    assert status("GET", [*opening[:2], ("Origin", "https://shop.example")]) == 200
