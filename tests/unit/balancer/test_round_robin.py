from __future__ import annotations

from collections import Counter

from edgewise.balancer.options import PolicyOptions
from edgewise.balancer.round_robin import RoundRobin
from edgewise.testing.balancing import make_endpoints, make_exchange


def _policy(start: float = 0.0) -> RoundRobin:
    return RoundRobin(PolicyOptions(rand=lambda: start))


def test_equal_endpoints_are_picked_in_order() -> None:
    endpoints = make_endpoints(3)
    policy = _policy()
    policy.update(endpoints)
    assert [policy.pick(make_exchange()) for _ in range(6)] == [*endpoints, *endpoints]


def test_the_cycle_begins_at_a_random_place() -> None:
    endpoints = make_endpoints(4)
    policy = _policy(0.5)
    policy.update(endpoints)
    assert policy.pick(make_exchange()) is endpoints[2]


def test_an_update_that_changes_nothing_keeps_the_turn() -> None:
    endpoints = make_endpoints(3)
    policy = _policy()
    policy.update(endpoints)
    picked = []
    for _ in range(3):
        policy.update(endpoints)
        picked.append(policy.pick(make_exchange()))
    assert picked == list(endpoints)


def test_an_endpoint_of_weight_two_is_picked_twice_as_often() -> None:
    endpoints = make_endpoints(2, weights=(2, 1))
    policy = _policy()
    policy.update(endpoints)
    assert Counter(policy.pick(make_exchange()) for _ in range(30)) == {endpoints[0]: 20, endpoints[1]: 10}


def test_a_weight_below_one_counts_as_one() -> None:
    endpoints = make_endpoints(2, weights=(0, 1))
    policy = _policy()
    policy.update(endpoints)
    assert Counter(policy.pick(make_exchange()) for _ in range(10)) == {endpoints[0]: 5, endpoints[1]: 5}
