"""Work under a lease, over time that passes when told: one leader at a time, taken over, stopped, fenced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from edgewise.contracts.fencing import get_fenced, set_fenced
from edgewise.contracts.leader import TTL, Leader, LeaseLost
from edgewise.contracts.state import Lease, StateUnavailable
from edgewise.testing.state import MemoryStateEngine
from support.manual_time import ManualTime, settle


class Nodes:
    """Leaders of one lease, and what they did."""

    def __init__(self) -> None:
        self.time = ManualTime()
        self.engine = MemoryStateEngine(self.time)
        self.led: list[tuple[str, int]] = []
        """Who began to work, under which token."""
        self.cancelled: list[str] = []

    def leader(self, name: str) -> Leader:
        return Leader(self.engine, "job", name, clock=self.time, sleep=self.time.sleep)

    def work(self, name: str, seconds: float) -> Callable[[Lease], Awaitable[None]]:
        async def work(lease: Lease) -> None:
            self.led.append((name, lease.token))
            try:
                await self.time.sleep(seconds)
            except asyncio.CancelledError:
                self.cancelled.append(name)
                raise

        return work

    def begin(self, name: str, seconds: float) -> asyncio.Task[bool]:
        return asyncio.ensure_future(self.leader(name).lead(self.work(name, seconds)))


def play(scenario: Callable[[Nodes], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(10):
            await scenario(Nodes())

    asyncio.run(run())


def test_while_one_node_works_the_others_are_told_that_somebody_does() -> None:
    async def scenario(nodes: Nodes) -> None:
        first = nodes.begin("a", 5.0)
        await settle()
        assert await nodes.begin("b", 5.0) is False
        await nodes.time.pass_by(5.0)
        assert await first is True
        second = nodes.begin("b", 1.0)
        await nodes.time.pass_by(1.0)
        assert await second is True
        assert [name for name, _ in nodes.led] == ["a", "b"]
        assert nodes.led[0][1] < nodes.led[1][1]

    play(scenario)


def test_work_that_takes_longer_than_a_lease_keeps_it() -> None:
    async def scenario(nodes: Nodes) -> None:
        first = nodes.begin("a", 10 * TTL)
        for _ in range(9):
            await nodes.time.pass_by(TTL)
            assert await nodes.begin("b", 1.0) is False
        await nodes.time.pass_by(TTL)
        assert await first is True

    play(scenario)


def test_an_engine_that_is_away_for_less_than_the_lease_changes_nothing() -> None:
    async def scenario(nodes: Nodes) -> None:
        first = nodes.begin("a", 3 * TTL)
        await nodes.time.pass_by(TTL / 2)
        nodes.engine.lost = True
        await nodes.time.pass_by(TTL / 2)
        nodes.engine.lost = False
        await nodes.time.pass_by(2 * TTL)
        assert await first is True

    play(scenario)


def test_work_is_cancelled_at_the_end_of_the_lease_when_the_engine_stays_away() -> None:
    async def scenario(nodes: Nodes) -> None:
        first = nodes.begin("a", 10 * TTL)
        await settle()
        nodes.engine.lost = True
        await nodes.time.pass_by(TTL - 0.5)
        assert nodes.cancelled == []
        await nodes.time.pass_by(0.5)
        with pytest.raises(LeaseLost):
            await first
        assert nodes.cancelled == ["a"]
        with pytest.raises(StateUnavailable):
            await nodes.begin("a", 1.0)

    play(scenario)


def test_the_work_of_a_node_that_died_is_taken_over_when_its_lease_ends() -> None:
    async def scenario(nodes: Nodes) -> None:
        dead = await nodes.engine.acquire("job", "a", TTL)
        assert dead is not None
        await nodes.time.pass_by(TTL - 0.1)
        assert await nodes.begin("b", 1.0) is False
        await nodes.time.pass_by(0.1)
        second = nodes.begin("b", 1.0)
        await nodes.time.pass_by(1.0)
        assert await second is True
        ((name, token),) = nodes.led
        assert name == "b"
        assert token > dead.token

    play(scenario)


def test_a_leader_that_was_paused_stops_and_cannot_overwrite_what_its_successor_wrote() -> None:
    async def scenario(nodes: Nodes) -> None:
        leases: list[Lease] = []

        async def paused(lease: Lease) -> None:
            leases.append(lease)
            await asyncio.Event().wait()

        first = asyncio.ensure_future(nodes.leader("a").lead(paused))
        await settle()
        nodes.time.advance(TTL + 1)  # nobody woke meanwhile
        successor = await nodes.engine.acquire("job", "b", TTL)
        assert successor is not None
        assert await set_fenced(nodes.engine, "result", b"new", successor)
        assert not await set_fenced(nodes.engine, "result", b"old", leases[0])
        found = await get_fenced(nodes.engine, "result")
        assert found is not None
        assert found.value == b"new"
        await nodes.time.pass_by(0.0)
        with pytest.raises(LeaseLost):
            await first
        assert await nodes.engine.renew(successor, TTL) is not None, "the successor's lease is not given back"

    play(scenario)


def test_what_the_work_raises_is_raised_and_the_lease_is_given_back() -> None:
    async def scenario(nodes: Nodes) -> None:
        async def failing(lease: Lease) -> None:
            raise OSError("no space left")

        with pytest.raises(OSError, match="no space left"):
            await nodes.leader("a").lead(failing)
        assert await nodes.engine.acquire("job", "b", TTL) is not None

    play(scenario)


def test_a_leader_that_is_told_to_stop_lets_another_begin_at_once() -> None:
    async def scenario(nodes: Nodes) -> None:
        first = nodes.begin("a", 10 * TTL)
        await settle()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert nodes.cancelled == ["a"]
        assert await nodes.engine.acquire("job", "b", TTL) is not None

    play(scenario)
