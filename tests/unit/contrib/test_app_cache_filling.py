"""When a value is computed anew, and what is kept of it."""

from __future__ import annotations

import asyncio
import math
import random
import zlib

import msgspec
import pytest

from edgewise.contrib.cache.filling import Filling, Wanted, renewal_due
from edgewise.contrib.cache.flights import Flights, TaskWaiting
from edgewise.contrib.cache.keys import digest
from edgewise.contrib.cache.memory import Copy, Memory
from edgewise.contrib.cache.store import LONGEST_WORK, MOST_DATA, Record, Store
from edgewise.contrib.cache.values import Plain
from edgewise.testing.state import MemoryStateEngine
from support.manual_clock import ManualClock

LARGE = random.Random(7).randbytes(70_000)
KEY, TAG = digest("k"), digest("tag", "t")


class Never:
    """A snapshot of nothing."""

    entry = None

    def left(self) -> float:
        return math.inf


def copy(*, cost: float = 0.0, stale: float = 0.0) -> Copy:
    return Copy(KEY, Never(), (), 0, stale, cost, b"")


class Case:
    """A store on an engine in memory, and a function that counts its calls."""

    def __init__(self) -> None:
        self.clock = ManualClock(1000.0)
        self.engine = MemoryStateEngine(self.clock)
        self.memory = Memory(1 << 20)
        self.store = Store(self.engine, self.memory, "app", 0.0, self.clock)
        self.filling = Filling(self.store, Flights(), TaskWaiting(), self.clock)
        self.calls = 0
        self.cost = 0.0
        self.value: object = "v"

    async def compute(self) -> object:
        self.calls += 1
        self.clock.advance(self.cost)
        return self.value

    def wanted(self, ttl: float = 60.0, stale: float = 0.0) -> Wanted:
        return Wanted(KEY, self.compute, Plain(), ttl, (TAG,), stale)

    async def get(self, **times: float) -> object:
        return await self.filling.get(self.wanted(**times))


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_value_is_computed_once_in_its_time_to_live(case: Case) -> None:
    async def run() -> None:
        assert [await case.get() for _ in range(3)] == ["v"] * 3
        assert case.calls == 1
        case.clock.advance(61)
        await case.get()
        assert case.calls == 2

    asyncio.run(run())


def test_a_stale_value_is_there_for_its_time_after_its_time_to_live(case: Case) -> None:
    async def run() -> None:
        await case.get(stale=30)
        case.clock.advance(89)
        found = await case.store.find(KEY)
        assert found is not None
        assert renewal_due(found, 1.0, 0.0)
        case.clock.advance(2)
        assert await case.store.find(KEY) is None

    asyncio.run(run())


def test_what_took_longer_than_a_deletion_is_remembered_is_not_kept(case: Case) -> None:
    async def run() -> None:
        case.cost = LONGEST_WORK + 1
        assert await case.get() == "v"
        assert await case.store.find(KEY) is None

    asyncio.run(run())


def test_an_entry_that_ends_by_itself_while_it_is_renewed_is_replaced(case: Case) -> None:
    async def run() -> None:
        await case.get()
        found = await case.store.find(KEY)
        assert found is not None
        case.cost, case.value = 100.0, "new"
        await case.filling.renew(case.wanted(), found)
        assert await case.get() == "new"
        assert case.calls == 2

    asyncio.run(run())


def test_what_is_too_large_is_returned_and_not_kept(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        case.value = LARGE
        assert await case.get() == case.value
        assert await case.store.find(KEY) is None

    asyncio.run(run())
    assert "more than the 65536 that an entry may have" in caplog.text


def test_a_long_value_is_deflated_and_one_that_would_inflate_beyond_the_bound_is_none(case: Case) -> None:
    async def run() -> None:
        case.value = "<p>a page</p>" * 20_000
        assert await case.get() == await case.get() == case.value
        assert case.calls == 1
        stored = await case.engine.get(f"cache/app/e/{KEY}")
        assert stored is not None
        assert len(stored.value) < 10_000
        bomb = Record(0.0, 0.0, 0, [], zlib.compress(bytes(MOST_DATA + 1)), True)
        for record in (bomb, Record(0.0, 0.0, 0, [], b"not deflated", True)):
            await case.engine.set(f"cache/app/e/{KEY}", msgspec.msgpack.encode(record))
            assert await case.store.find(KEY) is None

    asyncio.run(run())


def test_what_is_not_plain_data_is_a_mistake_in_the_program(case: Case) -> None:
    async def run() -> None:
        case.value = (1, 2)
        with pytest.raises(TypeError, match="tuple is not plain data"):
            await case.get()

    asyncio.run(run())


def test_an_entry_of_another_version_or_of_another_type_is_none(case: Case) -> None:
    async def run() -> None:
        for value in (b"?", b"\x93\x01\x02\x03"):
            await case.engine.set(f"cache/app/e/{KEY}", value)
            assert await case.store.find(KEY) is None
        await case.store.write(KEY, Record(0.0, 0.0, 0, [], b"\xc1"), 60.0)
        assert await case.get() == "v"

    asyncio.run(run())


def test_a_value_that_needs_itself_is_computed_and_does_not_wait_for_itself(case: Case) -> None:
    async def again() -> object:
        return await case.filling.get(Wanted(KEY, case.compute, Plain(), 60.0))

    assert asyncio.run(case.filling.get(Wanted(KEY, again, Plain(), 60.0))) == "v"


def test_a_renewal_that_fails_is_logged_and_tried_again_later(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> object:
        raise LookupError("no database")

    async def run() -> None:
        await case.get(stale=30)
        found = await case.store.find(KEY)
        assert found is not None
        await case.filling.renew(Wanted(KEY, failing, Plain(), 60.0), found)
        assert not renewal_due(found, 10.0, case.clock())
        assert renewal_due(found, -1.0, case.clock() + 1.1)

    asyncio.run(run())
    assert "no database" in caplog.text


def test_what_another_process_just_renewed_is_not_renewed_again(case: Case) -> None:
    async def run() -> None:
        await case.get(stale=30)
        old = await case.store.find(KEY)
        assert old is not None
        await case.filling.renew(case.wanted(stale=30), old)
        assert case.calls == 2
        await case.filling.renew(case.wanted(stale=30), old)
        assert case.calls == 2

    asyncio.run(run())


def test_a_purge_costs_one_write_whatever_is_stored_and_a_key_a_tag(case: Case) -> None:
    async def run() -> None:
        for number in range(50):
            await case.filling.get(Wanted(digest(number), case.compute, Plain(), 60.0, (TAG,)))
        before = (await case.engine.status()).keys
        for _ in range(10):
            await case.store.purge([TAG])
        assert (await case.engine.status()).keys == before + 1
        assert [await case.store.find(digest(number)) for number in range(50)] == [None] * 50

    asyncio.run(run())


def test_a_value_is_renewed_the_earlier_the_longer_it_takes() -> None:
    """XFetch: at `left` seconds before the end with probability exp(-left / cost)."""
    draw = random.Random(7).random
    for cost, left in ((1.0, 1.0), (2.0, 1.0), (0.5, 1.0)):
        due = sum(renewal_due(copy(cost=cost), left, 0.0, draw) for _ in range(20_000)) / 20_000
        assert due == pytest.approx(math.exp(-left / cost), abs=0.02)


def test_a_value_far_from_its_end_or_just_tried_is_not_renewed() -> None:
    assert not renewal_due(copy(cost=0.01), 60.0, 0.0, lambda: 0.999999)
    assert not renewal_due(copy(), math.inf, 0.0)
    assert renewal_due(copy(stale=30.0), 29.0, 0.0, lambda: 0.0)
    tried = copy(stale=30.0)
    tried.renew_at = 5.0
    assert not renewal_due(tried, 29.0, 4.0)
    assert renewal_due(tried, 29.0, 5.0)
