"""Cross-origin requests: what preflights get, what answers say, and that no origin slips in beside those named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.config.cors import Cors as CorsSpec
from edgewise.config.cors import check_origin
from edgewise.config.problems import BadValue
from edgewise.contracts.plan import Answer
from edgewise.contracts.policies import Denial
from edgewise.gateway.cors import Cors, CorsRules, preflight_method
from edgewise.protocols.http1 import parse_request_head

APP = "https://app.example.com"
ALLOW = "Access-Control-Allow-"


def policy(**changes: Any) -> Cors:
    spec = CorsSpec(**changes)
    max_age, private = int(spec.max_age), spec.private_network
    expose = spec.expose if "expose" in changes or not spec.credentials else []
    return Cors(CorsRules(spec.origins, spec.methods, spec.headers, expose, spec.credentials, max_age, private))


def ask(made: Cors, method: str = "GET", *lines: str) -> tuple[Any, dict[str, str]]:
    """Return what the policy says, and the fields that the answer gets."""
    head = "\r\n".join((f"{method} /orders HTTP/1.1", "Host: shop.example", *lines, "\r\n")).encode("latin-1")
    exchange: Any = SimpleNamespace(plan=SimpleNamespace(request=parse_request_head(head, 100)), answer_lines=b"")
    outcome = made.check(exchange)
    told = exchange.answer_lines.decode("latin-1").split("\r\n")[:-1]
    return outcome, dict(line.split(": ", 1) for line in told)


def preflight(made: Cors, origin: str = APP, method: str = "PUT", *lines: str) -> dict[str, str]:
    outcome, added = ask(made, "OPTIONS", f"Origin: {origin}", f"Access-Control-Request-Method: {method}", *lines)
    assert isinstance(outcome, Answer)
    assert (outcome.status, outcome.content, added) == (204, b"", {})
    return {name.decode(): value.decode("latin-1") for name, value in outcome.fields}


class TestAnyOrigin:
    def test_answers_are_the_same_for_all_so_that_caches_need_no_vary(self) -> None:
        told = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*"}
        for lines in ((), (f"Origin: {APP}",), ("Origin: null",)):
            assert ask(policy(), "GET", *lines) == (None, told)

    def test_a_preflight_may_use_any_field_and_no_cookies(self) -> None:
        told = preflight(policy(), APP, "PUT", "Access-Control-Request-Headers: authorization, x-one")
        assert told == {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
            "Access-Control-Allow-Headers": "authorization, x-one",
            "Access-Control-Max-Age": "7200",
            "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, "
            "Access-Control-Request-Private-Network",
        }


class TestNamedOrigins:
    made = policy(
        origins=[APP, "https://*.shop.example", "http://localhost:3000"], credentials=True, expose=["X-Total"]
    )

    @pytest.mark.parametrize(
        "origin", [APP, "https://a.shop.example", "https://a.b-c.shop.example", "http://localhost:3000"]
    )
    def test_those_are_told_by_name(self, origin: str) -> None:
        outcome, told = ask(self.made, "GET", f"Origin: {origin}")
        assert outcome is None
        assert told == {
            ALLOW + "Origin": origin,
            ALLOW + "Credentials": "true",
            "Access-Control-Expose-Headers": "X-Total",
            "Vary": "Origin",
        }
        told = preflight(self.made, origin)
        assert (told[ALLOW + "Origin"], told[ALLOW + "Credentials"]) == (origin, "true")

    @pytest.mark.parametrize(
        "origin",
        [
            "null",
            "https://evil.example",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://shop.example",
            "https://evil-shop.example",
            "https://.shop.example",
            "https://evil.example/.shop.example",
            "https://evil.example:443@a.shop.example",
            "https://a.shop.example:8443",
            "https://A.shop.example",
            "https://a.shop.example, https://b.shop.example",
            "http://localhost:30001",
            "*",
        ],
    )
    def test_others_are_told_nothing_and_their_preflights_are_refused(self, origin: str) -> None:
        assert ask(self.made, "GET", f"Origin: {origin}") == (None, {"Vary": "Origin"})
        outcome, _ = ask(self.made, "OPTIONS", f"Origin: {origin}", "Access-Control-Request-Method: PUT")
        assert isinstance(outcome, Denial)
        assert (outcome.status, outcome.policy) == (403, "cors")
        assert not any(name.startswith(b"Access-Control-Allow") for name, _ in outcome.fields)

    def test_answers_to_requests_without_an_origin_vary_too(self) -> None:
        for _ in range(3):  # remembered or not
            assert ask(self.made) == (None, {"Vary": "Origin"})

    def test_null_is_one_where_it_is_named(self) -> None:
        assert ask(policy(origins=["null"]), "GET", "Origin: null")[1][ALLOW + "Origin"] == "null"

    @given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60))
    def test_whatever_is_let_in_by_a_wildcard_is_a_name_below_it(self, inner: str) -> None:
        _, told = ask(self.made, "GET", f"Origin: https://{inner}.shop.example")
        plain = all(character in "abcdefghijklmnopqrstuvwxyz0123456789._-" for character in inner)
        assert (ALLOW + "Origin" in told) is (plain and not inner.startswith("."))


class TestPreflights:
    def test_an_options_request_that_is_none_goes_on(self) -> None:
        for lines in (("Origin: " + APP,), ("Access-Control-Request-Method: PUT",), ()):
            assert ask(policy(), "OPTIONS", *lines)[0] is None

    def test_fields_that_are_named_are_told_whatever_is_asked(self) -> None:
        told = preflight(policy(headers=["X-One", "Content-Type"]), APP, "PUT", "Access-Control-Request-Headers: x-two")
        assert told[ALLOW + "Headers"] == "X-One, Content-Type"

    @pytest.mark.parametrize("asked", ["a b", "a,,b", '"a"', "a; b", "x" * 5000])
    def test_what_are_no_names_of_fields_is_not_said_back(self, asked: str) -> None:
        told = preflight(policy(), APP, "PUT", f"Access-Control-Request-Headers: {asked}")
        assert ALLOW + "Headers" not in told

    def test_a_private_network_is_opened_only_where_that_is_wanted_and_asked_for(self) -> None:
        wanted = "Access-Control-Request-Private-Network: true"
        assert preflight(policy(private_network=True), APP, "PUT", wanted)[ALLOW + "Private-Network"] == "true"
        assert ALLOW + "Private-Network" not in preflight(policy(), APP, "PUT", wanted)
        assert ALLOW + "Private-Network" not in preflight(policy(private_network=True))

    def test_the_method_that_is_asked_for_is_known(self) -> None:
        asking = b"Host: a\r\nOrigin: https://b\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
        assert preflight_method(parse_request_head(b"OPTIONS / HTTP/1.1\r\n" + asking, 100)) == b"PUT"
        assert preflight_method(parse_request_head(b"GET / HTTP/1.1\r\n" + asking, 100)) is None


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://App.Example.com:443", "https://app.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://*.Example.com", "https://*.example.com"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("NULL", "null"),
        ("*", "*"),
    ],
)
def test_origins_are_taken_as_browsers_send_them(text: str, origin: str) -> None:
    assert check_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "app.example.com",
        "https://a.example/",
        "https://*",
        "*://a.example",
        "https://a.*.example",
        "https://",
        "https://a b",
    ],
)
def test_what_is_no_origin_is_a_mistake(text: str) -> None:
    with pytest.raises(BadValue, match="is no origin"):
        check_origin(text)
