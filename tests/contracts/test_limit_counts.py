"""What limits tell the state engine, on every engine: quotas that go on, nodes that learn of each other."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from edgewise.contracts.limits import LimitMemory
from edgewise.contracts.state import StateEngine
from edgewise.gateway.meters import Meter, Quota, TokenBucket
from edgewise.gateway.sharing import Sharing
from support.state_servers import StateServer

marks = itertools.count(1)
"""Each test has keys of its own: the engine is that of the module."""


class Node:
    """The rows of a machine, and one key in them."""

    def __init__(self, engine: StateEngine, meter: Meter, mark: int) -> None:
        async def opening() -> StateEngine:
            return engine

        self.engine, self.meter, self.mark = engine, meter, mark
        self.memory = LimitMemory(1, rows=64)
        self.sharing = Sharing(self.memory, opening, nodes=True, speaks=True)
        self.sharing.share("api", meter)
        self.offset, _ = self.memory.find(mark, self.sharing.number("api", meter))

    def take(self, times: int) -> int:
        """Count requests; return how many pass."""
        passed = 0
        for _ in range(times):
            left = self.meter.take(self.memory, self.offset, self.mark, 1000.0, 1)
            assert left is not None
            passed += left >= 0.0
        self.memory.changed[self.offset // self.memory.row.size] = 1
        return passed

    async def tell(self) -> None:
        """Exchange counts."""
        await self.sharing.exchange(self.engine, everything=True)


@pytest.mark.parametrize("unit", ["d", "month"])
def test_a_new_row_learns_what_was_used_of_a_quota(server: StateServer, unit: str) -> None:
    async def run() -> None:
        engine, mark = await server.make(), next(marks)
        try:
            before = Node(engine, Quota(10, unit), mark)
            assert before.take(4) == 4
            await before.tell()
            assert before.take(3) == 3
            await before.tell()
            after = Node(engine, Quota(10, unit), mark)
            await after.sharing.learn(after.meter, after.offset, mark)
            assert after.take(5) == 3
        finally:
            await engine.close()

    asyncio.run(run())


@pytest.mark.parametrize("unit", ["d", "month"])
def test_nodes_that_tell_at_once_lose_nothing_of_a_quota(server: StateServer, unit: str) -> None:
    async def run() -> None:
        engines, mark = [await server.make() for _ in range(3)], next(marks)
        try:
            nodes = [Node(engine, Quota(100, unit), mark) for engine in engines]
            for _ in range(3):
                assert [node.take(5) for node in nodes] == [5] * 3
                await asyncio.gather(*(node.tell() for node in nodes))
            late = Node(engines[0], Quota(100, unit), mark)
            await late.sharing.learn(late.meter, late.offset, mark)
            assert late.take(100) == 100 - 45
        finally:
            for engine in engines:
                await engine.close()

    asyncio.run(run())


def test_a_bucket_is_charged_what_other_nodes_admit(server: StateServer) -> None:
    async def run() -> None:
        engines, mark = [await server.make() for _ in range(2)], next(marks)
        try:
            one, two = (Node(engine, TokenBucket(0.001, 10), mark) for engine in engines)
            for node in (one, two):  # each knows of the other's count from its first exchange on
                assert node.take(1) == 1
                await node.tell()
            assert one.take(6) == 6
            await one.tell()
            assert two.take(1) == 1
            await two.tell()
            assert two.memory.cells[two.offset // 8 + 2] > one.memory.cells[one.offset // 8 + 2]
        finally:
            for engine in engines:
                await engine.close()

    asyncio.run(run())


@pytest.mark.parametrize("unit", ["d", "month"])
def test_a_strict_count_is_that_of_all_nodes(server: StateServer, unit: str) -> None:
    async def run() -> None:
        engines, mark = [await server.make() for _ in range(2)], next(marks)
        try:
            meter = Quota(3, unit)
            nodes = [Node(engine, meter, mark) for engine in engines]
            counts = [await nodes[number % 2].sharing.add(meter, mark, 1) for number in range(4)]
            assert [count.value for count in counts] == [1, 2, 3, 4]
            assert all(count.resets_in is not None and count.resets_in > 0 for count in counts)
        finally:
            for engine in engines:
                await engine.close()

    asyncio.run(run())
