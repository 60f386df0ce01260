"""The ring: keys spread by weight, and only keys of what changed move."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.balancer.options import RAMP_STEPS
from edgewise.balancer.ring import MOST_POINTS, HashRing, hash_key
from edgewise.contracts.endpoint import Endpoint
from edgewise.testing.balancing import make_endpoints

KEYS = [b"key-%d" % number for number in range(1000)]
FULL = RAMP_STEPS


def _ring(endpoints: tuple[Endpoint, ...]) -> HashRing:
    return HashRing(endpoints, [endpoint.weight * FULL for endpoint in endpoints])


def _owners(ring: HashRing) -> list[Endpoint | None]:
    return [ring.owner(key) for key in KEYS]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.data())
def test_when_an_endpoint_leaves_only_its_keys_move(count: int, data: st.DataObject) -> None:
    endpoints = make_endpoints(count)
    gone = data.draw(st.sampled_from(endpoints))
    before = _owners(_ring(endpoints))
    after = _owners(_ring(tuple(endpoint for endpoint in endpoints if endpoint is not gone)))
    assert all(new is old for old, new in zip(before, after, strict=True) if old is not gone)
    assert gone not in after


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12))
def test_when_an_endpoint_joins_keys_move_to_it_alone_and_no_more_than_twice_its_share(count: int) -> None:
    endpoints = make_endpoints(count + 1)
    before = _owners(_ring(endpoints[:-1]))
    after = _owners(_ring(endpoints))
    moved = [new for old, new in zip(before, after, strict=True) if new is not old]
    assert set(moved) == {endpoints[-1]}
    assert len(moved) <= 2 * len(KEYS) / (count + 1)


def test_keys_spread_by_weight() -> None:
    endpoints = make_endpoints(3, weights=(4, 2, 2))
    owned = Counter(_owners(_ring(endpoints)))
    assert owned[endpoints[0]] == pytest.approx(500, rel=0.2)
    assert owned[endpoints[1]] == pytest.approx(250, rel=0.3)


def test_raising_a_weight_takes_keys_from_nobody_to_another() -> None:
    endpoints = make_endpoints(4)
    before = _owners(_ring(endpoints))
    endpoints[0].weight = 3
    after = _owners(_ring(endpoints))
    assert {new for old, new in zip(before, after, strict=True) if new is not old} == {endpoints[0]}


@given(st.binary(max_size=40))
def test_the_walk_begins_with_the_owner_and_meets_each_endpoint_once(key: bytes) -> None:
    endpoints = make_endpoints(6)
    ring = _ring(endpoints)
    order = list(ring.walk(key))
    assert order[0] is ring.owner(key)
    assert sorted(order, key=id) == sorted(endpoints, key=id)


def test_the_order_of_the_endpoints_says_nothing() -> None:
    endpoints = make_endpoints(5)
    assert _owners(_ring(endpoints)) == _owners(_ring(endpoints[::-1]))


def test_huge_weights_keep_the_ring_within_its_bound() -> None:
    endpoints = make_endpoints(3, weights=(60_000, 30_000, 1))
    ring = _ring(endpoints)
    assert len(ring._points) <= MOST_POINTS
    assert ring.owner(b"key") is not None


def test_an_empty_ring_owns_nothing() -> None:
    assert HashRing((), ()).owner(b"key") is None
    assert list(HashRing((), ()).walk(b"key")) == []


def test_the_hash_is_the_same_in_every_process_and_release() -> None:
    assert hash_key(b"edgewise") == 0xF3BEF1FC43DB0953
