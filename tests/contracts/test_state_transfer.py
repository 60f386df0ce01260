"""State moves from one engine to another: whole, once, and with the time that each entry has left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.state.transfer import copy_state
from support.state_servers import SERVERS, StateServer


@pytest.fixture(params=[(one, other) for one in SERVERS for other in SERVERS if one != other], ids="-to-".join)
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[StateServer, StateServer]]:
    started = []
    for name in request.param:
        (tmp_path / name).mkdir()
        server = SERVERS[name](tmp_path / name)
        server.start()
        started.append(server)
    yield started[0], started[1]
    for server in started:
        server.kill()


each_once = pytest.mark.parametrize(
    "servers", [("sqlite", "nats"), ("nats", "redis"), ("redis", "sqlite")], ids="-to-".join, indirect=True
)
"""What takes long is tried with each engine as source and as target, not with every pair."""


def test_everything_arrives_and_a_second_run_writes_nothing(servers: tuple[StateServer, StateServer]) -> None:
    async def run() -> None:
        source, target = [await server.make() for server in servers]
        await asyncio.gather(*(source.set(f"session/{number}", b"%d" % number, 600.0) for number in range(1200)))
        last = await source.set("for ever".replace(" ", "/"), b"\x00\xff")
        await source.set("gone", b"", 600.0)
        await source.delete("gone")
        await source.put_blob("blob", b"b" * 900_000, 600.0)
        await source.add("total", 7)
        await source.add("window", 7, window=60.0)
        lease = await source.acquire("job", "a", 60.0)
        assert lease is not None

        report = await copy_state(source, target)
        assert report.complete
        assert report.floors
        assert (report.keys.found, report.keys.written, report.keys.verified) == (1201, 1201, 1201)
        assert (report.blobs.found, report.blobs.written, report.blobs.verified) == (1, 1, 1)
        assert (report.counters.found, report.counters.written, report.counters.verified) == (1, 1, 1)

        again = await copy_state(source, target)
        assert again.complete
        assert (again.keys.written, again.keys.already) == (0, 1201)
        assert (again.blobs.written, again.counters.written) == (0, 0)

        entry = await target.get("session/1199")
        assert entry is not None
        assert entry.ttl is not None
        assert 500 < entry.ttl <= 601
        assert await target.compare_and_set("session/1199", b"", last) is None, "an old revision matches nothing"
        assert entry.revision > last
        for_ever = await target.get("for/ever")
        assert for_ever is not None
        assert for_ever[1] == b"\x00\xff"
        assert for_ever.ttl is None
        assert await target.count("total") == 7
        assert await target.get_blob("blob") == b"b" * 900_000
        successor = await target.acquire("job", "b", 60.0)
        assert successor is not None
        assert successor.token > lease.token

        await source.set("session/5", b"changed", 600.0)
        third = await copy_state(source, target)
        assert third.keys.written == 1
        changed = await target.get("session/5")
        assert changed is not None
        assert changed.value == b"changed"
        await source.close()
        await target.close()

    asyncio.run(run())


@each_once
def test_time_that_copying_takes_is_not_added_to_what_entries_have_left(
    servers: tuple[StateServer, StateServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        source, target = [await server.make() for server in servers]
        await asyncio.gather(*(source.set(f"session/{number}", b"", 600.0) for number in range(1000)))
        written: dict[str, float] = {}
        write = target.set

        async def slowly(key: str, value: bytes, ttl: float | None = None) -> int:
            assert ttl is not None
            if key.startswith("session/"):
                written[key] = time.monotonic() + ttl
            await asyncio.sleep(0.5)
            return await write(key, value, ttl)

        monkeypatch.setattr(target, "set", slowly)
        before = time.monotonic()
        await copy_state(source, target)
        assert len(written) == 1000
        assert max(written.values()) - before < 601.0, "four turns of 0.5 s each would have added 1.5 s"
        await source.close()
        await target.close()

    asyncio.run(run())


@each_once
def test_what_was_deleted_between_two_copies_does_not_come_back_until_the_target_is_in_use(
    servers: tuple[StateServer, StateServer],
) -> None:
    async def run() -> None:
        source, target = [await server.make() for server in servers]
        await asyncio.gather(*(source.set(f"session/{number:04}", b"1", 600.0) for number in range(1500)))
        await copy_state(source, target)
        await source.delete("session/0003")
        await source.delete("session/1400")
        await source.set("session/0007", b"2", 600.0)
        again = await copy_state(source, target)
        assert (again.keys.written, again.keys.removed) == (1, 2)
        assert [await target.get(key) for key in ("session/0003", "session/1400")] == [None, None]
        assert (await copy_state(source, target)).keys.removed == 0

        await target.set("session/own", b"", 600.0)
        await source.delete("session/0010")
        for _ in range(2):
            report = await copy_state(source, target)
            assert not report.own
            assert report.keys.removed == 0
            assert await target.get("session/own") is not None, "the target is in use by now"
            assert await target.get("session/0010") is not None
        await source.close()
        await target.close()

    asyncio.run(run())


@each_once
def test_a_copy_that_was_interrupted_knows_what_it_wrote(
    servers: tuple[StateServer, StateServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        source, target = [await server.make() for server in servers]
        await asyncio.gather(*(source.set(f"session/{number:04}", b"1", 600.0) for number in range(1500)))
        write = target.set

        async def until(key: str, value: bytes, ttl: float | None = None) -> int:
            if key == "session/1450":
                raise ConnectionError
            return await write(key, value, ttl)

        monkeypatch.setattr(target, "set", until)
        with pytest.raises(ConnectionError):
            await copy_state(source, target)
        monkeypatch.setattr(target, "set", write)
        await source.delete("session/0003")
        await source.delete("session/1005")
        report = await copy_state(source, target)
        assert report.complete
        assert await target.get("session/0003") is None
        assert await target.get("session/1005") is None
        await source.close()
        await target.close()

    asyncio.run(run())


def test_an_engine_that_had_keys_loses_none(servers: tuple[StateServer, StateServer]) -> None:
    async def run() -> None:
        source, target = [await server.make() for server in servers]
        await target.set("own", b"", 600.0)
        await source.set("session", b"", 600.0)
        for _ in range(2):
            assert (await copy_state(source, target)).keys.removed == 0
        assert await target.get("own") is not None
        await source.close()
        await target.close()

    asyncio.run(run())
