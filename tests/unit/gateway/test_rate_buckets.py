"""Token buckets: what gets through, what waits, what is remembered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgewise.gateway.buckets import Buckets


def test_a_burst_gets_through_at_once_and_then_one_a_token() -> None:
    buckets = Buckets(rate=10, burst=3)
    assert [buckets.take("a", 100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    wait = buckets.take("a", 100.0)
    assert 0.09 < wait <= 0.1
    assert buckets.take("a", 100.0 + wait) == 0.0
    assert buckets.take("b", 100.0) == 0.0


def test_a_refused_request_costs_nothing() -> None:
    buckets = Buckets(rate=1, burst=1)
    assert buckets.take("a", 0.0) == 0.0
    waits = [buckets.take("a", 0.5) for _ in range(100)]
    assert waits == [waits[0]] * 100
    assert buckets.take("a", 1.0) == 0.0


def test_what_others_admitted_is_a_debt_within_bounds() -> None:
    buckets = Buckets(rate=10, burst=10)
    buckets.charge("a", 20, 0.0)
    assert buckets.take("a", 0.5) > 0
    assert buckets.take("a", 1.2) == 0.0
    buckets.charge("b", 10**9, 0.0)
    assert buckets.take("b", 0.0) <= 10.2


@given(st.lists(st.floats(0, 2), max_size=200), st.integers(1, 50), st.integers(1, 20))
def test_never_more_than_burst_and_rate_get_through(gaps: list[float], rate: int, burst: int) -> None:
    buckets = Buckets(rate, burst)
    now, admitted = 50.0, 0
    for gap in gaps:
        now += gap
        admitted += buckets.take("k", now) == 0.0
    assert admitted <= burst + rate * (now - 50.0) + 1


def test_a_flood_of_keys_stays_within_the_bound_and_a_busy_key_is_kept() -> None:
    buckets = Buckets(rate=0.001, burst=1, most_keys=100)
    assert buckets.take("busy", 0.0) == 0.0
    for number in range(10_000):
        buckets.take(str(number), 0.0)
        assert buckets.take("busy", 0.0) > 0
        assert len(buckets) <= 100
