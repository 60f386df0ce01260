"""Sealed sessions: renewal, bounds, revocation."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from edgewise.contracts.state import StateUnavailable
from edgewise.sessions import Session, SessionError, SessionSettings, SessionTooLarge
from edgewise.sessions.stateless import StatelessSessions
from edgewise.testing.state import MemoryStateEngine
from support.manual_clock import ManualClock


class Setting:
    """A store, its engine and its clock."""

    def __init__(self, *, engine: bool = True, **changes: Any) -> None:
        self.clock = ManualClock(1_700_000_000.0)
        self.engine = MemoryStateEngine(self.clock)
        options = {"idle": 100.0, "absolute": 1000.0, "secrets": ("s" * 32,), **changes}
        self.settings = SessionSettings(kind="stateless", **options)
        self.store = StatelessSessions(
            self.settings, self.engine if engine else None, clock=self.clock, monotonic=self.clock
        )

    async def begin(self, user: str = "ann", **data: Any) -> str:
        """Return the token of a new session."""
        session = await self.store.open(None)
        session.update(data)
        session.login(user)
        token = await self.store.commit(session)
        assert token
        return token


def test_a_cookie_is_sealed_again_at_most_once_in_a_tenth_of_the_idle_time() -> None:
    setting = Setting()

    async def run() -> int:
        token, written = await setting.begin(a=1), 0
        for _ in range(300):
            setting.clock.advance(1.0)
            session = await setting.store.open(token)
            assert session.user == "ann"
            new = await setting.store.commit(session)
            token, written = new or token, written + (new is not None)
        return written

    assert asyncio.run(run()) == 27


def test_what_does_not_fit_into_one_cookie_is_an_error_that_says_so() -> None:
    setting = Setting()

    async def run() -> None:
        text = random.Random(1).randbytes(4000).hex()
        with pytest.raises(SessionTooLarge, match="never split"):
            await setting.begin(a=text)
        token = await setting.begin(a=text[:4000])
        assert len(setting.settings.cookie) + len(token) < 4096 - 100
        assert len(await setting.begin(a="x" * 20_000)) < 500

    asyncio.run(run())


def test_without_an_engine_nothing_can_be_revoked() -> None:
    setting = Setting(engine=False, state=None)

    async def run() -> None:
        token = await setting.begin()
        with pytest.raises(SessionError, match="none"):
            await setting.store.revoke("ann")
        session = await setting.store.open(token)
        session.logout()
        assert await setting.store.commit(session) == ""
        assert (await setting.store.open(token)).user == "ann"

    asyncio.run(run())


def test_stateless_sessions_cannot_be_listed() -> None:
    with pytest.raises(SessionError, match="stateful"):
        asyncio.run(Setting().store.sessions_of("ann"))


def test_what_was_revoked_is_looked_up_at_most_once_in_the_delay() -> None:
    setting = Setting(revocation_delay=5.0)

    async def run() -> None:
        token = await setting.begin()
        assert (await setting.store.open(token)).user == "ann"
        other = StatelessSessions(setting.settings, setting.engine, clock=setting.clock, monotonic=setting.clock)
        await other.revoke("ann")
        assert (await other.open(token)).user == ""
        assert (await setting.store.open(token)).user == "ann"
        setting.clock.advance(5.0)
        assert (await setting.store.open(token)).user == ""

    asyncio.run(run())


def test_sixty_four_logouts_are_told_one_by_one_and_more_end_all() -> None:
    setting = Setting()

    async def run() -> list[str]:
        kept = await setting.begin()
        users = []
        for _ in range(65):
            session: Session = await setting.store.open(await setting.begin())
            session.logout()
            await setting.store.commit(session)
            users.append((await setting.store.open(kept)).user)
        return users

    assert asyncio.run(run()) == ["ann"] * 64 + [""]


def test_logouts_are_forgotten_once_their_sessions_would_have_expired() -> None:
    setting = Setting()

    async def run() -> None:
        for _ in range(10):
            session = await setting.store.open(await setting.begin())
            session.logout()
            await setting.store.commit(session)
            setting.clock.advance(500.0)
        [(value, _, _)] = setting.engine._keys.values()
        assert len(value) < 200

    asyncio.run(run())


def test_nobodys_sessions_need_no_engine() -> None:
    setting = Setting()

    async def run() -> None:
        setting.engine.lost = True
        session = await setting.store.open(None)
        session["a"] = 1
        token = await setting.store.commit(session)
        assert (await setting.store.open(token))["a"] == 1

    asyncio.run(run())


@pytest.mark.parametrize("policy", ["refuse", "stale"])
def test_a_lost_engine_is_met_by_the_written_policy_for_sealed_sessions(policy: str) -> None:
    setting = Setting(when_lost=policy)

    async def run() -> None:
        token = await setting.begin()
        revoked = await setting.begin("ben")
        await setting.store.revoke("ben")
        setting.engine.lost = True
        setting.clock.advance(50.0)
        if policy == "refuse":
            with pytest.raises(StateUnavailable):
                await setting.store.open(token)
        else:
            assert (await setting.store.open(token)).user == "ann"
            assert (await setting.store.open(revoked)).user == ""

    asyncio.run(run())
