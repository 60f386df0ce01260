"""Sessions held by the gateway, as filters without a socket: what upstreams are told, what apps may say, attacks."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Any

import pytest

from edgewise.contracts.filters import Request, Response
from edgewise.contracts.identity import Identity
from edgewise.contracts.state import StateEngine, StateUnavailable
from edgewise.sessions import SessionSettings
from edgewise.sessions.form_tokens import FormTokens
from edgewise.sessions.gateway import HeldSessions, Requirement, SessionFilter
from edgewise.sessions.stateful import StatefulSessions
from edgewise.sessions.stateless import StatelessSessions
from edgewise.testing.state import MemoryStateEngine
from support.manual_clock import ManualClock

NOW = 1_700_000_000.0
ALICE = '{"user": "alice", "groups": ["staff", "ops"]}'
Fields = list[tuple[str, str]]


class Gateway:
    """The filters of routes that share their sessions, on an engine and a clock of the test's own."""

    def __init__(self, *, waits: bool = False, **changes: Any) -> None:
        self.clock = ManualClock(NOW)
        self.engine = MemoryStateEngine(self.clock)
        self.lost = False
        settings = SessionSettings(**{"idle": 100.0, "absolute": 1000.0, **changes})
        self.held = HeldSessions(settings, self._open, waits=waits)

    async def _open(self) -> StateEngine:
        if self.lost:
            raise StateUnavailable("out of reach")
        return self.engine

    async def opened(self) -> None:
        """Open the engine, with the test's clock."""
        sessions = await self.held.get()
        kind: Any = StatefulSessions if sessions.settings.kind == "stateful" else StatelessSessions
        sessions.store = kind(sessions.settings, self.engine, clock=self.clock, monotonic=self.clock)

    def route(self, *, required: bool = False, login: str | None = None, tokens: bool = False) -> SessionFilter:
        """Return the filter of a route; `tokens`: it wants those of its sessions."""
        csrf = FormTokens(foreign).check if tokens else None
        return SessionFilter(self.held, Requirement(required, login, csrf), form_tokens=tokens)

    def lose(self) -> None:
        """Let the engine answer nothing from now on."""

        async def get(key: str, *, stale: bool = False) -> Any:
            raise StateUnavailable("out of reach")

        self.engine.get = get  # type: ignore[method-assign]

    def log_in(self, told: str = ALICE, cookie: str = "", *, tokens: bool = False) -> str:
        """Return the cookie of a new session."""
        answer = asyncio.run(exchange(self.route(tokens=tokens), cookies(cookie), told=told))[1]
        set_cookie = answer.headers["Set-Cookie"]
        assert "; Secure; HttpOnly; SameSite=Lax" in set_cookie
        return set_cookie.partition(";")[0]


def told(request: Request) -> tuple[str, str, set[str]]:
    """Return who asks: name, way, groups."""
    assert request.identity is not None
    return request.identity.name, request.identity.method, set(request.identity.groups)


def foreign(request: Request) -> Response | None:
    """Refuse what another site asks for."""
    return Response(403, "foreign") if request.headers.get("sec-fetch-site") == "cross-site" else None


def cookies(*values: str) -> Request:
    return Request(headers=[("Host", "shop.example"), *(("Cookie", value) for value in values if value)])


async def done(result: Response | Awaitable[Response | None] | None) -> Response | None:
    """Return what a hook returned, waited for where it waits."""
    if inspect.isawaitable(result):
        return await result
    return result


async def exchange(one: SessionFilter, request: Request, told: str | Fields = "") -> tuple[Response | None, Response]:
    """Return what the request hook answered, and the app's answer as the client gets it."""
    refused = await done(one.request(request))
    fields = [("X-Edgewise-Session", told)] if isinstance(told, str) and told else list(told or [])
    answer = Response(200, None, fields)
    if refused is not None:
        return refused, refused
    return None, await done(one.response(request, answer)) or answer


def ask(one: SessionFilter, request: Request, told: str | Fields = "") -> Response:
    """Return what the client gets."""
    return asyncio.run(exchange(one, request, told))[1]


@pytest.fixture(params=["stateful", "stateless"])
def gateway(request: pytest.FixtureRequest) -> Gateway:
    changes: dict[str, Any] = {"kind": request.param}
    if request.param == "stateless":
        changes["secrets"] = ("s" * 32,)
    made = Gateway(**changes)
    asyncio.run(made.opened())
    return made


class TestIdentity:
    def test_who_logged_in_is_told_to_upstreams_and_the_cookie_is_not(self, gateway: Gateway) -> None:
        request = cookies(f"theme=dark; {gateway.log_in()}; a=b")
        assert ask(gateway.route(required=True), request).status == 200
        assert told(request) == ("alice", "session", {"staff", "ops"})
        assert request.headers.get_all("Cookie") == ["theme=dark; a=b"]

    def test_a_request_with_nothing_of_it_is_not_changed(self, gateway: Gateway) -> None:
        request = cookies("theme=dark")
        assert ask(gateway.route(), request).headers.get_all("Vary") == ["Cookie"]
        assert not request.headers.changed

    def test_an_embedded_engine_is_read_without_waiting(self, gateway: Gateway) -> None:
        assert gateway.route(required=True).request(cookies(gateway.log_in())) is None

    def test_another_engine_is_waited_for(self) -> None:
        gateway = Gateway(waits=True)
        asyncio.run(gateway.opened())
        result = gateway.route(required=True).request(cookies(gateway.log_in()))
        assert inspect.isawaitable(result)
        assert asyncio.run(done(result)) is None

    def test_a_user_who_comes_again_is_the_same_one(self, gateway: Gateway) -> None:
        one = gateway.route(required=True)
        first, second = cookies(gateway.log_in()), cookies(gateway.log_in())
        ask(one, first)
        ask(one, second)
        assert first.identity is second.identity is not None

    def test_whom_auth_verified_is_who_asks(self, gateway: Gateway) -> None:
        request = cookies(gateway.log_in())
        request.identity = Identity("robot", "api_key")
        ask(gateway.route(required=True), request)
        assert request.identity.name == "robot"


class TestCookies:
    def test_a_tampered_cookie_is_none(self, gateway: Gateway) -> None:
        cookie = gateway.log_in()
        for at in (len(cookie) - 1, len(cookie) // 2):
            forged = cookie[:at] + ("A" if cookie[at] != "A" else "B") + cookie[at + 1 :]
            assert ask(gateway.route(required=True), cookies(forged)).status == 401

    def test_two_cookies_of_the_name_are_none(self, gateway: Gateway) -> None:
        mine, tossed = gateway.log_in(), gateway.log_in('{"user": "mallory"}')
        for request in (cookies(f"{tossed}; {mine}"), cookies(mine, tossed)):
            assert ask(gateway.route(required=True), request).status == 401
            assert "Cookie" not in request.headers

    def test_a_session_ends_when_it_is_not_used(self, gateway: Gateway) -> None:
        cookie = gateway.log_in()
        gateway.clock.advance(101)
        assert ask(gateway.route(required=True), cookies(cookie)).status == 401

    def test_use_is_written_down_once_a_fraction_of_idle(self, gateway: Gateway) -> None:
        cookie = gateway.log_in()
        one = gateway.route(required=True)
        for _ in range(5):
            gateway.clock.advance(50)
            answer = ask(one, cookies(cookie))
            assert answer.status == 200
            cookie = (answer.headers.get("Set-Cookie") or cookie).partition(";")[0]
        assert "Set-Cookie" not in ask(one, cookies(cookie)).headers
        gateway.clock.advance(750)
        assert ask(one, cookies(cookie)).status == 401

    def test_a_login_rotates_and_the_old_cookie_dies(self, gateway: Gateway) -> None:
        old = gateway.log_in()
        new = gateway.log_in('{"user": "alice"}', old)
        gateway.clock.advance(1)
        assert ask(gateway.route(required=True), cookies(old)).status == 401
        request = cookies(new)
        assert ask(gateway.route(required=True), request).status == 200
        assert told(request) == ("alice", "session", set())

    def test_a_cookie_that_was_planted_before_the_login_is_not_adopted(self, gateway: Gateway) -> None:
        planted = f"{gateway.held.settings.cookie}={'A' * 43}"
        assert gateway.log_in(cookie=planted) != planted
        assert ask(gateway.route(required=True), cookies(planted)).status == 401

    def test_after_the_logout_a_copy_is_worth_nothing(self, gateway: Gateway) -> None:
        cookie = gateway.log_in()
        answer = ask(gateway.route(), cookies(cookie), "end")
        assert answer.headers["Set-Cookie"].endswith("Max-Age=0")
        assert "X-Edgewise-Session" not in answer.headers
        gateway.clock.advance(1)
        assert ask(gateway.route(required=True), cookies(cookie)).status == 401

    def test_an_answer_that_sets_the_cookie_is_not_for_shared_caches(self, gateway: Gateway) -> None:
        told = [("X-Edgewise-Session", ALICE), ("Cache-Control", "public, max-age=60"), ("Vary", "Accept")]
        answer = ask(gateway.route(), cookies(), told)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers.get_all("Vary") == ["Accept", "Cookie"]


class TestApps:
    @pytest.mark.parametrize(
        "told",
        [
            "End", "", "alice", "[]", '{"user": ""}', '{"user": "a b"}', '{"user": "a\\r\\nX: y"}', '{"user": 1}',
            '{"user": "a", "admin": true}', '{"user": "a", "groups": ["a,b"]}', '{"user": "a", "groups": "ab"}',
            '{"user": "' + "a" * 257 + '"}', '{"user": "a"} ' + " " * 4096,
        ],
    )  # fmt: skip
    def test_what_cannot_be_understood_is_an_error_and_no_login(self, gateway: Gateway, told: str) -> None:
        answer = ask(gateway.route(), cookies(), [("X-Edgewise-Session", told)])
        assert answer.status == 502
        assert "Set-Cookie" not in answer.headers

    def test_two_fields_are_an_error(self, gateway: Gateway) -> None:
        assert ask(gateway.route(), cookies(), [("X-Edgewise-Session", ALICE)] * 2).status == 502


class TestRefusals:
    def test_a_browser_that_opens_a_page_is_sent_to_the_login(self, gateway: Gateway) -> None:
        one = gateway.route(required=True, login="/login")
        page = Request(path="/a/b", query="x=1&y=2", headers=[("Sec-Fetch-Mode", "navigate")])
        answer = ask(one, page)
        assert (answer.status, answer.headers["Location"]) == (303, "/login?next=/a/b%3Fx%3D1%26y%3D2")
        assert ask(one, Request(headers=[("Accept", "text/html,*/*")])).status == 303

    @pytest.mark.parametrize(
        "request_",
        [
            Request("POST", headers=[("Sec-Fetch-Mode", "navigate")]),
            Request(headers=[("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")]),
            Request(headers=[("Accept", "application/json")]),
            Request(path="/login", headers=[("Sec-Fetch-Mode", "navigate")]),
        ],
    )
    def test_all_others_get_401(self, gateway: Gateway, request_: Request) -> None:
        answer = ask(gateway.route(required=True, login="/login"), request_)
        assert answer.status == 401
        assert "WWW-Authenticate" in answer.headers

    @pytest.mark.parametrize(
        "path", ["//evil.example", "///evil.example", "/\\evil.example", "https:evil", "/" + "a" * 3000]
    )
    def test_the_login_never_leads_back_to_another_host(self, gateway: Gateway, path: str) -> None:
        request = Request(path=path, headers=[("Sec-Fetch-Mode", "navigate")])
        assert ask(gateway.route(required=True, login="/login"), request).headers["Location"] == "/login"


class TestLostEngine:
    def test_a_route_that_requires_a_session_answers_503(self) -> None:
        gateway = Gateway()
        asyncio.run(gateway.opened())
        cookie = gateway.log_in()
        gateway.lose()
        answer = ask(gateway.route(required=True), cookies(cookie))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")

    def test_elsewhere_the_request_goes_on_as_nobodys(self) -> None:
        gateway = Gateway()
        asyncio.run(gateway.opened())
        cookie = gateway.log_in()
        gateway.lose()
        request = cookies(cookie)
        assert ask(gateway.route(), request).status == 200
        assert request.identity is None
        assert "Cookie" not in request.headers

    @pytest.mark.parametrize("told", [ALICE, "end"])
    def test_a_login_or_logout_that_cannot_be_kept_is_not_claimed(self, told: str) -> None:
        gateway = Gateway()
        asyncio.run(gateway.opened())
        cookie = gateway.log_in()
        gateway.lose()
        answer = ask(gateway.route(), cookies(cookie), told)
        assert answer.status == 503
        assert "Set-Cookie" not in answer.headers

    def test_an_engine_that_was_not_there_at_first_is_opened_later(self) -> None:
        gateway = Gateway()
        gateway.lost = True
        request = cookies("__Host-session=" + "A" * 43)
        assert ask(gateway.route(required=True), request).status == 503
        gateway.lost = False
        assert ask(gateway.route(required=True), cookies("__Host-session=" + "A" * 43)).status == 401


def test_sealed_sessions_need_no_engine_and_open_at_one_host_only() -> None:
    held = HeldSessions(SessionSettings(kind="stateless", secrets=("s" * 32,), state=None), None, waits=False)
    optional, required = (SessionFilter(held, Requirement(required)) for required in (False, True))
    cookie = ask(optional, cookies(), ALICE).headers["Set-Cookie"].partition(";")[0]
    assert required.request(cookies(cookie)) is None
    assert ask(required, Request(headers=[("Host", "other.example"), ("Cookie", cookie)])).status == 401


class TestFormTokens:
    def told(self, gateway: Gateway, cookie: str) -> str:
        """Return the token that the app is told for its pages."""
        request = cookies(cookie)
        assert ask(gateway.route(tokens=True), request).status == 200
        token = request.headers["X-CSRF-Token"]
        assert token is not None
        return token

    def post(self, gateway: Gateway, cookie: str, *tokens: str, site: str = "", required: bool = False) -> Response:
        request = cookies(cookie)
        request.method = "POST"
        for token in tokens:
            request.headers.add("X-CSRF-Token", token)
        if site:
            request.headers.add("Sec-Fetch-Site", site)
        return ask(gateway.route(tokens=True, required=required), request)

    def test_what_changes_something_needs_a_token_that_the_app_was_told(self, gateway: Gateway) -> None:
        mine, other = gateway.log_in(tokens=True), gateway.log_in(tokens=True)
        token = self.told(gateway, mine)
        assert token != self.told(gateway, mine)
        assert self.post(gateway, mine, token).status == 200
        assert self.post(gateway, mine, self.told(gateway, mine), site="cross-site").status == 200
        for tokens in ((), ("",), (token[:-2],), (self.told(gateway, other),), (token, token)):
            assert self.post(gateway, mine, *tokens).status == 403, tokens

    def test_a_clients_own_token_reaches_no_app(self, gateway: Gateway) -> None:
        for cookie in ("", gateway.log_in(tokens=True)):
            request = cookies(cookie)
            request.headers.add("X-CSRF-Token", "mine")
            assert ask(gateway.route(tokens=True), request).status == 200
            assert "mine" not in request.headers.get_all("X-CSRF-Token")

    def test_without_a_session_what_browsers_say_decides(self, gateway: Gateway) -> None:
        assert self.post(gateway, "", site="same-origin").status == 200
        assert self.post(gateway, "", site="cross-site").status == 403
        assert self.post(gateway, "", site="same-origin", required=True).status == 401
        before = gateway.log_in()
        assert self.post(gateway, before, site="same-origin").status == 200
        assert self.post(gateway, before, site="cross-site").status == 403

    def test_while_the_engine_is_lost_what_browsers_say_decides(self) -> None:
        gateway = Gateway()
        asyncio.run(gateway.opened())
        cookie = gateway.log_in(tokens=True)
        gateway.lose()
        gateway.clock.advance(1)
        assert self.post(gateway, cookie, site="cross-site").status == 403

    def test_a_websocket_is_asked_where_it_comes_from(self, gateway: Gateway) -> None:
        cookie = gateway.log_in(tokens=True)
        for site, status in (("same-origin", 200), ("cross-site", 403)):
            request = cookies(cookie)
            request.headers.add("Upgrade", "websocket")
            request.headers.add("Sec-Fetch-Site", site)
            assert ask(gateway.route(tokens=True), request).status == status

    def test_a_new_login_makes_earlier_tokens_worthless(self, gateway: Gateway) -> None:
        cookie = gateway.log_in(tokens=True)
        token = self.told(gateway, cookie)
        again = gateway.log_in(cookie=cookie, tokens=True)
        assert self.post(gateway, again, token).status == 403
        assert self.post(gateway, again, self.told(gateway, again)).status == 200
