"""A user's sessions from an operator's side, whatever kind they are of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edgewise.sessions import Session, SessionSettings, SessionStore
from edgewise.sessions.directory import SessionDirectory
from edgewise.sessions.stateful import StatefulSessions
from edgewise.sessions.stateless import StatelessSessions
from edgewise.sessions.tokens import TokenSessions
from edgewise.testing.state import MemoryStateEngine
from support.manual_clock import ManualClock

SECRETS = ("s" * 32,)


class Setting:
    """Stores of every kind on one engine: the gateway's, and those of apps."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_700_000_000.0)
        self.engine = MemoryStateEngine(self.clock)
        self.gateway = self._store(StatefulSessions, "gateway")
        self.app = self._store(TokenSessions, "app", kind="jwt", secrets=SECRETS)
        self.sealed = self._store(StatelessSessions, "app", kind="stateless", secrets=SECRETS)
        self.blog = self._store(StatefulSessions, "blog")

    def _store(self, make: Any, namespace: str, **settings: Any) -> SessionStore:
        made: SessionStore = make(
            SessionSettings(namespace=namespace, **settings), self.engine, clock=self.clock, monotonic=self.clock
        )
        return made

    def directory(self, *namespaces: str) -> SessionDirectory:
        wanted = {"namespaces": namespaces} if namespaces else {}
        return SessionDirectory(self.engine, clock=self.clock, **wanted)

    async def begin(self, store: SessionStore, user: str = "ann") -> str:
        session = await store.open(None)
        session.login(user, f"a browser of {user}")
        token = await store.commit(session)
        assert token
        self.clock.advance(1)
        return token

    async def user(self, store: SessionStore, token: str) -> str:
        session: Session = await store.open(token)
        return session.user


def test_sessions_of_every_kind_are_ended_and_those_that_are_kept_are_listed() -> None:
    setting = Setting()
    stores = (setting.gateway, setting.app, setting.sealed)

    async def run() -> None:
        mine = [(store, await setting.begin(store)) for store in stores]
        theirs = [(store, await setting.begin(store, "ben")) for store in stores]
        listed = await setting.directory().sessions_of("ann")
        assert [(one.namespace, one.info.label) for one in listed] == [
            ("gateway", "a browser of ann"),
            ("app", "a browser of ann"),
        ]
        assert await setting.directory().revoke("ann") == 2
        setting.clock.advance(1)
        assert [await setting.user(store, token) for store, token in mine] == ["", "", ""]
        assert [await setting.user(store, token) for store, token in theirs] == ["ben"] * 3
        assert await setting.directory().sessions_of("ann") == []

    asyncio.run(run())


def test_one_session_is_ended_by_the_name_it_is_listed_under() -> None:
    setting = Setting()

    async def run() -> None:
        for store in (setting.gateway, setting.app):
            first, second = await setting.begin(store), await setting.begin(store)
            listed = await setting.directory().sessions_of("ann")
            assert await setting.directory().revoke_one(listed[-1].info.handle) == "ann"
            setting.clock.advance(1)
            assert sorted([await setting.user(store, first), await setting.user(store, second)]) == ["", "ann"]
            assert await setting.directory().revoke_one(listed[-1].info.handle) is None
            await setting.directory().revoke("ann")

    asyncio.run(run())


def test_nobodys_session_can_be_ended_by_its_name() -> None:
    setting = Setting()

    async def run() -> None:
        session = await setting.gateway.open(None)
        session["a"] = 1
        token = await setting.gateway.commit(session)
        handle: str = session.origin.handle  # type: ignore[attr-defined]
        assert await setting.directory().revoke_one(handle) == ""
        assert (await setting.gateway.open(token)).new

    asyncio.run(run())


def test_other_namespaces_are_looked_at_where_they_are_named() -> None:
    setting = Setting()

    async def run() -> None:
        token = await setting.begin(setting.blog)
        assert await setting.directory().revoke("ann") == 0
        assert await setting.user(setting.blog, token) == "ann"
        assert await setting.directory("blog").revoke("ann") == 1
        setting.clock.advance(1)
        assert await setting.user(setting.blog, token) == ""

    asyncio.run(run())


def test_what_is_no_namespace_is_refused() -> None:
    with pytest.raises(ValueError, match="namespace"):
        Setting().directory("../x")
