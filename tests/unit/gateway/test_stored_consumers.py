"""The copy of consumers that were added at run time: it follows the engine, and outlives its loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edgewise.contracts.state import StateUnavailable
from edgewise.gateway import stored_consumers
from edgewise.gateway.consumer_records import PREFIX, TOPIC, StoredConsumer, decoded, encoded, key_digest, new_key
from edgewise.gateway.stored_consumers import StoredConsumers
from edgewise.testing.state import MemoryStateEngine


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_consumers, "_RETRY", 0.01)
    monkeypatch.setattr(stored_consumers, "_LOOK", 0.02)
    monkeypatch.setattr(stored_consumers, "_PATIENCE", 0.05)


async def write(engine: MemoryStateEngine, record: StoredConsumer, *, tell: bool = True) -> None:
    await engine.set(PREFIX + record.name, encoded(record))
    if tell:
        await engine.publish(TOPIC, record.name.encode())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.005)


def followed(engine: MemoryStateEngine, test: Callable[[StoredConsumers], Awaitable[None]]) -> None:
    """Run `test` beside a copy that follows the engine."""

    async def run() -> None:
        async def opening() -> Any:
            if engine.lost:
                raise StateUnavailable("no engine")
            return engine

        stored = StoredConsumers(opening)
        task = asyncio.create_task(stored.run())
        try:
            await test(stored)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_what_was_there_before_and_what_comes_is_known() -> None:
    engine = MemoryStateEngine()
    key, kept = new_key(1.0)

    async def test(stored: StoredConsumers) -> None:
        await write(engine, StoredConsumer("mobile", 1.0, ["apps"], ["read"], {"plan": "gold"}, ["$2b$..."], [kept]))
        assert await stored.wait_loaded()
        await until(lambda: "mobile" in stored.named)
        found = stored.by_digest[key_digest(key.encode())]
        assert (found.name, found.groups, found.scopes, found.claims) == (
            "mobile",
            {"apps"},
            {"read"},
            {"plan": "gold"},
        )
        version = stored.version
        await write(engine, StoredConsumer("mobile", 1.0))
        await until(lambda: not stored.by_digest)
        assert stored.version > version
        await engine.delete(PREFIX + "mobile")
        await engine.publish(TOPIC, b"mobile")
        await until(lambda: not stored.named)

    followed(engine, test)


def test_a_consumer_can_be_read_at_once() -> None:
    engine = MemoryStateEngine()

    async def test(stored: StoredConsumers) -> None:
        await stored.wait_loaded()
        await write(engine, StoredConsumer("mobile", 1.0), tell=False)
        await stored.refresh("mobile")
        assert "mobile" in stored.named

    followed(engine, test)


def test_while_the_engine_is_lost_what_was_known_holds(caplog: pytest.LogCaptureFixture) -> None:
    engine = MemoryStateEngine()
    caplog.set_level("INFO", "edgewise.gateway")

    async def test(stored: StoredConsumers) -> None:
        await write(engine, StoredConsumer("mobile", 1.0))
        await until(lambda: "mobile" in stored.named)
        engine.lost = True
        await until(lambda: "cannot be followed, what was known holds on" in caplog.text)
        assert "mobile" in stored.named
        engine.lost = False
        await until(lambda: "followed again" in caplog.text)
        assert caplog.text.count("cannot be followed") == 1

    followed(engine, test)


def test_what_was_not_told_is_found_when_the_engine_is_back() -> None:
    engine = MemoryStateEngine()

    async def test(stored: StoredConsumers) -> None:
        await write(engine, StoredConsumer("gone", 1.0))
        await until(lambda: "gone" in stored.named)
        await write(engine, StoredConsumer("new", 1.0), tell=False)
        await engine.delete(PREFIX + "gone")
        engine.lost = True
        await until(lambda: stored._lost)
        engine.lost = False
        await until(lambda: stored.named.keys() == {"new"})

    followed(engine, test)


def test_what_was_not_told_is_found_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_consumers, "_ANEW", 0.05)
    engine = MemoryStateEngine()

    async def test(stored: StoredConsumers) -> None:
        await stored.wait_loaded()
        await write(engine, StoredConsumer("new", 1.0), tell=False)
        await until(lambda: "new" in stored.named)

    followed(engine, test)


def test_as_long_as_nothing_was_read_nothing_is_known() -> None:
    engine = MemoryStateEngine()
    engine.lost = True

    async def test(stored: StoredConsumers) -> None:
        assert not await stored.wait_loaded()
        engine.lost = False
        await until(stored.loaded.is_set)
        assert await stored.wait_loaded()

    followed(engine, test)


def test_what_cannot_be_read_is_told_and_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    engine = MemoryStateEngine()

    async def test(stored: StoredConsumers) -> None:
        await engine.set(PREFIX + "strange", b"{}")
        await write(engine, StoredConsumer("mobile", 1.0))
        await until(lambda: "mobile" in stored.named)
        assert "strange" not in stored.named
        assert "consumer strange cannot be used" in caplog.text

    followed(engine, test)


def test_more_consumers_than_a_page_holds_are_read() -> None:
    engine = MemoryStateEngine()

    async def test(stored: StoredConsumers) -> None:
        for number in range(2100):
            await write(engine, StoredConsumer(f"c{number}", 1.0), tell=False)
        await stored._read_all(engine)
        assert len(stored.named) == 2100
        version = stored.version
        await engine.delete(PREFIX + "c1500")
        await stored._read_all(engine)
        assert len(stored.named) == 2099
        assert stored.version == version + 1

    followed(engine, test)


def test_a_key_is_long_and_not_kept() -> None:
    key, kept = new_key(1.0, "a label")
    other, _ = new_key(1.0)
    assert key != other
    assert len(bytes.fromhex(key.rpartition("_")[2])) == 32
    assert kept.digest == key_digest(key.encode()).hex()
    record = StoredConsumer("mobile", 1.0, keys=[kept])
    assert decoded(encoded(record)) == record
    assert key.rpartition("_")[2].encode() not in encoded(record)
