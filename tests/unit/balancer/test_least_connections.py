from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from edgewise.balancer.least_connections import WINDOW, LeastConnections
from edgewise.testing.balancing import make_endpoints, make_exchange


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 50)), min_size=1, max_size=WINDOW))
def test_no_endpoint_has_less_under_way_for_its_weight_than_the_one_picked(loads: list[tuple[int, int]]) -> None:
    endpoints = make_endpoints(len(loads), weights=[weight for weight, _ in loads])
    for endpoint, (_, active) in zip(endpoints, loads, strict=True):
        endpoint.active = active
    policy = LeastConnections()
    policy.update(endpoints)
    chosen = policy.pick(make_exchange())
    assert chosen is not None
    assert all(chosen.active * other.weight <= other.active * chosen.weight for other in endpoints)


def test_idle_endpoints_are_picked_by_weighted_turns() -> None:
    endpoints = make_endpoints(3, weights=(2, 1, 1))
    policy = LeastConnections()
    policy.update(endpoints)
    picked = Counter(policy.pick(make_exchange()) for _ in range(40))
    assert picked == {endpoints[0]: 20, endpoints[1]: 10, endpoints[2]: 10}


def test_equally_loaded_endpoints_are_picked_in_turn() -> None:
    busy, *calm = endpoints = make_endpoints(4)
    busy.active = 9
    for endpoint in calm:
        endpoint.active = 2
    policy = LeastConnections()
    policy.update(endpoints)
    picked = Counter(policy.pick(make_exchange()) for _ in range(400))
    assert set(picked) == set(calm)
    assert min(picked.values()) > 60


def test_a_large_upstream_is_seen_through_a_window_that_reaches_every_endpoint() -> None:
    endpoints = make_endpoints(3 * WINDOW)
    for endpoint in endpoints:
        endpoint.active = 5
    endpoints[-1].active = 1
    policy = LeastConnections()
    policy.update(endpoints)
    assert endpoints[-1] in {policy.pick(make_exchange()) for _ in range(len(endpoints))}


def test_a_retry_takes_the_least_loaded_of_the_untried() -> None:
    endpoints = make_endpoints(3)
    endpoints[1].active, endpoints[2].active = 3, 2
    policy = LeastConnections()
    policy.update(endpoints)
    assert policy.pick(make_exchange(tried=(endpoints[0],))) is endpoints[2]
