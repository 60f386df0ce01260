"""Stateful sessions: what is written, how often, and what requests at the same time do to each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.contracts.state import StateUnavailable
from edgewise.sessions import Session, SessionConflict, SessionGone, Sessions, SessionSettings, SessionTooLarge
from edgewise.sessions.records import hashed
from edgewise.sessions.stateful import StatefulSessions
from edgewise.testing.state import MemoryStateEngine
from support.manual_clock import ManualClock

Result = TypeVar("Result")
NOW = 1_700_000_000.0


class Recording(MemoryStateEngine):
    """Remembers what was called; `before` is awaited ahead of each compare-and-set."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.calls: list[str] = []
        self.before: Callable[[], Awaitable[None]] | None = None

    async def get(self, key: str, *, stale: bool = False) -> Any:
        self.calls.append("get")
        return await super().get(key, stale=stale)

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> int:
        self.calls.append("set")
        return await super().set(key, value, ttl)

    async def touch(self, key: str, ttl: float) -> bool:
        self.calls.append("touch")
        return await super().touch(key, ttl)

    async def compare_and_set(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int | None:
        self.calls.append("compare_and_set")
        if self.before is not None:
            before, self.before = self.before, None
            await before()
        return await super().compare_and_set(key, value, revision, ttl)


class Setting:
    """A store, its engine and its clock."""

    def __init__(self, **changes: Any) -> None:
        self.clock = ManualClock(NOW)
        self.engine = Recording(self.clock)
        self.settings = SessionSettings(**{"idle": 100.0, "absolute": 1000.0, **changes})
        self.store = StatefulSessions(self.settings, self.engine, clock=self.clock, monotonic=self.clock)

    async def begin(self, user: str = "", /, **data: Any) -> str:
        """Return the token of a new session."""
        session = await self.store.open(None)
        session.update(data)
        if user:
            session.login(user)
        token = await self.store.commit(session)
        assert token
        self.engine.calls.clear()
        return token


def test_the_id_is_nowhere_in_the_engine() -> None:
    setting = Setting()
    token = asyncio.run(setting.begin("ann", a=1))
    everything = repr(setting.engine.__dict__)
    assert hashed(token) in everything
    assert token not in everything
    assert "ann" not in "".join(setting.engine._keys)


def test_ids_have_256_bits_and_never_repeat() -> None:
    setting = Setting()

    async def run() -> set[str]:
        return {await setting.begin(a=1) for _ in range(200)}

    tokens = asyncio.run(run())
    assert len(tokens) == 200
    assert {len(token) for token in tokens} == {43}


def test_a_request_that_changes_nothing_reads_once_and_writes_nothing() -> None:
    setting = Setting()

    async def run() -> None:
        token = await setting.begin(a=[1])
        session = await setting.store.open(token)
        assert session["a"] == [1]
        assert await setting.store.commit(session) is None

    asyncio.run(run())
    assert setting.engine.calls == ["get"]


def test_use_is_written_at_most_once_in_a_tenth_of_the_idle_time() -> None:
    setting = Setting()

    async def run() -> None:
        token = await setting.begin(a=1)
        for _ in range(300):
            setting.clock.advance(1.0)
            session = await setting.store.open(token)
            assert not session.new
            await setting.store.commit(session)

    asyncio.run(run())
    assert setting.engine.calls.count("touch") == 27


def test_a_request_does_not_fail_because_use_cannot_be_written() -> None:
    setting = Setting()

    async def run() -> None:
        token = await setting.begin(a=1)
        setting.clock.advance(50.0)
        session = await setting.store.open(token)
        setting.engine.lost = True
        assert await setting.store.commit(session) is None

    asyncio.run(run())


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 9) | st.none()), max_size=3, unique_by=lambda change: change[0]
)


@settings(max_examples=60)
@given(st.lists(CHANGES, min_size=2, max_size=6), st.permutations(range(6)))
def test_requests_at_the_same_time_lose_no_write(requests: list[Any], order: list[int]) -> None:
    """All are read before any is written; each key ends as the last that changed it left it."""
    setting = Setting()

    async def run() -> None:
        before: dict[str, Any] = dict.fromkeys("abc", 100)
        token = await setting.begin(**before)
        sessions = [await setting.store.open(token) for _ in requests]
        expected = before
        for number in (each for each in order if each < len(requests)):
            for key, value in requests[number]:
                if value is None:
                    sessions[number].pop(key, None)
                else:
                    sessions[number][key] = value
                if value is None and key in before:
                    expected = {name: old for name, old in expected.items() if name != key}
                elif value is not None:
                    expected = {**expected, key: value}
            await setting.store.commit(sessions[number])
        assert dict(await setting.store.open(token)) == expected

    asyncio.run(run())


def test_changes_by_function_all_count() -> None:
    setting = Setting()

    async def run() -> Session:
        token = await setting.begin(n=10)
        sessions = [await setting.store.open(token) for _ in range(20)]
        for session in sessions:
            session.change("n", lambda n: n + 1)
            session.change("seen", lambda seen: [*seen, 1], [])
        await asyncio.gather(*(setting.store.commit(session) for session in sessions))
        return await setting.store.open(token)

    session = asyncio.run(run())
    assert (session["n"], session["seen"]) == (30, [1] * 20)


def test_more_conflicts_than_tries_are_an_error() -> None:
    setting = Setting()

    async def run() -> None:
        token = await setting.begin(a=1)
        session = await setting.store.open(token)
        session["a"] = 2

        async def interfere() -> None:
            key = next(key for key in setting.engine._keys if "/s/" in key)
            await setting.engine.touch(key, 50.0)
            value, revision, until = setting.engine._keys[key]
            setting.engine._keys[key] = (value, revision + 1000, until)
            setting.engine.before = interfere

        setting.engine.before = interfere
        with pytest.raises(SessionConflict):
            await setting.store.commit(session)

    asyncio.run(run())


def test_what_was_changed_while_the_session_got_a_new_id_comes_along() -> None:
    setting = Setting()

    async def run() -> None:
        token = await setting.begin(a=1)
        session = await setting.store.open(token)
        session.login("ann")

        async def interfere() -> None:
            other = await setting.store.open(token)
            other["b"] = 2
            await setting.store.commit(other)

        setting.engine.before = interfere
        new = await setting.store.commit(session)
        assert dict(await setting.store.open(new)) == {"a": 1, "b": 2}

    asyncio.run(run())


def test_a_session_ended_meanwhile_is_not_written_nor_given_a_new_id() -> None:
    setting = Setting()

    async def run() -> None:
        token = await setting.begin("ann", a=1)
        writing, rotating = await setting.store.open(token), await setting.store.open(token)
        ending = await setting.store.open(token)
        ending.logout()
        assert await setting.store.commit(ending) == ""
        writing["a"] = 2
        rotating.rotate()
        for session in (writing, rotating):
            with pytest.raises(SessionGone):
                await setting.store.commit(session)
        assert await setting.store.sessions_of("ann") == []
        assert not [key for key in setting.engine._keys if "/s/" in key]

    asyncio.run(run())


def test_within_the_grace_the_old_id_opens_nothing_and_leaves_the_cookie_alone() -> None:
    setting = Setting()

    async def run() -> None:
        old = await setting.begin(a=1)
        session = await setting.store.open(old)
        session.login("ann")
        await setting.store.commit(session)
        late = await setting.store.open(old)
        assert (late.user, dict(late)) == ("", {})
        late["b"] = 2
        assert await setting.store.commit(late) is None
        setting.clock.advance(setting.settings.grace + 1)
        later = await setting.store.open(old)
        later["b"] = 2
        assert await setting.store.commit(later) not in (None, old)

    asyncio.run(run())


def test_a_login_form_sent_twice_logs_in_twice() -> None:
    setting = Setting()

    async def run() -> None:
        token = await setting.begin(a=1)
        both = [await setting.store.open(token) for _ in range(2)]
        tokens = []
        for session in both:
            session.login("ann")
            tokens.append(await setting.store.commit(session))
        late = await setting.store.open(token)
        late.login("ann")
        tokens.append(await setting.store.commit(late))
        assert len(set(tokens)) == 3
        for each in tokens:
            assert (await setting.store.open(each)).user == "ann"

    asyncio.run(run())


def test_a_session_written_while_all_were_revoked_is_worth_nothing() -> None:
    """The index was read before it appeared in it; the generation ends it."""
    setting = Setting()

    async def run() -> None:
        token = await setting.begin("ann")
        session = await setting.store.open(token)
        session.rotate()
        listed = setting.engine.entries
        made: list[str | None] = []

        async def entries(*arguments: Any) -> Any:
            found = await listed(*arguments)
            setting.engine.entries = listed  # type: ignore[method-assign]
            made.append(await setting.store.commit(session))
            return found

        setting.engine.entries = entries  # type: ignore[method-assign, assignment]
        await setting.store.revoke("ann")
        [new] = made
        assert new
        setting.clock.advance(1.0)
        assert (await setting.store.open(new)).user == ""

    asyncio.run(run())


def test_one_session_is_revoked_by_its_handle_only_for_its_user() -> None:
    setting = Setting()

    async def run() -> None:
        tokens = []
        for label in ("phone", "laptop"):
            session = await setting.store.open(None)
            session.login("ann", label)
            tokens.append(await setting.store.commit(session))
            setting.clock.advance(1.0)
        latest, first = await setting.store.sessions_of("ann")
        assert (latest.label, first.label) == ("laptop", "phone")
        assert latest.created == first.created + 1
        await setting.store.revoke("ben", latest.handle)
        assert (await setting.store.open(tokens[1])).user == "ann"
        await setting.store.revoke("ann", latest.handle)
        assert (await setting.store.open(tokens[1])).new
        assert [info.label for info in await setting.store.sessions_of("ann")] == ["phone"]

    asyncio.run(run())


def test_a_record_that_is_not_understood_opens_nothing() -> None:
    setting = Setting()

    async def run() -> None:
        token = await setting.begin(a=1)
        for value in (b"", b"\xff", b"\x93\x01\x02\x03", b"{}"):
            await setting.engine.set(f"session/app/s/{hashed(token)}", value)
            assert (await setting.store.open(token)).new

    asyncio.run(run())


def test_the_size_is_bounded_and_nothing_is_written_beyond_it() -> None:
    setting = Setting(max_bytes=500)

    async def run() -> None:
        token = await setting.begin(a="x")
        session = await setting.store.open(token)
        session["b"] = "y" * 500
        with pytest.raises(SessionTooLarge, match="max_bytes is 500"):
            await setting.store.commit(session)
        assert dict(await setting.store.open(token)) == {"a": "x"}

    asyncio.run(run())


@pytest.mark.parametrize(("policy", "user"), [("refuse", None), ("stale", "ann"), ("anonymous", "")])
def test_a_lost_engine_is_met_by_the_written_policy(policy: str, user: str | None) -> None:
    setting = Setting(when_lost=policy)
    sessions = Sessions(setting.settings, setting.engine)

    async def run() -> None:
        session = await sessions.open([], "a")
        session.login("ann")
        cookie = (await sessions.commit(session, "a"))[0].partition(";")[0]
        setting.engine.lost = True
        if user is None:
            with pytest.raises(StateUnavailable):
                await sessions.open([cookie], "a")
            return
        session = await sessions.open([cookie], "a")
        assert session.user == user
        session["a"] = 1
        if policy == "anonymous":
            assert await sessions.commit(session, "a") == []
        else:
            with pytest.raises(StateUnavailable):
                await sessions.commit(session, "a")

    asyncio.run(run())
