"""What logins read of requests: paths to come back to, origins, cookies that servers must not see, logins under way."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgewise.config.oidc import Oidc
from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import Plan, Route
from edgewise.gateway.oidc.attempts import Attempts
from edgewise.gateway.oidc.client import Client
from edgewise.gateway.oidc.hiding import Hiding
from edgewise.gateway.oidc.id_token import groups_of, unmet
from edgewise.gateway.oidc.requests import NotUnderstood, from_own_page, local, origin, parameters
from edgewise.http.head import RequestHead, plain_head
from edgewise.protocols.http1 import parse_request_head
from support.manual_clock import ManualClock


def head(*lines: str, target: str = "/") -> RequestHead:
    text = "\r\n".join((f"GET {target} HTTP/1.1", "Host: app.example", *lines))
    return parse_request_head(f"{text}\r\n\r\n".encode("latin-1"), 100)


@given(
    st.text(st.characters(max_codepoint=0x2FFF), max_size=30) | st.from_regex(r"[/\\.:@?#a-z\t]{0,12}", fullmatch=True)
)
@example("//evil.example")
@example("/\\evil.example")
@example("/\t/evil.example")
@example("/.//evil.example")
@example("https:evil.example")
def test_what_is_local_stays_on_this_host(path: str) -> None:
    found = local(path)
    if found is not None:
        assert found == path
        joined = urlsplit(urljoin("https://app.example/oauth2/staff/callback", found.replace("\\", "/")))
        assert (joined.scheme, joined.netloc) == ("https", "app.example")
        assert found.isascii()
        assert found.isprintable()


@pytest.mark.parametrize("path", ["/", "/a", "/a/b?c=d&e=%2F%2Fx", "/a//b", "/?next=//evil.example", "/a#b"])
def test_paths_of_this_host_are_local(path: str) -> None:
    assert local(path) == path


@pytest.mark.parametrize(
    ("lines", "own"),
    [
        (("Sec-Fetch-Site: same-origin",), True),
        (("Sec-Fetch-Site: none",), False),
        (("Sec-Fetch-Site: same-site",), False),
        (("Sec-Fetch-Site: cross-site",), False),
        (("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"), False),
        (("Sec-Fetch-Site: cross-site", "Origin: https://app.example"), False),
        (("Origin: https://app.example",), True),
        (("Origin: http://app.example",), False),
        (("Origin: https://app.example.evil",), False),
        (("Origin: null",), False),
        (("Origin: https://app.example", "Origin: https://evil.example"), False),
        ((), False),
    ],
)
def test_a_page_of_this_origin_is_told_by_what_browsers_say(lines: tuple[str, ...], own: bool) -> None:
    assert from_own_page(head(*lines), secure=True) is own


def test_the_origin_names_no_default_port() -> None:
    for host, secure, wanted in (
        (b"App.example:443", True, "https://app.example"),
        (b"app.example:80", False, "http://app.example"),
        (b"app.example:80", True, "https://app.example:80"),
        (b"[::1]:8443", True, "https://[::1]:8443"),
    ):
        assert origin(plain_head(host=host), secure=secure) == wanted


@pytest.mark.parametrize("query", [b"a=1&a=2", b"&".join([b"a%d=1" % n for n in range(40)]), b"a=%ff", b"\xff=1"])
def test_queries_that_are_none_are_refused(query: bytes) -> None:
    with pytest.raises(NotUnderstood):
        parameters(plain_head(query=query))


class TestHiding:
    def hidden(self, *lines: str) -> tuple[bytes, RequestHead]:
        request = head(*lines)
        plan = Plan(Route("pages", 0), request)
        plan.head = b"GET / HTTP/1.1\r\nHost: app.example\r\n" + request.forward + b"Via: 1.1 edgewise\r\n"
        before, exchange = plan.head, Exchange(None, plan, 0.0, "0" * 32)
        hiding = Hiding("__Host-session")
        hiding.hide(exchange)
        again = Exchange(None, plan, 0.0, "0" * 32)
        hiding.hide(again)
        assert again.plan is exchange.plan
        assert plan.head == before  # others share it
        return exchange.plan.head, exchange.plan.request

    @pytest.mark.parametrize(
        ("lines", "left"),
        [
            (("Cookie: __Host-session=x",), []),
            (("Cookie: a=1; __Host-session=x; b=2",), ["a=1; b=2"]),
            (("cookie: a=1;__Host-session=x",), ["a=1"]),
            (("Cookie: __Host-session=x; __Host-session=y; a=1",), ["a=1"]),
            (("Cookie: __Host-session=x", "Accept: */*", "Cookie: a=1; __Host-session=y"), ["a=1"]),
            (("Cookie: a=1", "Cookie: b=2; __Host-session=x"), ["a=1", "b=2"]),
            (("Cookie: not__Host-session=x",), ["not__Host-session=x"]),
            (("Cookie: a=__Host-session=x",), ["a=__Host-session=x"]),
            (("X-Cookie: __Host-session=x", "Cookie: __Host-session=x"), []),
        ],
    )
    def test_the_cookie_goes_nowhere_and_the_others_stay(self, lines: tuple[str, ...], left: list[str]) -> None:
        sent, request = self.hidden(*lines)
        told = [line for line in sent.decode().split("\r\n") if line.lower().startswith("cookie:")]
        assert [line[8:] for line in told] == left
        assert [field.value.decode() for field in request.fields if field.name == b"cookie"] == left
        assert request.forward in sent
        if lines[0].startswith("X-"):
            assert b"X-Cookie: __Host-session=x\r\n" in sent

    @given(st.lists(st.sampled_from(["a=1", "__Host-session=x", "b=__Host-session=", "c"]), min_size=1, max_size=6))
    def test_whatever_else_there_is(self, pairs: list[str]) -> None:
        sent, _ = self.hidden("Cookie: " + "; ".join(pairs), "Accept: */*")
        assert b" __Host-session=" not in sent
        for pair in pairs:
            assert (pair.encode() in sent) is (pair != "__Host-session=x")


class _Logins:
    """As much of `contracts.logins.Logins` as logins under way need."""

    secure = True

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    async def secret(self) -> bytes:
        return self._secret


class TestAttempts:
    def made(self, clock: ManualClock, secret: bytes = b"s" * 32, client_id: str = "edge") -> Attempts:
        logins: Any = _Logins(secret)
        client = Client("staff", Oidc(issuer="https://login.example", client_id=client_id), None)
        return Attempts(client, logins, clock)

    def pair(self, field: str) -> str:
        return field.partition(";")[0]

    def test_a_login_is_found_by_its_browser_alone_and_for_ten_minutes(self) -> None:
        clock = ManualClock(1e9)
        attempts = self.made(clock)
        attempt, fields = asyncio.run(attempts.begin("https://app.example/cb", "/a", []))
        cookies = ["theme=dark; " + self.pair(fields[0])]
        find = lambda made, state, held: asyncio.run(made.find(state, held))  # noqa: E731
        assert find(attempts, attempt.state, cookies) == attempt
        assert find(self.made(clock), attempt.state, cookies) == attempt  # another worker
        assert find(attempts, attempt.state, []) is None
        assert find(attempts, attempt.state + "x", cookies) is None
        assert find(attempts, "", cookies) is None
        assert find(self.made(clock, b"t" * 32), attempt.state, cookies) is None
        assert find(self.made(clock, client_id="another"), attempt.state, cookies) is None
        assert find(attempts, attempt.state, [*cookies, *cookies]) is None
        for bad in ("A" * 5000, "ü", "====", ""):
            assert find(attempts, attempt.state, [cookies[0].partition("=")[0] + "=" + bad]) is None
        clock.advance(600)
        assert find(attempts, attempt.state, cookies) is None

    def test_a_browser_keeps_five_the_latest(self) -> None:
        clock = ManualClock(1e9)
        attempts = self.made(clock)
        jar: dict[str, str] = {"__Host-login-" + "0" * 16: "forged"}
        states = []
        for _ in range(9):
            clock.advance(1)
            held = ["; ".join(f"{name}={value}" for name, value in jar.items())]
            attempt, fields = asyncio.run(attempts.begin("https://app.example/cb", "/" + "a" * 767, held))
            states.append(attempt.state)
            for field in fields:
                name, _, value = self.pair(field).partition("=")
                jar[name] = value
                if "Max-Age=0" in field:
                    del jar[name]
            assert len(jar) <= 5
        held = ["; ".join(f"{name}={value}" for name, value in jar.items())]
        assert len(held[0]) < 8_000
        found = [asyncio.run(attempts.find(state, held)) is not None for state in states]
        assert found == [False] * 4 + [True] * 5


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=200)))
def test_groups_are_what_a_field_can_tell(told: Any) -> None:
    groups, left_out = groups_of({"groups": told}, "groups")
    assert len(groups) <= 128
    assert len(groups) == len(set(groups))
    assert left_out >= 0
    for group in groups:
        assert 1 <= len(group) <= 64
        assert all("!" <= character <= "~" and character != "," for character in group)


def test_what_is_required_is_of_the_same_type() -> None:
    assert unmet({"a": 1}, {"a": True}) == "a"
    assert unmet({"a": True}, {"a": 1}) == "a"
    assert unmet({"a": [True, "x"]}, {"a": "x"}) is None
    assert unmet({"a.b": "x"}, {"a.b": "x"}) is None
    assert unmet({"a": {"b": "x"}}, {"a.b": "x"}) is None
