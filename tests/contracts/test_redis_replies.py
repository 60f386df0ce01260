"""Replies of a Redis server go to the calls that asked, whatever comes between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.contracts.state import StateError, StateUnavailable
from edgewise.state.opening import Options, open_engine
from edgewise.state.redis.connection import Connections
from support.cuttable_proxy import CuttableProxy
from support.state_servers import ValkeyServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path)
    server.start()
    yield server
    server.kill()


def test_an_entry_that_is_refused_leaves_the_replies_to_others_in_their_places(server: ValkeyServer) -> None:
    async def run() -> None:
        engine = await server.make()
        other = Connections(server.url, 5.0)
        await other.command("RPUSH", "edgewise:k:list", "x")
        await engine.set("a", b"1", 60.0)
        calls = [engine.get(key) for key in ("a", "list", "none", "a", "list", "a")]
        first, refused, none, *rest = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(refused, StateError)
        assert "WRONGTYPE" in str(refused)
        assert none is None
        for entry in (first, rest[0], rest[2]):
            assert not isinstance(entry, BaseException)
            assert entry is not None
            assert entry.value == b"1"
            assert entry.ttl is not None
            assert 50 < entry.ttl <= 60
        await other.close()
        await engine.close()

    asyncio.run(run())


def test_calls_that_end_early_take_nobody_elses_reply(server: ValkeyServer) -> None:
    async def run() -> None:
        engine = await server.make()
        await asyncio.gather(*(engine.set(f"k{number}", b"%d" % number) for number in range(100)))
        for turn in range(20):
            tasks = [asyncio.ensure_future(engine.get(f"k{number}")) for number in range(100)]
            if turn % 2:
                await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            for number, entry in enumerate(found):
                if number % 3:
                    assert not isinstance(entry, BaseException)
                    assert entry is not None
                    assert entry.value == b"%d" % number
        await engine.close()

    asyncio.run(run())


def test_reads_under_way_when_the_connection_is_cut_are_answered_by_the_next_one(server: ValkeyServer) -> None:
    proxy = CuttableProxy(server.port)

    async def run() -> None:
        engine = await open_engine(server.url.replace(str(server.port), str(proxy.port)), Options(patience=15.0))
        await asyncio.gather(*(engine.set(f"k{number}", b"%d" % number) for number in range(50)))
        proxy.silence()
        reads = [asyncio.ensure_future(engine.get(f"k{number}")) for number in range(50)]
        await asyncio.sleep(0.05)
        proxy.cut()
        proxy.heal()
        found = await asyncio.gather(*reads)
        assert [entry and entry.value for entry in found] == [b"%d" % number for number in range(50)]
        await engine.close()

    asyncio.run(run())
    proxy.close()


def test_each_call_ends_at_its_own_deadline_by_one_timer(server: ValkeyServer) -> None:
    proxy = CuttableProxy(server.port)

    async def run() -> None:
        engine = await open_engine(server.url.replace(str(server.port), str(proxy.port)), Options(patience=1.0))
        proxy.silence()
        loop = asyncio.get_running_loop()

        async def fails() -> float:
            began = loop.time()
            with pytest.raises(StateUnavailable):
                await engine.set("k", b"")
            return loop.time() - began

        first = asyncio.ensure_future(fails())
        await asyncio.sleep(0.5)
        second = asyncio.ensure_future(fails())
        took = await asyncio.gather(first, second)
        assert min(took) >= 0.4, "given up with an earlier call"
        proxy.heal()
        await engine.close()

    asyncio.run(run())
    proxy.close()
