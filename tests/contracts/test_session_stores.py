"""Every store of sessions, on every engine, keeps the contract."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from edgewise.contracts.state import StateEngine
from edgewise.sessions import SessionSettings, SessionStore
from edgewise.sessions.stateful import StatefulSessions
from edgewise.sessions.stateless import StatelessSessions
from edgewise.sessions.tokens import TokenSessions
from edgewise.testing.session_suite import ABSOLUTE, CHECKS, IDLE, Check, a_session_ends_when_unused_or_old
from edgewise.testing.state import MemoryStateEngine
from support.manual_clock import ManualClock
from support.state_servers import StateServer

TIMES: dict[str, Any] = {"idle": IDLE, "absolute": ABSOLUTE, "grace": 0.5, "revocation_delay": 0.1}
STATEFUL = SessionSettings(**TIMES)
STATELESS = SessionSettings(kind="stateless", secrets=("0" * 32,), **TIMES)
JWT = SessionSettings(kind="jwt", secrets=("0" * 32,), access=10.0, leeway=0.0, **TIMES)
STORES: dict[str, Any] = {"stateful": StatefulSessions, "stateless": StatelessSessions, "jwt": TokenSessions}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("settings", [STATEFUL, STATELESS, JWT], ids=lambda settings: settings.kind)
def test_a_store_keeps_the_contract(settings: SessionSettings, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(1_700_000_000.0)
    engine = MemoryStateEngine(clock)

    def make() -> SessionStore:
        store: SessionStore = STORES[settings.kind](settings, engine, clock=clock, monotonic=clock)
        return store

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    asyncio.run(check(make(), make(), sleep))


QUICK = [check for check in CHECKS if check is not a_session_ends_when_unused_or_old]


@pytest.mark.parametrize("check", QUICK, ids=lambda check: check.__name__)
@pytest.mark.parametrize("settings", [STATEFUL, JWT], ids=lambda settings: settings.kind)
def test_stores_keep_it_on_real_engines(settings: SessionSettings, server: StateServer, check: Check) -> None:
    async def run() -> None:
        engines: list[StateEngine] = [await server.make(), await server.make()]
        try:
            first, second = (STORES[settings.kind](settings, engine) for engine in engines)
            await check(first, second, asyncio.sleep)
        finally:
            for engine in engines:
                await engine.close()

    asyncio.run(run())


def test_real_engines_end_sessions_by_themselves(server: StateServer) -> None:
    settings = SessionSettings(idle=1.0)

    async def run() -> None:
        engine: StateEngine = await server.make()
        store = StatefulSessions(settings, engine)
        session = await store.open(None)
        session["a"] = 1
        token = await store.commit(session)
        deadline = time.monotonic() + 10
        while not (await store.open(token)).new:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        await engine.close()

    asyncio.run(run())
