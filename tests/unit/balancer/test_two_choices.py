from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from edgewise.balancer.options import PolicyOptions
from edgewise.balancer.random_two import RandomTwo
from edgewise.balancer.sampling import WeightedSample
from edgewise.testing.balancing import make_endpoints, make_exchange


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=9), st.integers())
def test_two_different_endpoints_are_drawn(weights: list[int], seed: int) -> None:
    endpoints = make_endpoints(len(weights), weights=weights)
    first, second = WeightedSample(endpoints, weights, random.Random(seed).random).two()
    assert first is not second


def test_a_lone_endpoint_is_drawn_twice() -> None:
    endpoints = make_endpoints(1)
    assert WeightedSample(endpoints, [1], random.random).two() == (endpoints[0], endpoints[0])


def test_draws_follow_the_weights() -> None:
    endpoints = make_endpoints(3)
    sample = WeightedSample(endpoints, [6, 3, 1], random.Random(1).random)
    drawn = Counter(sample.one() for _ in range(10_000))
    assert [round(drawn[endpoint] / 1000) for endpoint in endpoints] == [6, 3, 1]


def test_the_busiest_of_three_is_never_picked() -> None:
    endpoints = make_endpoints(3)
    endpoints[0].active = 5
    policy = RandomTwo(PolicyOptions(rand=random.Random(2).random))
    policy.update(endpoints)
    assert {policy.pick(make_exchange()) for _ in range(200)} == set(endpoints[1:])


def test_requests_that_stay_are_spread_evenly() -> None:
    endpoints = make_endpoints(10)
    policy = RandomTwo(PolicyOptions(rand=random.Random(3).random))
    policy.update(endpoints)
    for _ in range(1000):
        chosen = policy.pick(make_exchange())
        assert chosen is not None
        chosen.active += 1
    assert max(endpoint.active for endpoint in endpoints) <= 105


def test_load_is_compared_by_weight() -> None:
    heavy, light = endpoints = make_endpoints(2, weights=(4, 1))
    heavy.active, light.active = 7, 2
    policy = RandomTwo(PolicyOptions(rand=random.Random(4).random))
    policy.update(endpoints)
    assert {policy.pick(make_exchange()) for _ in range(50)} == {heavy}
