"""The memo of heads: only what comes twice is kept, in two generations, within its bounds of entries and bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.proxy.memo import Memo


def kept(memo: Memo, key: bytes, value: object = "plan") -> Memo:
    """Offer a key until it is kept."""
    memo.offer(key, value)
    memo.offer(key, value)
    return memo


def test_a_key_is_kept_the_second_time_it_comes() -> None:
    memo = Memo(100, 1 << 20)
    memo.offer(b"a", 1)
    assert memo.get(b"a") is None
    memo.offer(b"a", 1)
    assert memo.get(b"a") == 1


def test_every_offer_counts_as_a_miss() -> None:
    memo = kept(Memo(100, 1 << 20), b"a")
    assert memo.misses == 2


def test_large_keys_are_never_kept() -> None:
    assert len(kept(Memo(100, 1 << 20, max_key=10), b"x" * 11)) == 0
    assert len(kept(Memo(100, 1 << 20, max_key=10), b"x" * 10)) == 1


@pytest.mark.parametrize(("entries", "size"), [(0, 1 << 20), (1, 1 << 20), (100, 0), (100, 5000)])
def test_a_memo_without_room_keeps_nothing(entries: int, size: int) -> None:
    assert len(kept(Memo(entries, size), b"a")) == 0


def test_what_is_used_lives_on_while_generations_pass() -> None:
    memo = kept(Memo(20, 1 << 20), b"used")
    for number in range(200):
        kept(memo, b"%d" % number)
        assert memo.get(b"used") == "plan"
    assert memo.get(b"0") is None


def test_clearing_forgets_keys_and_sightings() -> None:
    memo = kept(Memo(100, 1 << 20), b"a")
    memo.offer(b"b", 1)
    memo.clear()
    memo.offer(b"b", 1)
    assert (len(memo), memo.size, memo.get(b"a"), memo.get(b"b")) == (0, 0, None, None)


def test_a_flood_of_unique_keys_keeps_nothing() -> None:
    memo = Memo(1000, 1 << 20)
    for number in range(20_000):
        memo.offer(b"GET /%d" % number, number)
    assert (len(memo), memo.size) == (0, 0)


def test_a_flood_of_keys_that_come_twice_stays_within_both_bounds() -> None:
    memo = Memo(100, 1 << 18)
    for number in range(5000):
        kept(memo, b"GET /%d %s" % (number, b"x" * (number % 4000)))
        assert len(memo) <= 100
        assert memo.size <= 1 << 18


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=200), st.integers(0, 12), st.integers(0, 60_000))
def test_a_memo_never_answers_anything_but_what_was_offered_and_stays_bounded(
    steps: list[tuple[bool, int]], entries: int, size: int
) -> None:
    memo = Memo(entries, size)
    for offer, number in steps:
        key = b"k" * number
        if offer:
            memo.offer(key, number)
        assert memo.get(key) in (None, number)
        assert len(memo) <= entries
        assert memo.size <= size
