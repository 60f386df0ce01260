"""Logins at a provider that lies, or whose answers were forged, and browsers that are led astray."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from jwcrypto.jwk import JWK

from edgewise.config.oidc import Oidc
from edgewise.contracts.policies import Denial
from edgewise.contracts.state import StateUnavailable
from edgewise.gateway.oidc.client import Client
from support.oidc_double import (
    CLIENT,
    ISSUER,
    OTHER_KEY,
    Browser,
    Provider,
    half_hash,
    in_a_loop,
    location,
    signed,
    unsigned,
)


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def browser(provider: Provider) -> Browser:
    return Browser(provider)


@in_a_loop
async def test_a_good_login_is_one_and_its_tokens_stay_here(browser: Browser) -> None:
    answer = await browser.log_in()
    assert (answer.status, location(answer)) == (303, "/")
    assert list(browser.cookies) == ["__Host-session"]
    identity = await browser.verified()
    assert (identity.name, identity.method) == ("4711", "oidc")
    assert browser.provider.fields[b"Authorization"] == b"Basic " + base64.b64encode(b"edge:s3cret")
    form = next(form for _, url, form in browser.provider.requests if url.endswith("/token"))
    assert form["redirect_uri"] == "https://app.example/oauth2/staff/callback"


@in_a_loop
async def test_the_verifier_is_that_of_the_challenge(browser: Browser) -> None:
    asked = await browser.begin()
    await browser.finish(code="c", state=asked["state"])
    verifier = next(form["code_verifier"] for _, url, form in browser.provider.requests if url.endswith("/token"))
    digest = hashlib.sha256(verifier.encode()).digest()
    assert asked["code_challenge"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert asked["tenant"] == "1"


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"nonce": 1},
        {"iss": "https://evil.example"},
        {"iss": f"{ISSUER}/"},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": [CLIENT, "another"]},
        {"aud": None},
        {"azp": "another"},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"exp": "4000000000"},
        {"exp": True},
        {"iat": 4_000_000_000},
        {"iat": None},
        {"nbf": 4_000_000_000},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"at_hash": half_hash("another")},
        {"at_hash": 1},
    ],
    ids=str,
)
@in_a_loop
async def test_an_id_token_with_other_claims_is_refused(browser: Browser, claims: dict[str, Any]) -> None:
    browser.provider.claims = claims
    answer = await browser.log_in()
    assert answer.status == 502
    assert browser.failure.startswith("its ID token: ")
    assert browser.cookies == {}


@pytest.mark.parametrize(
    "claims",
    [{"aud": [CLIENT]}, {"aud": [CLIENT, "b"], "azp": CLIENT}, {"at_hash": half_hash("access-1")}],
    ids=str,
)
@in_a_loop
async def test_an_id_token_that_says_more_is_taken(browser: Browser, claims: dict[str, Any]) -> None:
    browser.provider.claims = claims
    assert (await browser.log_in()).status == 303


@pytest.mark.parametrize(
    "sign",
    [
        unsigned,
        lambda claims: unsigned(claims, "ES256"),
        lambda claims: signed(claims, OTHER_KEY),
        lambda claims: signed(claims, JWK.generate(kty="oct", size=256), "HS256"),
        lambda claims: signed(claims, JWK(kty="oct", k=base64.urlsafe_b64encode(b"s3cret" * 6).decode()), "HS256"),
        lambda claims: signed(claims, OTHER_KEY, jwk=json.loads(OTHER_KEY.export_public())),
        lambda claims: signed(claims, OTHER_KEY, jku="https://evil.example/keys"),
        lambda claims: signed(claims, OTHER_KEY, kid="../../dev/null"),
        lambda claims: signed(claims)[:-4] + "AAAA",
        lambda claims: "x.y.z",
    ],
)
@in_a_loop
async def test_an_id_token_of_another_signer_is_refused(
    browser: Browser, sign: Callable[[dict[str, Any]], str]
) -> None:
    browser.provider.sign = sign
    assert (await browser.log_in()).status == 502
    assert browser.cookies == {}
    assert not any("evil" in url for _, url, _ in browser.provider.requests)


@pytest.mark.parametrize(
    "answer",
    [
        {"id_token": None},
        {"id_token": 5},
        {"access_token": None},
        {"access_token": "two\r\nX-User: root"},
        {"access_token": "x" * 20_000},
        {"token_type": "mac"},
        {"token_type": None},
    ],
    ids=lambda one: str(one)[:40],
)
@in_a_loop
async def test_tokens_that_are_none_are_refused(browser: Browser, answer: dict[str, Any]) -> None:
    browser.provider.answer = answer
    assert (await browser.log_in()).status == 502
    assert browser.cookies == {}


@in_a_loop
async def test_the_answer_of_another_provider_sends_the_code_nowhere(browser: Browser) -> None:
    asked = await browser.begin()
    answer = await browser.finish(code="c", state=asked["state"], iss="https://evil.example")
    assert answer.status == 400
    assert not any(url.endswith("/token") for _, url, _ in browser.provider.requests)


@in_a_loop
async def test_a_provider_that_names_itself_must_do_so(browser: Browser) -> None:
    browser.provider.document["authorization_response_iss_parameter_supported"] = True
    assert (await browser.log_in()).status == 400
    assert (await browser.log_in(iss=ISSUER)).status == 303


@in_a_loop
async def test_a_document_of_another_issuer_is_not_believed(browser: Browser) -> None:
    browser.provider.document["issuer"] = "https://evil.example"
    answer = await browser.ask("/oauth2/staff/login")
    assert answer.status == 502
    assert b"evil" not in answer.content


@pytest.mark.parametrize("key", ["authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint"])
@pytest.mark.parametrize("url", ["http://login.example/x", "javascript:alert(1)", "https://a\r\nb", 5])
@in_a_loop
async def test_endpoints_are_https(browser: Browser, key: str, url: Any) -> None:
    browser.provider.document[key] = url
    assert (await browser.ask("/oauth2/staff/login")).status == 502


@in_a_loop
async def test_a_state_of_another_browser_is_none(provider: Provider) -> None:
    mine, theirs = Browser(provider), Browser(provider)
    asked = await theirs.begin()
    await mine.begin()
    assert (await mine.finish(code="c", state=asked["state"])).status == 400
    assert "__Host-session" not in mine.cookies


@in_a_loop
async def test_a_cookie_of_a_login_is_good_for_its_state_alone(browser: Browser) -> None:
    first, second = await browser.begin(), await browser.begin()
    names = list(browser.cookies)
    browser.cookies = dict(zip(names, reversed(list(browser.cookies.values())), strict=True))
    for asked in (first, second):
        assert (await browser.finish(code="c", state=asked["state"])).status == 400


@in_a_loop
async def test_a_login_that_took_too_long_is_none(browser: Browser) -> None:
    asked = await browser.begin()
    browser.clock.advance(601)
    assert (await browser.finish(code="c", state=asked["state"])).status == 400


@in_a_loop
async def test_a_code_the_provider_knows_no_more_begins_nothing(browser: Browser) -> None:
    browser.provider.status = 400
    answer = await browser.log_in()
    assert answer.status == 400
    assert browser.cookies == {}


@in_a_loop
async def test_userinfo_of_another_subject_is_refused(provider: Provider) -> None:
    browser = Browser(provider, userinfo=True)
    provider.userinfo = {"sub": "another", "groups": ["admins"]}
    assert (await browser.log_in()).status == 502
    provider.userinfo = {"sub": "4711", "groups": ["staff"]}
    assert (await browser.log_in()).status == 303
    assert (await browser.verified()).groups == {"staff"}


@in_a_loop
async def test_without_userinfo_it_is_not_asked(browser: Browser) -> None:
    await browser.log_in()
    assert not any(url.endswith("/userinfo") for _, url, _ in browser.provider.requests)


@in_a_loop
async def test_the_age_of_the_authentication_is_checked(provider: Provider) -> None:
    browser = Browser(provider, max_age=600)
    for claims, status in (({}, 502), ({"auth_time": time.time() - 900}, 502), ({"auth_time": time.time() - 9}, 303)):
        provider.claims = claims
        assert (await browser.log_in()).status == status


@pytest.mark.parametrize(
    "user", ["", "two words", "a\r\nX-Groups: admins", "ü", "x" * 257, 5, None, ["root"]], ids=repr
)
@in_a_loop
async def test_a_user_no_field_could_tell_is_not_let_in(provider: Provider, user: Any) -> None:
    browser = Browser(provider, user_claim="name")
    provider.claims = {"name": user}
    assert (await browser.log_in()).status == 403
    assert browser.cookies == {}


@in_a_loop
async def test_groups_that_no_field_could_tell_are_left_out(provider: Provider) -> None:
    browser = Browser(provider, groups_claim="realm_access.roles")
    provider.claims = {"realm_access": {"roles": ["staff", "a,b", "a\r\nb", "", 5, "x" * 65, "staff", "ops"]}}
    await browser.log_in()
    assert (await browser.verified()).groups == {"staff", "ops"}


@pytest.mark.parametrize(
    ("required", "claims", "status"),
    [
        ({"hd": "example.com"}, {"hd": "example.com"}, 303),
        ({"hd": "example.com"}, {}, 403),
        ({"email_verified": True}, {"email_verified": "true"}, 403),
        ({"email_verified": True}, {"email_verified": 1}, 403),
        ({"email_verified": True}, {"email_verified": True}, 303),
        ({"groups": "staff"}, {"groups": ["ops", "staff"]}, 303),
        ({"groups": "staff"}, {"groups": ["ops"]}, 403),
    ],
)
@in_a_loop
async def test_claims_are_required(
    provider: Provider, required: dict[str, Any], claims: dict[str, Any], status: int
) -> None:
    browser = Browser(provider, require_claims=required)
    provider.claims = claims
    assert (await browser.log_in()).status == status


class TestTokens:
    @in_a_loop
    async def test_a_refresh_of_another_subject_brings_nothing(self, provider: Provider) -> None:
        browser = Browser(provider, pass_token="Authorization")
        provider.answer = {"expires_in": 0}
        await browser.log_in()
        provider.claims = {"sub": "another", "nonce": None}
        denial = await browser.verified()
        assert isinstance(denial, Denial)
        assert denial.status == 503

    @in_a_loop
    async def test_while_the_provider_is_down_a_login_goes_on_but_no_old_token(self, provider: Provider) -> None:
        for spec, kept in (({}, True), ({"pass_token": "Authorization"}, False)):
            provider.down = False
            browser = Browser(provider, **spec)
            provider.answer = {"expires_in": 0}
            await browser.log_in()
            provider.down = True
            found = await browser.verified()
            assert isinstance(found, Denial) is not kept

    @in_a_loop
    async def test_a_login_ends_by_invalid_grant_alone(self, provider: Provider) -> None:
        browser = Browser(provider)
        provider.answer = {"expires_in": 0}
        await browser.log_in()
        provider.status = 400
        assert await browser.verified() is None
        provider.status = 200
        assert await browser.verified() is None

    @in_a_loop
    async def test_many_requests_use_a_refresh_token_once(self, provider: Provider) -> None:
        browser = Browser(provider, pass_token="Authorization")
        provider.answer = {"expires_in": 0}
        await browser.log_in()
        provider.answer = {"access_token": "access-2", "refresh_token": "refresh-2"}
        provider.claims = {"nonce": None}
        before = len(provider.requests)
        found = await asyncio.gather(*(browser.verified() for _ in range(20)))
        assert {one.name for one in found} == {"4711"}
        used = [form["refresh_token"] for _, url, form in provider.requests[before:] if url.endswith("/token")]
        assert used == ["refresh-1"]

    @in_a_loop
    async def test_the_token_is_passed_and_the_cookie_is_not(self, provider: Provider) -> None:
        browser = Browser(provider, pass_token="Authorization")
        await browser.log_in()
        browser.cookies["theme"] = "dark"
        exchange = browser.exchange("/page")
        browser.way.authenticate(exchange)
        assert exchange.forward_lines == b"Authorization: Bearer access-1\r\n"
        assert exchange.plan.head.endswith(b"\r\nCookie: theme=dark\r\n")
        assert exchange.plan.request.get(b"cookie") == b"theme=dark"


class TestSealed:
    @in_a_loop
    async def test_a_login_fits_into_a_cookie_and_its_tokens_are_not_in_it(self, provider: Provider) -> None:
        browser = Browser(provider, sealed=True, engine=False)
        provider.answer = {"expires_in": 0, "access_token": "a" * 4000}
        assert (await browser.log_in()).status == 303
        before = len(provider.requests)
        assert (await browser.verified()).name == "4711"
        assert len(provider.requests) == before

    @in_a_loop
    async def test_a_session_that_is_used_lives_on(self, provider: Provider) -> None:
        browser = Browser(provider, sealed=True, engine=False)
        await browser.log_in()
        (await browser.held.get()).store._clock = browser.clock  # type: ignore[attr-defined]
        browser.clock.advance(10_000)
        exchange = browser.exchange("/page")
        found = browser.way.authenticate(exchange)
        assert asyncio.iscoroutine(found)
        assert (await found).name == "4711"
        assert exchange.answer_lines.startswith(b"Vary: Cookie\r\nSet-Cookie: __Host-session=")
        assert exchange.answer_lines.endswith(b"; SameSite=Lax\r\nCache-Control: no-store\r\n")
        browser.clock.advance(90_000)
        assert await browser.verified() is None


class TestLostEngine:
    @in_a_loop
    async def test_a_good_token_is_used_on_while_nobody_can_renew_it(self, provider: Provider) -> None:
        browser = Browser(provider, pass_token="Authorization")
        provider.answer = {"expires_in": 100}
        await browser.log_in()
        browser.clock.advance(90)

        async def lost(*_: Any) -> None:
            raise StateUnavailable("out of reach")

        browser.engine.acquire = lost  # type: ignore[method-assign,assignment]
        assert (await browser.verified()).name == "4711"
        browser.clock.advance(20)
        denial = await browser.verified()
        assert isinstance(denial, Denial)
        assert denial.status == 503

    @in_a_loop
    async def test_who_has_a_session_gets_503_and_who_has_none_the_login(self, provider: Provider) -> None:
        browser = Browser(provider)
        await browser.log_in()

        async def lost(*_: Any, **__: Any) -> None:
            raise StateUnavailable("out of reach")

        browser.engine.get = lost  # type: ignore[method-assign,assignment]
        denial = await browser.verified()
        assert isinstance(denial, Denial)
        assert (denial.status, dict(denial.fields)[b"Retry-After"]) == (503, b"1")
        browser.cookies = {}
        assert await browser.verified() is None


class TestOtherWays:
    @in_a_loop
    async def test_a_login_of_another_client_is_none(self, provider: Provider) -> None:
        browser = Browser(provider)
        await browser.log_in()
        other = Client("staff", Oidc(issuer=ISSUER, client_id="another"), None)
        browser.way._client = other
        assert await browser.verified() is None

    @in_a_loop
    async def test_browsers_are_led_to_the_login_and_nothing_else_is(self, browser: Browser) -> None:
        for fields, led in (
            (((b"sec-fetch-mode", b"navigate"),), True),
            (((b"accept", b"text/html,*/*"),), True),
            (((b"sec-fetch-mode", b"cors"), (b"accept", b"text/html")), False),
            (((b"accept", b"application/json"),), False),
            ((), False),
        ):
            answer = browser.way.begin(browser.exchange("/a?b=c", *fields))
            assert (answer is not None) is led
            if answer is not None:
                assert location(answer) == "/oauth2/staff/login?next=/a%3Fb%3Dc"
        assert browser.way.begin(browser.exchange("/", (b"accept", b"text/html"), method=b"POST")) is None

    @pytest.mark.parametrize(
        "back",
        ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/ü", "/\x00", "/" + "a" * 1100],
    )
    @in_a_loop
    async def test_logins_lead_to_no_other_host(self, browser: Browser, back: str) -> None:
        asked = await browser.begin(back)
        assert location(await browser.finish(code="c", state=asked["state"])) == "/"
