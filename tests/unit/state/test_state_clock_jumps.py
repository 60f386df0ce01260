"""Steps of the wall clock change nothing for the embedded engine; its writer runs here in a thread, with our clocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.state.sqlite.engine import SqliteEngine
from edgewise.state.sqlite.writer import Writer
from edgewise.testing.state_suite import take
from support.manual_clock import ManualClock

DAY = 86400.0


class Clocks:
    """The wall, and the seconds since the machine booted."""

    def __init__(self) -> None:
        self.wall = ManualClock(1.7e9)
        self.steady = ManualClock(5000.0)

    def advance(self, seconds: float) -> None:
        """Let time pass for both."""
        self.wall.advance(seconds)
        self.steady.advance(seconds)


class Hosted:
    """A writer in a thread, on a directory."""

    def __init__(self, directory: Path, clocks: Clocks) -> None:
        self.writer = Writer(directory, wall=clocks.wall, steady=clocks.steady)
        self.thread = threading.Thread(target=self.writer.run)
        self.thread.start()

    def stop(self) -> None:
        """End it."""
        self.writer.stop()
        self.thread.join()


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def hosted(tmp_path: Path, clocks: Clocks) -> Iterator[Hosted]:
    hosted = Hosted(tmp_path, clocks)
    yield hosted
    hosted.stop()


@pytest.mark.parametrize("jump", [-400 * DAY, -DAY, DAY, 400 * DAY])
def test_entries_leases_and_windows_follow_time_that_passed_not_the_wall(
    hosted: Hosted, clocks: Clocks, tmp_path: Path, jump: float
) -> None:
    async def run() -> None:
        engine = SqliteEngine(tmp_path, steady=clocks.steady)
        await engine.set("session", b"", 3600.0)
        await engine.put_blob("blob", b"data", 3600.0)
        assert (await engine.add("limit", 5, window=60.0)).value == 5
        lease = await engine.acquire("job", "a", 30.0)
        assert lease is not None
        cursor = await engine.publish("events", b"1")
        clocks.wall.advance(jump)
        entry = await engine.get("session")
        assert entry is not None
        assert entry.ttl == pytest.approx(3600.0, abs=1.0)
        assert await engine.get_blob("blob") == b"data"
        assert await engine.count("limit", window=60.0) == 5
        assert await engine.acquire("job", "b", 30.0) is None
        assert await engine.publish("events", b"2") == cursor + 1
        assert len(await take(engine.subscribe("events", 0), 2)) == 2
        clocks.advance(31.0)
        successor = await engine.acquire("job", "b", 30.0)
        assert successor is not None
        assert successor.token > lease.token
        clocks.advance(3600.0)
        assert await engine.get("session") is None
        assert await engine.count("limit", window=60.0) == 0
        await engine.close()

    asyncio.run(run())


def test_a_writer_started_after_the_jump_reads_the_same_time(clocks: Clocks, tmp_path: Path) -> None:
    async def write() -> None:
        engine = SqliteEngine(tmp_path, steady=clocks.steady)
        await engine.set("session", b"", 3600.0)
        await engine.close()

    async def read() -> float | None:
        engine = SqliteEngine(tmp_path, steady=clocks.steady)
        entry = await engine.get("session")
        await engine.close()
        return None if entry is None else entry.ttl

    first = Hosted(tmp_path, clocks)
    asyncio.run(write())
    first.stop()
    clocks.wall.advance(DAY)
    clocks.advance(600.0)
    second = Hosted(tmp_path, clocks)
    left = asyncio.run(read())
    second.stop()
    assert left == pytest.approx(3000.0, abs=1.0)


def test_what_expired_is_removed_a_little_at_a_time(clocks: Clocks, tmp_path: Path) -> None:
    from edgewise.state.sqlite import wire
    from edgewise.state.sqlite.tables import Tables

    tables = Tables(tmp_path, wall=clocks.wall, steady=clocks.steady)
    tables.begin()
    for number in range(300):
        tables.apply(wire.Set(number, "keys", f"k{number}", b"", 1000, None))
        tables.apply(wire.Add(number, f"c{number}", 1, 1000))
        tables.apply(wire.Publish(number, "topic", b""))
    assert tables.commit() == {}
    assert tables.sweep(0.0) is False, "nothing expired yet"
    clocks.advance(2 * DAY)
    steps = 0
    while tables.sweep(1e-6):
        steps += 1
    assert steps > 3
    tables.close()

    async def left() -> tuple[int, int]:
        engine = SqliteEngine(tmp_path, steady=clocks.steady, patience=0.1)
        keys = (await engine.status()).keys
        last = await engine.last("topic")
        await engine.close()
        return keys, last

    assert asyncio.run(left()) == (0, 300)
