"""Work under a lease on every state engine, on real servers: one leader at a time, taken over, fenced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from edgewise.contracts.fencing import get_fenced, set_fenced
from edgewise.contracts.leader import Leader, LeaseLost
from edgewise.contracts.state import Lease, StateEngine, StateUnavailable
from support.state_servers import SERVERS, StateServer

TTL = 1.0
PATIENCE = 30.0
Scenario = Callable[[StateEngine, StateEngine], Awaitable[None]]


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateServer]:
    server = SERVERS[request.param](tmp_path)
    server.start()
    yield server
    server.kill()


def play(server: StateServer, scenario: Scenario) -> None:
    """Run a scenario of two nodes, each with a client of its own."""

    async def run() -> None:
        engines = [await server.make() for _ in range(2)]
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await scenario(*engines)
        finally:
            for engine in engines:
                await engine.close()

    asyncio.run(run())


def leader(engine: StateEngine, owner: str) -> Leader:
    return Leader(engine, "job", owner, ttl=TTL)


async def nothing(lease: Lease) -> None:
    """Work that is done at once."""


async def take_over(engine: StateEngine, owner: str) -> Lease:
    """Lead as soon as nobody else does; return the lease."""
    deadline = time.monotonic() + PATIENCE
    leases: list[Lease] = []

    async def work(lease: Lease) -> None:
        leases.append(lease)

    while not await leader(engine, owner).lead(work):
        assert time.monotonic() < deadline, "the lease is never free"
        await asyncio.sleep(0.1)
    return leases[0]


def test_one_node_leads_for_as_long_as_its_work_takes_then_another_can_at_once(server: StateServer) -> None:
    async def scenario(here: StateEngine, there: StateEngine) -> None:
        began, finish = asyncio.Event(), asyncio.Event()
        tokens: list[int] = []

        async def work(lease: Lease) -> None:
            tokens.append(lease.token)
            began.set()
            await finish.wait()

        leading = asyncio.ensure_future(leader(here, "a").lead(work))
        await began.wait()
        end = time.monotonic() + 3 * TTL
        while time.monotonic() < end:
            assert await leader(there, "b").lead(nothing) is False
            await asyncio.sleep(0.1)
        finish.set()
        assert await leading is True
        assert (await take_over(there, "b")).token > tokens[0]

    play(server, scenario)


def test_a_leader_that_died_is_followed_by_another_and_cannot_overwrite_what_that_wrote(server: StateServer) -> None:
    async def scenario(here: StateEngine, there: StateEngine) -> None:
        dead = await here.acquire("job", "a", TTL)
        assert dead is not None
        assert await set_fenced(here, "result", b"first", dead)
        successor = await take_over(there, "b")
        assert await set_fenced(there, "result", b"second", successor)
        assert not await set_fenced(here, "result", b"stale", dead)
        found = await get_fenced(here, "result")
        assert found is not None
        assert found.value == b"second"
        assert await here.renew(dead, TTL) is None

    play(server, scenario)


def test_work_is_cancelled_when_the_engine_is_killed_and_done_again_when_it_is_back(server: StateServer) -> None:
    async def scenario(here: StateEngine, there: StateEngine) -> None:
        began = asyncio.Event()
        leases: list[Lease] = []
        ended: list[float] = []

        async def work(lease: Lease) -> None:
            leases.append(lease)
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(time.monotonic())

        leading = asyncio.ensure_future(leader(here, "a").lead(work))
        await began.wait()
        server.kill()
        with pytest.raises(LeaseLost):
            await leading
        assert len(ended) == 1, "the work was stopped, not left running"
        server.start()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                successor = await take_over(there, "b")
                break
            except StateUnavailable:
                assert time.monotonic() < deadline, "the engine does not come back"
        assert successor.token > leases[0].token

    play(server, scenario)


def test_a_leader_that_is_told_to_stop_lets_another_begin_at_once(server: StateServer) -> None:
    async def scenario(here: StateEngine, there: StateEngine) -> None:
        began = asyncio.Event()

        async def work(lease: Lease) -> None:
            began.set()
            await asyncio.Event().wait()

        leading = asyncio.ensure_future(Leader(here, "job", "a", ttl=600.0).lead(work))
        await began.wait()
        leading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leading
        assert await leader(there, "b").lead(nothing) is True

    play(server, scenario)
