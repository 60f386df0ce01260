"""JWT sessions: refresh tokens that are used once, requests that cross, and what the engine is asked."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from edgewise.contracts.state import StateUnavailable
from edgewise.sessions import Session, SessionError, SessionGone, Sessions, SessionSettings, SessionTooLarge
from edgewise.sessions.tokens import TokenSessions
from edgewise.testing.state import MemoryStateEngine
from support.manual_clock import ManualClock

HOST = "shop.example"


class Setting:
    """A store, its engine and its clock."""

    def __init__(self, **changes: Any) -> None:
        self.clock = ManualClock(1_700_000_000.0)
        self.engine = MemoryStateEngine(self.clock)
        options: dict[str, Any] = {
            "idle": 1000.0,
            "absolute": 10_000.0,
            "access": 60.0,
            "leeway": 0.0,
            "secrets": ("s" * 32,),
        }
        self.settings = SessionSettings(kind="jwt", **(options | changes))
        self.store = self.another()

    def another(self) -> TokenSessions:
        """Return the store of another process."""
        return TokenSessions(self.settings, self.engine, clock=self.clock, monotonic=self.clock)

    async def begin(self, user: str = "ann", **data: Any) -> tuple[str, str]:
        """Return the tokens of a new session."""
        session = await self.store.open(None, HOST)
        session.update(data)
        session.login(user, "a phone")
        return halves(await self.store.commit(session, HOST))

    async def refresh(self, token: str) -> tuple[str, str]:
        """Return what a request with a refresh token alone gets."""
        return halves(await self.store.commit(await self.store.open(f"~{token}", HOST), HOST))


def halves(tokens: str | None) -> tuple[str, str]:
    assert tokens is not None
    access, _, refresh = tokens.partition("~")
    return access, refresh


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_an_access_token_says_who_and_what_for_services_that_read_it() -> None:
    setting = Setting()
    claims = claims_of(asyncio.run(setting.begin(cart=[1, {"two": None}]))[0])
    assert claims["sub"] == "ann"
    assert claims["data"] == {"cart": [1, {"two": None}]}
    assert (claims["iss"], claims["aud"]) == ("edgewise/app", HOST)
    assert claims["exp"] - claims["iat"] == 60
    assert claims["nbf"] == claims["iat"] == 1_700_000_000


def test_an_access_token_is_good_without_the_family_and_asks_once_in_the_delay() -> None:
    setting = Setting(revocation_delay=5.0)

    async def run() -> list[str]:
        access, _ = await setting.begin()
        asked: list[str] = []
        get = setting.engine.get

        async def counting(key: str, *, stale: bool = False) -> Any:
            asked.append(key)
            return await get(key, stale=stale)

        setting.engine.get = counting  # type: ignore[method-assign]
        store = setting.another()
        for _ in range(10):
            assert (await store.open(f"{access}~", HOST)).user == "ann"
        return asked

    [key] = asyncio.run(run())
    assert "/r/" in key


def test_a_refresh_token_is_worth_new_tokens_once() -> None:
    setting = Setting(grace=1.0)

    async def run() -> None:
        _, first = await setting.begin(a=1)
        setting.clock.advance(61)
        access, second = await setting.refresh(first)
        assert second != first
        assert dict(await setting.store.open(f"{access}~", HOST)) == {"a": 1}
        setting.clock.advance(2)
        assert (await setting.store.open(f"~{first}", HOST)).new
        assert (await setting.another().open(f"~{second}", HOST)).new, "the family outlived a token used twice"
        setting.clock.advance(1)
        assert (await setting.another().open(f"{access}~", HOST)).new, "its access token did"

    asyncio.run(run())


def test_tokens_that_did_not_arrive_are_given_again_within_the_grace() -> None:
    setting = Setting(grace=10.0)

    async def run() -> None:
        _, first = await setting.begin()
        lost = await setting.refresh(first)
        setting.clock.advance(9)
        again = await setting.refresh(first)
        assert again[1] == lost[1]
        assert (await setting.refresh(again[1]))[1] != again[1]

    asyncio.run(run())


def test_requests_that_cross_get_the_same_refresh_token_and_both_changes_count() -> None:
    setting = Setting()

    async def run() -> None:
        _, first = await setting.begin()
        one, two = await setting.store.open(f"~{first}", HOST), await setting.another().open(f"~{first}", HOST)
        one["a"], two["b"] = 1, 2
        _, refresh_one = halves(await setting.store.commit(one, HOST))
        access, refresh_two = halves(await setting.store.commit(two, HOST))
        assert refresh_one == refresh_two
        assert dict(await setting.store.open(f"{access}~", HOST)) == {"a": 1, "b": 2}

    asyncio.run(run())


def test_a_change_gives_a_new_access_token_and_never_a_refresh_token() -> None:
    setting = Setting()

    async def run() -> None:
        access, first = await setting.begin(n=1)
        one, two = await setting.store.open(f"{access}~", HOST), await setting.store.open(f"{access}~", HOST)
        for session in (one, two):
            session.change("n", lambda n: n + 1)
            new, refresh = halves(await setting.store.commit(session, HOST))
            assert refresh == ""
        assert (await setting.store.open(f"{new}~", HOST))["n"] == 3
        assert (await setting.store.open(f"~{first}", HOST))["n"] == 3

    asyncio.run(run())


def test_what_json_cannot_hold_is_refused_and_nothing_is_written() -> None:
    setting = Setting()

    async def run() -> None:
        access, refresh = await setting.begin(a=1)
        for wrong in (float("nan"), float("inf")):
            session = await setting.store.open(f"{access}~", HOST)
            session["b"] = wrong
            with pytest.raises(ValueError, match="'b': JSON cannot hold"):
                await setting.store.commit(session, HOST)
        session = await setting.store.open(f"{access}~", HOST)
        session["b"] = "x" * 5000
        with pytest.raises(SessionTooLarge, match="never split"):
            await setting.store.commit(session, HOST)
        assert dict(await setting.store.open(f"~{refresh}", HOST)) == {"a": 1}

    asyncio.run(run())


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 1.0, -0.0, 1e300, "\0ü\U0001f600", [[]], {"": None}, True])
def test_values_come_back_as_they_were(value: Any) -> None:
    setting = Setting()

    async def run() -> None:
        access, refresh = await setting.begin(v=value)
        for token in (f"{access}~", f"~{refresh}"):
            found = (await setting.store.open(token, HOST))["v"]
            assert (found, type(found), str(found)) == (value, type(value), str(value))

    asyncio.run(run())


def test_a_users_sessions_are_listed_and_ended_one_by_one() -> None:
    setting = Setting()

    async def run() -> None:
        first, second = await setting.begin(), await setting.begin()
        setting.clock.advance(5)
        listed = await setting.store.sessions_of("ann")
        assert [info.label for info in listed] == ["a phone", "a phone"]
        handle = claims_of(first[0])["sid"]
        await setting.store.revoke("ben", handle)
        assert len(await setting.store.sessions_of("ann")) == 2, "somebody ended another's session"
        await setting.store.revoke("ann", handle)
        other = setting.another()
        assert [(await other.open(f"{access}~", HOST)).user for access, _ in (first, second)] == ["", "ann"]
        assert [info.handle for info in await other.sessions_of("ann")] == [claims_of(second[0])["sid"]]

    asyncio.run(run())


def test_a_rotation_keeps_the_time_of_the_login_and_a_login_does_not() -> None:
    setting = Setting()

    async def run() -> None:
        access, _ = await setting.begin()
        setting.clock.advance(30)
        session = await setting.store.open(f"{access}~", HOST)
        session.rotate()
        rotated, _ = halves(await setting.store.commit(session, HOST))
        assert claims_of(rotated)["sid"] != claims_of(access)["sid"]
        assert claims_of(rotated)["auth_time"] == claims_of(access)["auth_time"]
        session = await setting.store.open(f"{rotated}~", HOST)
        session.login("ann")
        renewed, _ = halves(await setting.store.commit(session, HOST))
        assert claims_of(renewed)["auth_time"] == claims_of(access)["auth_time"] + 30
        for old in (access, rotated):
            assert (await setting.another().open(f"{old}~", HOST)).new

    asyncio.run(run())


def test_a_logout_ends_an_access_token_that_outlived_its_family() -> None:
    setting = Setting(idle=70.0)

    async def run() -> None:
        access, _ = await setting.begin()
        setting.clock.advance(50)
        session = await setting.store.open(f"{access}~", HOST)
        session["a"] = 1
        late, _ = halves(await setting.store.commit(session, HOST))
        setting.clock.advance(30)
        session = await setting.store.open(f"{late}~", HOST)
        assert session.user == "ann"
        session.logout()
        assert await setting.store.commit(session, HOST) == ""
        assert (await setting.another().open(f"{late}~", HOST)).new

    asyncio.run(run())


def test_a_change_to_a_session_that_ended_is_dropped() -> None:
    setting = Setting()

    async def run() -> None:
        access, _ = await setting.begin()
        session = await setting.store.open(f"{access}~", HOST)
        await setting.another().revoke("ann")
        session["a"] = 1
        with pytest.raises(SessionGone):
            await setting.store.commit(session, HOST)
        session.rotate()
        with pytest.raises(SessionGone):
            await setting.store.commit(session, HOST)

    asyncio.run(run())


@pytest.mark.parametrize(("leeway", "user"), [(0.0, ""), (5.0, "ann")])
def test_clocks_may_differ_by_the_leeway(leeway: float, user: str) -> None:
    setting = Setting(leeway=leeway)

    async def run() -> None:
        access, _ = await setting.begin()
        for seconds in (-4.0, 68.0):
            setting.clock.advance(seconds)
            assert (await setting.store.open(f"{access}~", HOST)).user == user
        setting.clock.advance(5.0)
        assert (await setting.store.open(f"{access}~", HOST)).user == ""

    asyncio.run(run())


def test_settings_that_became_shorter_count_for_tokens_that_are_out() -> None:
    setting = Setting(access=600.0)

    async def run() -> str:
        access, _ = await setting.begin()
        setting.settings = SessionSettings(kind="jwt", access=10.0, leeway=0.0, secrets=("s" * 32,))
        setting.clock.advance(12)
        return (await setting.another().open(f"{access}~", HOST)).user

    assert asyncio.run(run()) == ""


@pytest.mark.parametrize("policy", ["refuse", "stale"])
def test_a_lost_engine_is_met_by_the_written_policy_for_tokens(policy: str) -> None:
    setting = Setting(when_lost=policy)

    async def run() -> None:
        access, refresh = await setting.begin()
        setting.engine.lost = True
        setting.clock.advance(50.0)
        if policy == "refuse":
            with pytest.raises(StateUnavailable):
                await setting.store.open(f"{access}~", HOST)
        else:
            assert (await setting.store.open(f"{access}~", HOST)).user == "ann"
        with pytest.raises(StateUnavailable):
            await setting.store.open(f"~{refresh}", HOST)

    asyncio.run(run())


class TestService:
    """Cookies, and tokens for clients that keep none."""

    def sessions(self, **changes: Any) -> Sessions:
        setting = Setting(**changes)
        sessions = Sessions(setting.settings, setting.engine)
        sessions.store = setting.store
        return sessions

    def test_two_cookies_are_set_and_removed(self) -> None:
        sessions = self.sessions()

        async def run() -> None:
            session = await sessions.open([], HOST)
            session.login("ann")
            written = await sessions.commit(session, HOST)
            assert [line.partition("=")[0] for line in written] == ["__Host-session", "__Host-session-refresh"]
            assert all(line.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax") for line in written)
            cookies = [line.partition(";")[0] for line in written]
            session = await sessions.open(["; ".join(cookies)], HOST)
            assert session.user == "ann"
            assert await sessions.commit(session, HOST) == []
            session["a"] = 1
            [changed] = await sessions.commit(session, HOST)
            assert changed.startswith("__Host-session=ey")
            session.logout()
            removed = await sessions.commit(session, HOST)
            assert [line.partition("=")[2][:8] for line in removed] == ["; Path=/", "; Path=/"]

        asyncio.run(run())

    def test_tokens_are_issued_at_a_login_refreshed_and_taken_as_bearers(self) -> None:
        sessions = self.sessions(bearer=True)

        async def run() -> None:
            session = await sessions.open([], HOST)
            with pytest.raises(SessionError, match="logs in"):
                await sessions.issue(session, HOST)
            session.login("ann")
            pair = await sessions.issue(session, HOST)
            assert await sessions.commit(session, HOST) == []
            assert pair.expires_in == 60.0
            new = await sessions.refresh(pair.refresh, HOST)
            session = await sessions.open([], HOST, f"bearer {new.access}")
            assert (session.user, session.bearer) == ("ann", True)
            session["a"] = 1
            assert await sessions.commit(session, HOST) == [], "a bearer got a cookie"
            assert (await sessions.open([], HOST, f"Bearer {pair.access}")).user == "ann"
            for wrong in ("", "x", pair.access):
                with pytest.raises(SessionGone):
                    await sessions.refresh(wrong, HOST)

        asyncio.run(run())

    def test_cookies_do_not_count_beside_a_bearer_token_and_count_beside_other_schemes(self) -> None:
        sessions = self.sessions(bearer=True)

        async def run() -> list[str]:
            session = await sessions.open([], HOST)
            session.login("ann")
            cookies = [line.partition(";")[0] for line in await sessions.commit(session, HOST)]
            fields = ["; ".join(cookies)]
            return [(await sessions.open(fields, HOST, field)).user for field in ("", "Basic eA==", "Bearer x")]

        assert asyncio.run(run()) == ["ann", "ann", ""]

    def test_without_the_setting_the_authorization_field_is_not_read(self) -> None:
        sessions = self.sessions()

        async def run() -> Session:
            session = await sessions.open([], HOST)
            session.login("ann")
            pair = await sessions.issue(session, HOST)
            return await sessions.open([], HOST, f"Bearer {pair.access}")

        session = asyncio.run(run())
        assert (session.user, session.bearer) == ("", False)

    def test_other_kinds_have_no_tokens(self) -> None:
        sessions = Sessions(SessionSettings(), MemoryStateEngine())

        async def run() -> None:
            session = await sessions.open([], HOST)
            session.login("ann")
            with pytest.raises(SessionError, match="no tokens"):
                await sessions.issue(session, HOST)

        asyncio.run(run())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "keys or secrets"),
        ({"secrets": ("s" * 32,), "keys": ("k",)}, "not both"),
        ({"secrets": ("s" * 31,)}, "32 characters"),
        ({"secrets": ("s" * 32,), "state": None}, "state engine"),
        ({"secrets": ("s" * 32,), "access": 3601.0}, "access"),
        ({"secrets": ("s" * 32,), "access": 60.0, "idle": 30.0}, "access"),
        ({"secrets": ("s" * 32,), "leeway": 61.0}, "leeway"),
        ({"kind": "stateful", "bearer": True}, "bearer"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SessionSettings(**{"kind": "jwt", **changes})


def test_settings_do_not_show_their_secrets() -> None:
    settings = SessionSettings(kind="jwt", secrets=("s" * 32,))
    assert "sss" not in repr(settings)


def test_keys_that_cannot_be_used_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="PEM"):
        TokenSessions(SessionSettings(kind="jwt", keys=("x",)), MemoryStateEngine())
