"""Published versions in an engine: numbered, overwritten by nobody unknowingly, read by who has the key alone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from edgewise.contracts.sealing import Sealer
from edgewise.contracts.state import BLOB_BYTES, StateError, StateUnavailable
from edgewise.state.versions import KEPT, PURPOSE, NotSealed, VersionConflict, Versions
from edgewise.testing.state import MemoryStateEngine

SEALER = Sealer(b"0" * 32, PURPOSE)
Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(work)


def test_versions_count_up_and_say_who_published_them() -> None:
    async def publish() -> None:
        versions = Versions(MemoryStateEngine(), SEALER)
        assert (await versions.published()).versions == []
        first = await versions.publish({"routes": [1]}, "ann@a")
        second = await versions.publish({"routes": [2]}, "bob@b", expect=1)
        found = await versions.published()
        assert [(one.number, one.by) for one in found.versions] == [(1, "ann@a"), (2, "bob@b")]
        assert await versions.content(first) == {"routes": [1]}
        assert await versions.content(second) == {"routes": [2]}

    run(publish())


def test_who_expects_another_version_publishes_nothing_and_learns_who_did() -> None:
    async def publish() -> None:
        engine = MemoryStateEngine()
        versions = Versions(engine, SEALER)
        await versions.publish({}, "ann@a")
        with pytest.raises(VersionConflict, match="is 1, not 0: ann@a published version 1"):
            await versions.publish({}, "bob@b", expect=0)
        assert (await versions.published()).newest == 1

    run(publish())


def test_of_two_that_publish_at_once_one_is_refused_and_leaves_nothing_behind() -> None:
    class Slow(MemoryStateEngine):
        async def put_blob(self, key: str, data: bytes, ttl: float | None = None) -> None:
            await asyncio.sleep(0)  # both have read the list by now
            await super().put_blob(key, data, ttl)

    async def publish() -> None:
        engine = Slow()
        versions = Versions(engine, SEALER)
        results = await asyncio.gather(
            *(versions.publish({"by": name}, name) for name in ("ann", "bob")), return_exceptions=True
        )
        conflicts = [one for one in results if isinstance(one, VersionConflict)]
        assert len(conflicts) == 1
        assert len((await versions.published()).versions) == 1
        assert len(engine._blobs) == 1

    run(publish())


def test_a_number_is_above_that_of_every_node_also_where_the_engine_forgot() -> None:
    async def publish() -> None:
        versions = Versions(MemoryStateEngine(), SEALER)
        assert (await versions.publish({}, "ann", least=41)).number == 42

    run(publish())


def test_old_versions_are_forgotten_with_what_they_say() -> None:
    async def publish() -> None:
        engine = MemoryStateEngine()
        versions = Versions(engine, SEALER)
        made = [await versions.publish({"n": number}, "ann") for number in range(KEPT + 5)]
        assert [one.number for one in (await versions.published()).versions] == list(range(6, KEPT + 6))
        assert len(engine._blobs) == KEPT
        assert await versions.content(made[0]) is None

    run(publish())


def test_what_was_not_sealed_with_this_key_is_refused() -> None:
    async def publish() -> None:
        engine = MemoryStateEngine()
        versions = Versions(engine, SEALER)
        first = await versions.publish({"n": 1}, "ann")
        second = await versions.publish({"n": 2}, "ann")
        blobs = engine._blobs
        keys = list(blobs)
        blobs[keys[1]] = blobs[keys[0]]  # the first one's content in the place of the second's
        with pytest.raises(NotSealed):
            await versions.content(second)
        assert await versions.content(first) == {"n": 1}
        await engine.set(f"configuration/{SEALER.group}/versions", b'[{"number":9}]')
        with pytest.raises(NotSealed):
            await versions.published()
        assert (await Versions(engine, Sealer(b"1" * 32, PURPOSE)).published()).versions == []

    run(publish())


def test_what_is_too_large_for_the_engine_is_refused_before_anything_is_written() -> None:
    async def publish() -> None:
        engine = MemoryStateEngine()
        with pytest.raises(StateError, match="too large"):
            await Versions(engine, SEALER).publish({"x": "y" * BLOB_BYTES}, "ann")
        assert not engine._blobs

    run(publish())


def test_a_lost_engine_is_an_error_of_its_own() -> None:
    async def publish() -> None:
        engine = MemoryStateEngine()
        engine.lost = True
        with pytest.raises(StateUnavailable):
            await Versions(engine, SEALER).publish({}, "ann")

    run(publish())
