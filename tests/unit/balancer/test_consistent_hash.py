from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.balancer.consistent_hash import ConsistentHash
from edgewise.balancer.options import PolicyOptions
from edgewise.contracts.endpoint import Move
from edgewise.testing.balancing import make_endpoints, make_exchange

requests = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=200)


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), requests, st.sampled_from([1.0, 1.25, 2.0]))
def test_no_endpoint_is_given_more_than_its_bounded_share(
    weights: list[int], requests: list[tuple[int, bool]], factor: float
) -> None:
    endpoints = make_endpoints(len(weights), weights=weights)
    policy = ConsistentHash(PolicyOptions(hash_key="path", load_factor=factor))
    policy.update(endpoints)
    for key, begins in requests:
        busy = [endpoint for endpoint in endpoints if endpoint.active]
        if not begins and busy:
            busy[key % len(busy)].active -= 1
            continue
        chosen = policy.pick(make_exchange(path=f"/{key}"))
        assert chosen is not None
        chosen.active += 1
        under_way = sum(endpoint.active for endpoint in endpoints)
        assert chosen.active <= ceil(factor * under_way * chosen.weight / sum(weights) + 1e-9)


def test_the_same_key_goes_to_the_same_endpoint_while_it_has_room() -> None:
    endpoints = make_endpoints(5)
    policy = ConsistentHash(PolicyOptions(hash_key="path"))
    policy.update(endpoints)
    assert len({policy.pick(make_exchange(f"10.0.0.{client}", "/a")) for client in range(50)}) == 1


def test_a_popular_key_falls_to_the_next_endpoint_when_its_own_is_full() -> None:
    endpoints = make_endpoints(3)
    policy = ConsistentHash(PolicyOptions(hash_key="path"))
    policy.update(endpoints)
    for _ in range(30):
        chosen = policy.pick(make_exchange(path="/popular"))
        assert chosen is not None
        chosen.active += 1
    assert max(endpoint.active for endpoint in endpoints) <= ceil(1.25 * 30 / 3)


def test_what_does_not_go_to_its_own_endpoint_is_counted_where_it_goes() -> None:
    endpoints = make_endpoints(3)
    policy = ConsistentHash(PolicyOptions(hash_key="path"))
    policy.update(endpoints)
    owner = policy.pick(make_exchange(path="/popular"))
    assert owner is not None
    assert [endpoint.moved for endpoint in endpoints] == [[0] * len(Move)] * 3
    owner.active = 5
    spilled = policy.pick(make_exchange(path="/popular"))
    assert spilled is not None
    assert (spilled is not owner, spilled.moved[Move.FULL]) == (True, 1)
    owner.active = 0
    retried = policy.pick(make_exchange(path="/popular", tried=(owner,)))
    again = policy.pick(make_exchange(path="/popular", tried=(owner, spilled)))
    assert retried is spilled
    assert again not in (owner, spilled, None)
    assert sum(endpoint.moved[Move.FAILED] for endpoint in endpoints) == 1


def test_without_a_bound_a_key_never_moves() -> None:
    endpoints = make_endpoints(3)
    policy = ConsistentHash(PolicyOptions(hash_key="path", load_factor=0))
    policy.update(endpoints)
    chosen = policy.pick(make_exchange(path="/popular"))
    assert chosen is not None
    chosen.active = 1000
    assert policy.pick(make_exchange(path="/popular")) is chosen


def test_a_retry_goes_to_the_next_endpoint_of_the_key() -> None:
    endpoints = make_endpoints(3)
    policy = ConsistentHash(PolicyOptions(hash_key="path"))
    policy.update(endpoints)
    first = policy.pick(make_exchange(path="/a"))
    assert first is not None
    second = policy.pick(make_exchange(path="/a", tried=(first,)))
    policy.update(tuple(endpoint for endpoint in endpoints if endpoint is not first))
    assert policy.pick(make_exchange(path="/a")) is second


def test_a_bound_below_the_fair_share_is_refused() -> None:
    with pytest.raises(ValueError, match="load_factor must be 0 or at least 1"):
        ConsistentHash(PolicyOptions(load_factor=0.5))
