"""Meters on rows of shared memory: what gets through, what waits, what is remembered; by a clock of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.contracts.limits import LimitMemory
from edgewise.gateway.meters import Meter, Quota, SlidingWindow, TokenBucket

KEY, OTHER = 0x1234, 0x99
START = 1000.0

gaps = st.lists(st.floats(0, 2), max_size=120)


class Counting:
    """One key of a meter."""

    def __init__(self, meter: Meter) -> None:
        self.memory = LimitMemory(1, rows=64)
        self.meter = meter
        self.offset, _ = self.memory.find(KEY, 1)

    def take(self, now: float, cost: int = 1) -> float:
        """Return what `Meter.take` does."""
        left = self.meter.take(self.memory, self.offset, KEY, now, cost)
        assert left is not None
        return left

    def charge(self, amount: int, now: float) -> None:
        """Count what others admitted."""
        self.meter.charge(self.memory, self.offset, amount, now)


# ---- token bucket ----------------------------------------------------------------------------------------------------


def test_a_burst_gets_through_at_once_and_then_one_a_token() -> None:
    bucket = Counting(TokenBucket(rate=10, burst=3))
    assert [round(bucket.take(100.0)) for _ in range(3)] == [2, 1, 0]
    wait = -bucket.take(100.0)
    assert 0.09 < wait <= 0.1
    assert bucket.take(100.0 + wait) >= 0.0


def test_a_refused_request_costs_nothing() -> None:
    bucket = Counting(TokenBucket(rate=1, burst=1))
    assert bucket.take(0.0) == 0.0
    waits = [bucket.take(0.5) for _ in range(100)]
    assert waits == [waits[0]] * 100
    assert bucket.take(1.0) >= 0.0


def test_a_request_may_cost_several_tokens() -> None:
    bucket = Counting(TokenBucket(rate=10, burst=10))
    assert bucket.take(0.0, cost=6) == pytest.approx(4)
    assert bucket.take(0.0, cost=6) == pytest.approx(-0.2)
    assert bucket.take(0.0, cost=4) == pytest.approx(0)


def test_what_others_admitted_is_a_debt_within_bounds() -> None:
    bucket = Counting(TokenBucket(rate=10, burst=10))
    bucket.charge(20, 0.0)
    assert bucket.take(0.5) < 0
    assert bucket.take(1.2) >= 0.0
    bucket.charge(10**9, 2.0)
    assert -bucket.take(2.0) <= 10.2


def test_what_is_given_back_may_be_taken_again() -> None:
    bucket = Counting(TokenBucket(rate=0.01, burst=2))
    assert [bucket.take(5.0) >= 0 for _ in range(3)] == [True, True, False]
    bucket.memory.cells[bucket.offset // 8 + bucket.memory.own] -= 1
    assert [bucket.take(5.0) >= 0 for _ in range(2)] == [True, False]


@given(gaps, st.integers(1, 50), st.integers(1, 20), st.integers(1, 3))
def test_never_more_than_burst_and_rate_get_through(gaps: list[float], rate: int, burst: int, cost: int) -> None:
    bucket = Counting(TokenBucket(rate, burst))
    now, admitted = START, 0
    for gap in gaps:
        now += gap
        admitted += cost if bucket.take(now, cost) >= 0.0 else 0
        assert admitted <= burst + rate * (now - START) + 1e-3


@given(gaps, st.integers(1, 50), st.integers(1, 20))
def test_who_waits_as_long_as_told_gets_through(gaps: list[float], rate: int, burst: int) -> None:
    for meter in (TokenBucket(rate, burst), SlidingWindow(burst, 1.0)):
        counting = Counting(meter)
        now = START
        for gap in gaps:
            now += gap
            left = counting.take(now)
            if left < 0.0:
                now += -left + 1e-6
                assert counting.take(now) >= 0.0


# ---- sliding window --------------------------------------------------------------------------------------------------


class Reference:
    """The sliding window in exact numbers, from the list of all that was admitted."""

    def __init__(self, limit: int, window: int) -> None:
        self.limit, self.window = limit, window
        self.start: Fraction | None = None
        self.admitted: list[Fraction] = []

    def take(self, at: float, cost: int) -> bool:
        """Is a request let through?"""
        now, window = Fraction(at), self.window
        if self.start is None or now >= self.start + 2 * window:
            self.start = now
        elif now >= self.start + window:
            self.start += window
        current = sum(one >= self.start for one in self.admitted)
        previous = sum(self.start - window <= one < self.start for one in self.admitted)
        if previous * (1 - (now - self.start) / window) + current + cost > self.limit:
            return False
        self.admitted += [now] * cost
        return True


quarters = st.lists(st.integers(0, 12), max_size=80).map(lambda steps: [step / 4 for step in steps])


@settings(max_examples=60)
@given(quarters, st.integers(1, 12), st.sampled_from([1, 2, 4]), st.integers(1, 2))
def test_a_sliding_window_lets_through_what_its_definition_does(
    gaps: list[float], limit: int, window: int, cost: int
) -> None:
    cost = min(cost, limit)
    counting = Counting(SlidingWindow(limit, window))
    reference = Reference(limit, window)
    now = START
    for gap in gaps:
        now += gap
        assert (counting.take(now, cost) >= 0.0) == reference.take(now, cost)


@given(gaps, st.integers(1, 10))
def test_no_window_lets_more_than_twice_the_limit_through(gaps: list[float], limit: int) -> None:
    counting = Counting(SlidingWindow(limit, 1.0))
    now, admitted = START, []
    for gap in gaps:
        now += gap
        admitted += [now] if counting.take(now) >= 0.0 else []
    assert all(sum(at <= one < at + 1.0 for one in admitted) <= 2 * limit for at in admitted)


def test_a_steady_stream_passes_a_sliding_window_at_its_rate() -> None:
    counting = Counting(SlidingWindow(100, 1.0))
    admitted = sum(counting.take(START + step / 500) >= 0.0 for step in range(5000))
    assert 980 <= admitted <= 1100


# ---- quotas ----------------------------------------------------------------------------------------------------------


class Clocks:
    """A wall clock that goes with the monotonic one."""

    def __init__(self, text: str) -> None:
        self.start = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
        self.now = 0.0

    def wall(self) -> float:
        return self.start + self.now


@pytest.mark.parametrize(
    ("unit", "at", "left"),
    [
        ("s", "2026-03-01T10:00:00.250", 0.75),
        ("m", "2026-03-01T10:00:15", 45),
        ("h", "2026-03-01T10:59:00", 60),
        ("d", "2026-12-31T23:00:00", 3600),
        ("month", "2028-02-28T00:00:00", 2 * 86400),
        ("month", "2026-12-31T00:00:00", 86400),
    ],
)
def test_a_quota_is_there_again_when_the_calendar_says_so(unit: str, at: str, left: float) -> None:
    clocks = Clocks(at)
    quota = Counting(Quota(2, unit, clocks.wall))
    assert [quota.take(START) for _ in range(2)] == [1, 0]
    assert -quota.take(START) == pytest.approx(left)
    clocks.now = left - 0.01
    assert quota.take(START + clocks.now) < 0
    clocks.now = left + 0.01
    assert quota.take(START + clocks.now) == 1


def test_what_other_nodes_used_of_a_quota_is_gone() -> None:
    quota = Counting(Quota(10, "d", Clocks("2026-03-01T10:00:00").wall))
    quota.charge(9, START)
    assert quota.take(START) == 0
    assert quota.take(START) < 0


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_a_row_that_went_to_another_key_is_not_counted_in() -> None:
    memory = LimitMemory(1, rows=64)
    offset, new = memory.find(KEY, 1)
    assert new
    for meter in (TokenBucket(1, 1), SlidingWindow(1, 1.0), Quota(1, "d")):
        assert meter.take(memory, offset, OTHER, START, 1) is None


def test_workers_find_the_same_row_and_new_keys_another() -> None:
    memory = LimitMemory(2, rows=64)
    offset, new = memory.find(KEY, 1)
    assert new
    assert memory.find(KEY, 1) == (offset, False)
    assert memory.find(KEY + 8, 1)[0] != offset


def test_a_flood_of_keys_takes_the_rows_that_are_full_first_and_a_busy_key_keeps_its_own() -> None:
    memory = LimitMemory(1, rows=64)
    busy, quick = TokenBucket(rate=0.001, burst=5), TokenBucket(rate=1000, burst=1)
    offset, _ = memory.find(KEY, 1)
    assert busy.take(memory, offset, KEY, START, 1) is not None
    for number in range(1, 5000):
        place, _ = memory.find(number * 7919 + (1 << 40), 2)
        assert place % memory.row.size == 0
        assert place < 64 * memory.row.size
        quick.take(memory, place, number * 7919 + (1 << 40), START, 1)
    assert memory.find(KEY, 1) == (offset, False)


def test_the_cell_of_a_key_that_has_nothing_under_way_goes_to_another() -> None:
    memory = LimitMemory(2, rows=64, under_way=8)
    cells = [memory.find_held(mark) for mark in range(1, 9)]
    assert sorted(cells) == list(range(8)) or len(set(cells)) == 1  # none has anything under way yet
    row = memory.under_way.row(1)
    for mark in range(1, 9):
        row[memory.find_held(mark)] += 1
    assert memory.find_held(99) == -1
    memory.worker_gone(1)
    assert memory.find_held(99) >= 0
