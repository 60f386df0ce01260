"""Every state engine, on a real server, keeps the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgewise.contracts.state import StateEngine
from edgewise.testing.state import MemoryStateEngine
from edgewise.testing.state_suite import CHECKS, Check, run_check
from support.manual_clock import ManualClock
from support.state_servers import NatsServer, SqliteServer, StateServer, ValkeyServer

SERVERS: dict[str, Callable[[Path], StateServer]] = {
    "sqlite": SqliteServer,
    "nats": NatsServer,
    "redis": ValkeyServer,
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateServer]:
    server = SERVERS[request.param](tmp_path_factory.mktemp("state"))
    server.start()
    yield server
    server.kill()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_engine_keeps_the_contract(server: StateServer, check: Check) -> None:
    asyncio.run(run_check(check, server.make))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_engine_of_edgewise_testing_keeps_it_too(check: Check) -> None:
    clock = ManualClock()
    engine = MemoryStateEngine(clock)

    async def make() -> StateEngine:
        return engine

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    asyncio.run(run_check(check, make, sleep))
