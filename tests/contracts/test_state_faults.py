"""What state engines promise when the engine is killed, hangs, or the network between is cut; real servers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from edgewise.contracts.state import Message, StateEngine, StateError, StateUnavailable
from edgewise.state.nats.engine import NatsEngine
from edgewise.state.opening import Options, open_engine
from edgewise.testing.state_suite import stop, take
from support.cuttable_proxy import CuttableProxy
from support.state_servers import SERVERS, NatsServer, StateServer, ValkeyServer

pytestmark = [pytest.mark.gate, pytest.mark.timeout(300)]
OVER_TCP: dict[str, Callable[[Path], NatsServer | ValkeyServer]] = {"nats": NatsServer, "redis": ValkeyServer}
PATIENCE = 60.0
"""Seconds; a machine that does much else takes its time, above all to write to disk."""


Result = TypeVar("Result")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateServer]:
    server = SERVERS[request.param](tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=OVER_TCP)
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[NatsServer | ValkeyServer, CuttableProxy]]:
    server = OVER_TCP[request.param](tmp_path)
    server.start()
    proxy = CuttableProxy(server.port)
    server.url = server.url.replace(str(server.port), str(proxy.port))
    yield server, proxy
    proxy.close()
    server.kill()


async def sure(call: Callable[[], Awaitable[Result]]) -> Result:
    """Call until that succeeds, of an engine that is in reach but may be slow; for what may be done twice."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await call()
        except StateUnavailable:
            if time.monotonic() > deadline:
                raise


async def eventually(engine: StateEngine, key: str) -> None:
    """Write until that succeeds."""
    await sure(lambda: engine.set(key, b""))


async def opened(url: str, options: Options) -> StateEngine:
    """Return a client of an engine that is in reach, however soon its calls give up later."""
    return await sure(lambda: open_engine(url, options))


def test_no_acknowledged_write_is_lost_when_the_engine_is_killed(server: StateServer) -> None:
    async def run() -> None:
        engine = await server.make()
        acknowledged: dict[str, bytes] = {}
        added = 0

        async def write(part: int) -> None:
            nonlocal added
            for number in range(10_000):
                key, value = f"w/{part}/{number}", b"%d" % number
                try:
                    await engine.set(key, value, 600.0)
                    acknowledged[key] = value
                    await engine.add("sum")
                    added += 1
                except StateUnavailable:
                    return
                if killed.is_set():
                    return

        killed = asyncio.Event()
        writers = [asyncio.ensure_future(write(part)) for part in range(16)]
        while len(acknowledged) < 500:
            await asyncio.sleep(0.01)
        server.kill()
        killed.set()
        await asyncio.sleep(0.2)
        server.start()
        await asyncio.gather(*writers)
        await eventually(engine, "back")
        for key, value in acknowledged.items():
            entry = await sure(lambda key=key: engine.get(key))
            assert entry is not None, f"{key} was acknowledged and is lost"
            assert entry.value == value
            assert entry.ttl is not None
            assert 500 < entry.ttl <= 601
        assert added <= await engine.count("sum") <= added + len(writers)
        await engine.close()

    asyncio.run(run())


def test_numbers_go_on_above_the_old_ones_after_a_crash(server: StateServer) -> None:
    async def run() -> None:
        engine = await server.make()
        revision = 0
        for number in range(50):
            revision = await engine.set(f"k{number}", b"")
            await engine.delete(f"k{number}")
        lease = await engine.acquire("job", "a", 60.0)
        assert lease is not None
        cursor = await engine.publish("events", b"1")
        server.kill()
        server.start()
        await eventually(engine, "back")
        assert await engine.acquire("job", "b", 60.0) is None, "a crash freed a lease"
        assert await engine.renew(lease, 60.0) is not None
        await engine.release(lease)
        successor = await engine.acquire("job", "b", 60.0)
        assert successor is not None
        assert successor.token > lease.token
        assert await engine.set("k", b"") > revision
        assert await engine.publish("events", b"2") == cursor + 1
        await engine.close()

    asyncio.run(run())


def test_a_subscription_goes_through_crashes_without_gap_or_duplicate(server: StateServer) -> None:
    async def run() -> None:
        engine, publisher = await server.make(), await server.make()
        follower = engine.subscribe("events", 0)
        taken: list[Message] = []
        sent = 0
        for _crash in range(3):
            for _message in range(20):
                with contextlib.suppress(StateUnavailable):
                    sent = await publisher.publish("events", b"")
            taken += await take(follower, sent - len(taken))
            server.kill()
            server.start()
            await eventually(publisher, "back")
        sent = await publisher.publish("events", b"last")
        taken += await take(follower, sent - len(taken))
        assert [message.cursor for message in taken] == list(range(1, sent + 1))
        assert taken[-1].payload == b"last"
        await stop(follower)
        await engine.close()
        await publisher.close()

    asyncio.run(run())


def test_concurrent_updates_lose_no_write_through_a_crash(server: StateServer) -> None:
    async def run() -> None:
        engine = await server.make()
        await engine.set("n", b"0")
        certain = unknown = 0

        async def count_up() -> None:
            nonlocal certain, unknown
            for _round in range(30):
                try:
                    entry = await engine.get("n")
                    assert entry is not None
                    value = b"%d" % (int(entry.value) + 1)
                    if await engine.compare_and_set("n", value, entry.revision) is not None:
                        certain += 1
                except StateUnavailable:
                    unknown += 1

        tasks = [asyncio.ensure_future(count_up()) for _ in range(8)]
        while certain < 20:
            await asyncio.sleep(0.005)
        server.kill()
        server.start()
        await asyncio.gather(*tasks)
        await eventually(engine, "back")
        entry = await engine.get("n")
        assert entry is not None
        assert certain <= int(entry.value) <= certain + unknown
        await engine.close()

    asyncio.run(run())


def test_calls_end_in_time_while_the_engine_hangs_and_work_again_after(server: StateServer) -> None:
    async def run() -> None:
        engine = await opened(server.url, Options(patience=1.0))
        await sure(lambda: engine.set("k", b"1"))
        server.signal(signal.SIGSTOP)
        began = time.monotonic()
        calls = [engine.set("k", b"2"), engine.add("c"), engine.publish("t", b""), engine.acquire("l", "me", 5.0)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        server.signal(signal.SIGCONT)
        assert time.monotonic() - began < PATIENCE
        assert [type(result) for result in results] == [StateUnavailable] * 4
        await eventually(engine, "back")
        entry = await sure(lambda: engine.get("k"))
        assert entry is not None
        assert entry.value in (b"1", b"2"), "a write that raised has taken place, or not"
        assert await sure(lambda: engine.count("c")) <= 1, "an addition was sent twice"
        await engine.close()

    asyncio.run(run())


def test_calls_end_in_time_while_the_network_is_cut_and_work_again_after(
    far: tuple[NatsServer | ValkeyServer, CuttableProxy],
) -> None:
    server, proxy = far

    async def run() -> None:
        engine = await opened(server.url, Options(patience=1.0))
        await sure(lambda: engine.set("k", b"1"))
        for interrupt in (proxy.cut, proxy.silence):
            interrupt()
            calls = [engine.get("k"), engine.set("k", b"2"), engine.add("c"), engine.publish("t", b"")]
            began = time.monotonic()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert time.monotonic() - began < PATIENCE
            assert [type(result) for result in results] == [StateUnavailable] * 4
            proxy.heal()
            await eventually(engine, "back")
            assert await sure(lambda: engine.get("k")) is not None
        await engine.close()

    asyncio.run(run())


def test_a_subscription_goes_through_cuts_without_gap_or_duplicate(
    far: tuple[NatsServer | ValkeyServer, CuttableProxy],
) -> None:
    server, proxy = far

    async def run() -> None:
        engine = await opened(server.url, Options(patience=1.0))
        near = await opened(server.url.replace(str(proxy.port), str(server.port)), Options(patience=PATIENCE))
        follower = engine.subscribe("events", 0)
        taken: list[Message] = []
        for interrupt in (proxy.cut, proxy.silence, proxy.cut):
            await near.publish("events", b"before")
            taken += await take(follower, 1)
            waiting = asyncio.ensure_future(take(follower, 50))
            interrupt()
            for _message in range(50):
                await near.publish("events", b"meanwhile")
            proxy.heal()
            taken += await waiting
        assert [message.cursor for message in taken] == list(range(1, 154))
        await stop(follower)
        await engine.close()
        await near.close()

    asyncio.run(run())


def test_a_node_that_is_cut_off_from_nats_serves_on_from_its_copy(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    server.start()
    proxy = CuttableProxy(server.port)
    url, copy = f"nats://127.0.0.1:{proxy.port}", tmp_path / "copy"

    async def run() -> None:
        keeper = await opened(url, Options(patience=1.0, local_copy=copy))
        assert isinstance(keeper, NatsEngine)
        keeper.keep_copy()
        near = await server.make()
        for number in range(300):
            await near.set(f"session/{number}", b"%d" % number, 600.0)
        await near.set("gone/soon", b"", 1.0)
        await near.set("deleted", b"")
        await near.delete("deleted")
        await near.set("last", b"")
        await copied(keeper, "last", proxy)

        proxy.cut()
        await asyncio.sleep(1.1)
        with pytest.raises(StateUnavailable):
            await keeper.get("session/7")
        entry = await keeper.get("session/7", stale=True)
        assert entry is not None
        assert entry.value == b"7"
        assert entry.ttl is not None
        assert 500 < entry.ttl <= 601
        assert await keeper.get("deleted", stale=True) is None
        assert await keeper.get("gone/soon", stale=True) is None, "the copy knows when entries end"
        with pytest.raises(StateUnavailable):
            await keeper.set("session/7", b"")
        # A process that starts while the node is cut off reads the copy too.
        late = await open_engine(url, Options(patience=0.5, local_copy=copy))
        assert await late.get("session/8", stale=True) is not None
        await late.close()

        await near.delete("session/7")
        await near.set("session/8", b"changed")
        proxy.heal()
        await copied(keeper, "session/8", proxy, b"changed")
        proxy.cut()
        await asyncio.sleep(0.1)
        assert await keeper.get("session/7", stale=True) is None, "what was deleted meanwhile is gone from the copy"
        await near.close()
        await keeper.close()

    async def copied(keeper: StateEngine, key: str, proxy: CuttableProxy, value: bytes | None = None) -> None:
        from edgewise.state.nats.copy import CopyReader

        deadline = time.monotonic() + PATIENCE
        reader = CopyReader(copy)
        while time.monotonic() < deadline:
            with contextlib.suppress(StateUnavailable):
                entry = reader.get(key)
                if entry is not None and value in (None, entry.value):
                    reader.close()
                    return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{key} did not reach the copy")

    try:
        asyncio.run(run())
    finally:
        proxy.close()
        server.kill()


class TestRedisThatIsACache:
    def test_a_server_that_evicts_is_refused(self, tmp_path: Path) -> None:
        server = ValkeyServer(tmp_path, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru", "--save", "")
        server.start()
        try:
            with pytest.raises(StateError, match=r"drops keys when its memory is full .*allkeys-lru"):
                asyncio.run(server.make())
        finally:
            server.kill()

    def test_one_that_is_wanted_all_the_same_is_warned_of(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = ValkeyServer(tmp_path, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru", "--save", "")
        server.start()

        async def run() -> None:
            engine = await open_engine(server.url, Options(allow_eviction=True))
            assert len((await engine.status()).warnings) == 2
            await engine.close()

        try:
            with caplog.at_level(logging.WARNING, "edgewise.state"):
                asyncio.run(run())
        finally:
            server.kill()
        assert "sessions may end and counters begin anew at any time" in caplog.text
        assert "persists nothing" in caplog.text

    def test_a_server_with_its_log_on_is_not_warned_of(self, tmp_path: Path) -> None:
        server = ValkeyServer(tmp_path)
        server.start()

        async def run() -> None:
            engine = await server.make()
            assert (await engine.status()).warnings == ()
            await engine.close()

        try:
            asyncio.run(run())
        finally:
            server.kill()


def test_an_engine_whose_server_is_away_is_told_at_once(tmp_path: Path) -> None:
    for url in ("redis://127.0.0.1:1/0", "nats://127.0.0.1:1"):
        with pytest.raises(StateUnavailable, match=r"(?i)nats|redis"):
            asyncio.run(open_engine(url, Options(patience=0.3)))


@pytest.mark.parametrize(("url", "extra"), [("redis://h", "redis"), ("nats://h", "nats")])
def test_a_missing_extra_is_named(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StateError, match=rf"pip install 'edgewise\[{extra}\]'"):
        asyncio.run(open_engine(url))
