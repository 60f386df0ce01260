"""Logging out: by the user, whom no other site can make do so, and by the provider, whose word nobody can forge."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from edgewise.contracts.state import StateUnavailable
from support.oidc_double import (
    CLIENT,
    OTHER_KEY,
    Browser,
    Provider,
    in_a_loop,
    location,
    logout_token,
    signed,
    unsigned,
)

LOGOUT = "/oauth2/staff/logout"
OWN = (b"sec-fetch-site", b"same-origin")


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def browser(provider: Provider) -> Browser:
    return Browser(provider)


class TestByTheUser:
    @in_a_loop
    async def test_the_session_ends_and_the_provider_is_told_whose(self, browser: Browser) -> None:
        await browser.log_in()
        copy = dict(browser.cookies)
        answer = await browser.ask(LOGOUT, OWN)
        told = urlsplit(location(answer))
        assert f"{told.scheme}://{told.netloc}{told.path}" == "https://login.example/logout"
        asked = parse_qs(told.query)
        assert asked["client_id"] == [CLIENT]
        assert asked["post_logout_redirect_uri"] == ["https://app.example/"]
        assert asked["id_token_hint"][0].count(".") == 2
        assert browser.cookies == {}
        browser.cookies = copy
        assert await browser.verified() is None

    @in_a_loop
    async def test_without_an_endpoint_or_a_provider_it_ends_here(self, provider: Provider) -> None:
        provider.document["end_session_endpoint"] = None
        browser = Browser(provider, after_logout="/bye")
        await browser.log_in()
        assert location(await browser.ask(LOGOUT, OWN)) == "/bye"
        assert await browser.verified() is None

    @in_a_loop
    async def test_nobody_logs_out_to_the_same_end(self, browser: Browser) -> None:
        assert location(await browser.ask(LOGOUT, OWN)) == "/"

    @pytest.mark.parametrize("site", [b"cross-site", b"same-site", b"none", b""])
    @in_a_loop
    async def test_another_site_gets_the_question_and_its_forms_nothing(self, browser: Browser, site: bytes) -> None:
        await browser.log_in()
        fields = ((b"sec-fetch-site", site),) if site else ()
        answer = await browser.ask(LOGOUT, *fields)
        assert answer.status == 200
        assert b'<form method="post">' in answer.content
        assert (await browser.ask(LOGOUT, *fields, method=b"POST")).status == 403
        assert (await browser.verified()).name == "4711"
        assert (await browser.ask(LOGOUT, (b"origin", b"https://app.example"), method=b"POST")).status == 303

    @in_a_loop
    async def test_a_session_that_cannot_be_ended_is_not_said_to_be(self, browser: Browser) -> None:
        await browser.log_in()

        async def lost(*_: Any, **__: Any) -> None:
            raise StateUnavailable("out of reach")

        browser.engine.delete = lost  # type: ignore[method-assign,assignment]
        answer = await browser.ask(LOGOUT, OWN)
        assert answer.status == 503
        assert b"still logged in" in answer.content
        assert "__Host-session" in browser.cookies


class TestByTheProvider:
    @in_a_loop
    async def test_a_subject_is_logged_out_everywhere(self, provider: Provider, browser: Browser) -> None:
        await browser.log_in()
        assert (await browser.verified()).name == "4711"
        assert await browser.tell(logout_token()) == 200
        assert await browser.verified() is None

    @in_a_loop
    async def test_a_session_id_ends_its_session_alone(self, browser: Browser) -> None:
        jars = []
        for sid in ("one", "two"):
            browser.cookies = {}
            browser.provider.claims = {"sid": sid}
            await browser.log_in()
            jars.append(browser.cookies)
        assert await browser.tell(logout_token(sid="one")) == 200
        found = []
        for jar in jars:
            browser.cookies = jar
            found.append(await browser.verified())
        assert found[0] is None
        assert found[1].name == "4711"
        assert await browser.tell(logout_token(sid="two", sub=None)) == 200
        assert await browser.verified() is None

    @in_a_loop
    async def test_a_login_that_a_logout_overtakes_is_none(self, browser: Browser) -> None:
        """The code was redeemed, the session is not written yet when the logout comes."""
        browser.provider.claims = {"iat": int(time.time()) - 1}
        asked = await browser.begin()
        assert await browser.tell(logout_token()) == 200
        answer = await browser.finish(code="c", state=asked["state"])
        assert answer.status == 403
        assert browser.failure == "a logout overtook the login"
        assert "__Host-session" not in browser.cookies
        browser.provider.claims = {"iat": int(time.time()) + 5}
        assert (await browser.log_in()).status == 303  # the same user logs in again afterwards

    @in_a_loop
    async def test_another_subject_stays(self, browser: Browser) -> None:
        await browser.log_in()
        assert await browser.tell(logout_token(sub="4712")) == 200
        assert (await browser.verified()).name == "4711"

    @in_a_loop
    async def test_a_token_counts_once_however_often_it_comes(self, browser: Browser) -> None:
        token = logout_token()
        statuses = await asyncio.gather(*(browser.tell(token) for _ in range(8)))
        assert sorted(statuses) == [200] + [400] * 7

    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": "https://evil.example"},
            {"aud": "another"},
            {"aud": [CLIENT, "another"]},
            {"aud": None},
            {"iat": None},
            {"iat": 1_700_000_000},
            {"iat": 4_000_000_000},
            {"iat": True},
            {"exp": 1_700_000_000},
            {"exp": "soon"},
            {"events": None},
            {"events": {}},
            {"events": ["http://schemas.openid.net/event/backchannel-logout"]},
            {"events": {"http://schemas.openid.net/event/backchannel-logout": None}},
            {"nonce": "x"},
            {"sub": None},
            {"sub": 5},
            {"sub": ""},
            {"sid": ["one"]},
            {"sid": "x" * 256},
            {"jti": None},
            {"jti": 7},
            {"sign": unsigned},
            {"sign": lambda claims: signed(claims, OTHER_KEY)},
            {"sign": lambda claims: signed(claims, typ="at+jwt")},
            {"sign": lambda claims: ""},
        ],
        ids=lambda one: re.sub(" at 0x[0-9a-f]+", "", str(one))[:50],
    )
    @in_a_loop
    async def test_forged_tokens_end_nothing(self, browser: Browser, changes: dict[str, Any]) -> None:
        await browser.log_in()
        assert await browser.tell(logout_token(**changes)) == 400
        assert browser.failure.startswith("the logout token is refused: ")
        assert (await browser.verified()).name == "4711"

    @in_a_loop
    async def test_an_id_token_is_no_logout_token(self, browser: Browser) -> None:
        await browser.log_in()
        now = int(time.time())
        claims = {"iss": "https://login.example", "aud": CLIENT, "sub": "4711", "iat": now, "exp": now + 9, "jti": "x"}
        assert await browser.tell(signed(claims)) == 400

    @in_a_loop
    async def test_only_a_form_brings_one(self, browser: Browser) -> None:
        assert await browser.tell(logout_token(), b"application/json") == 400
        assert await browser.tell(logout_token(), b"application/x-www-form-urlencoded; charset=utf-8") == 200

    @in_a_loop
    async def test_while_the_keys_are_out_of_reach_it_is_to_come_again(self, provider: Provider) -> None:
        provider.down = True
        browser = Browser(provider)
        assert await browser.tell(logout_token()) == 503


class TestSealedSessions:
    @in_a_loop
    async def test_with_an_engine_the_provider_ends_them(self, provider: Provider) -> None:
        browser = Browser(provider, sealed=True)
        await browser.log_in()
        assert (await browser.verified()).name == "4711"
        assert await browser.tell(logout_token()) == 200
        deadline = time.monotonic() + 15
        while await browser.verified() is not None:  # what was read of a user's sessions counts for 0.1 s
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    @in_a_loop
    async def test_without_one_it_is_told_that_nothing_ends(self, provider: Provider) -> None:
        browser = Browser(provider, sealed=True, engine=False)
        await browser.log_in()
        assert await browser.tell(logout_token()) == 501
        answer = await browser.ask(LOGOUT, OWN)
        assert "id_token_hint" not in location(answer)
        assert browser.cookies == {}
