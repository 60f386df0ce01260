"""Weighted turns are smooth: at any time everybody had its share to within one turn."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from edgewise.balancer.smooth import LONGEST_CYCLE, smooth_turns, take_turns
from edgewise.testing.balancing import make_endpoints

weights = st.lists(st.integers(1, 50), min_size=1, max_size=12)


@given(weights, st.integers(1, 400))
def test_after_any_number_of_turns_each_had_its_share_rounded_down_or_up(weights: list[int], turns: int) -> None:
    had = Counter(islice(smooth_turns(weights), turns))
    for index, weight in enumerate(weights):
        share, rest = divmod(turns * weight, sum(weights))
        assert had[index] in (share, share + bool(rest))


@given(weights)
def test_the_turns_repeat_after_the_sum_of_the_weights(weights: list[int]) -> None:
    total = sum(weights)
    turns = list(islice(smooth_turns(weights), 2 * total))
    assert turns[:total] == turns[total:]


def test_a_heavy_endpoint_does_not_get_all_its_turns_at_once() -> None:
    assert list(islice(smooth_turns([5, 1, 1]), 7)) == [0, 0, 0, 1, 0, 0, 2]


@given(weights, st.floats(0, 1, exclude_max=True))
def test_a_whole_cycle_from_any_start_gives_each_endpoint_its_weight(weights: list[int], start: float) -> None:
    endpoints = make_endpoints(len(weights), weights=weights)
    turn = take_turns(endpoints, weights, start)
    assert Counter(turn() for _ in range(sum(weights))) == {endpoint: endpoint.weight for endpoint in endpoints}


def test_a_cycle_too_long_to_precompute_is_as_fair() -> None:
    weights = [LONGEST_CYCLE, 1]
    endpoints = make_endpoints(2, weights=weights)
    turn = take_turns(endpoints, weights)
    assert Counter(turn() for _ in range(sum(weights))) == {endpoints[0]: LONGEST_CYCLE, endpoints[1]: 1}


def test_without_endpoints_every_turn_is_nobodys() -> None:
    turn = take_turns((), ())
    assert [turn(), turn()] == [None, None]
