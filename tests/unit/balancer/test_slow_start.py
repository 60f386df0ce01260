"""An endpoint that came into service begins with a tenth of its weight and ends with all of it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.balancer import make_policy
from edgewise.balancer.options import RAMP_STEPS, PolicyOptions, ramp_step, reduced
from edgewise.balancer.outlier import OutlierDetector
from edgewise.balancer.round_robin import RoundRobin
from edgewise.contracts.endpoint import Endpoint, Upstream
from edgewise.testing.balancing import make_endpoints, make_exchange
from support.manual_clock import ManualClock


@given(st.floats(0.1, 600), st.floats(0, 1200), st.floats(0, 600))
def test_the_ramp_never_falls_and_ends(slow_start: float, elapsed: float, more: float) -> None:
    (endpoint,) = make_endpoints(1)
    endpoint.slow_start_from = 1000.0
    step = ramp_step(endpoint, 1000.0 + elapsed, slow_start)
    assert 1 <= step <= ramp_step(endpoint, 1000.0 + elapsed + more, slow_start) <= RAMP_STEPS
    assert ramp_step(endpoint, 1001.0 + 2 * slow_start, slow_start) == RAMP_STEPS


def test_an_endpoint_outside_slow_start_has_its_weight() -> None:
    (endpoint,) = make_endpoints(1)
    assert ramp_step(endpoint, 5.0, 30.0) == RAMP_STEPS
    endpoint.slow_start_from = 5.0
    assert ramp_step(endpoint, 5.0, 0.0) == RAMP_STEPS


def test_weights_are_reduced_by_their_common_divisor() -> None:
    assert reduced((10, 20, 30)) == (1, 2, 3)


@pytest.mark.parametrize("name", ["round_robin", "least_connections", "random_two", "ewma"])
def test_every_weighted_policy_honours_the_ramp(name: str) -> None:
    clock = ManualClock()
    old, new = endpoints = make_endpoints(2)
    new.slow_start_from = clock.now
    policy = make_policy(name, slow_start=10.0, clock=clock)
    policy.update(endpoints)
    picked = Counter(policy.pick(make_exchange()) for _ in range(1100))
    assert picked[new] < picked[old] / 4


@pytest.mark.parametrize("name", ["ip_hash", "consistent_hash"])
def test_hashing_policies_give_a_starting_endpoint_few_keys(name: str) -> None:
    clock = ManualClock()
    old, new = endpoints = make_endpoints(2)
    new.slow_start_from = clock.now
    policy = make_policy(name, slow_start=10.0, clock=clock)
    policy.update(endpoints)
    picked = Counter(policy.pick(make_exchange(f"10.0.{n >> 8}.{n & 255}")) for n in range(1100))
    assert 0 < picked[new] < picked[old] / 4


def test_the_detectors_tick_carries_the_ramp_to_the_policy() -> None:
    clock = ManualClock()
    endpoints = make_endpoints(2)
    policy = make_policy("round_robin", slow_start=10.0, clock=clock)
    upstream = Upstream("test", list(endpoints), policy)
    detector = OutlierDetector(upstream, slow_start=10.0, clock=clock)
    endpoints[1].slow_start_from = clock.now
    shares = []
    for _ in range(12):
        detector.tick(clock.now)
        shares.append(sum(policy.pick(make_exchange()) is endpoints[1] for _ in range(110)))
        clock.advance(1.0)
    assert shares[0] == 10
    assert shares == sorted(shares)
    assert shares[-1] == 55


def test_unchanged_weights_are_no_change_of_the_upstream() -> None:
    clock = ManualClock()
    endpoints = make_endpoints(2)
    changes: list[object] = []

    class Watched:
        pick = staticmethod(RoundRobin().pick)

        def update(self, endpoints: tuple[Endpoint, ...]) -> None:
            changes.append(endpoints)

    upstream = Upstream("test", list(endpoints), Watched())
    detector = OutlierDetector(upstream, slow_start=10.0, clock=clock)
    changes.clear()
    for _ in range(40):
        detector.tick(clock.advance(0.25))
    assert changes == []
    endpoints[0].slow_start_from = clock.now
    for _ in range(60):
        detector.tick(clock.advance(0.25))
    assert len(changes) == RAMP_STEPS


@pytest.mark.parametrize("away", ["health", "drained", "absent"])
def test_an_endpoint_that_comes_into_service_starts_slowly(away: str) -> None:
    clock = ManualClock()
    old, new = make_endpoints(2)
    policy = make_policy("round_robin", slow_start=10.0, clock=clock)
    upstream = Upstream("test", [old] if away == "absent" else [old, new], policy)
    detector = OutlierDetector(upstream, slow_start=10.0, clock=clock)
    new.health, new.drained = away != "health", away == "drained"
    upstream.changed()
    detector.tick(clock.advance(0.25))
    upstream.endpoints = [old, new]
    new.health, new.drained = True, False
    upstream.changed()
    detector.tick(clock.advance(0.25))
    assert sum(policy.pick(make_exchange()) is new for _ in range(110)) == 10


def test_endpoints_that_were_there_from_the_start_have_their_weight_at_once() -> None:
    clock = ManualClock()
    endpoints = make_endpoints(2)
    policy = make_policy("round_robin", slow_start=10.0, clock=clock)
    OutlierDetector(Upstream("test", list(endpoints), policy), slow_start=10.0, clock=clock).tick(clock.now)
    assert sum(policy.pick(make_exchange()) is endpoints[0] for _ in range(110)) == 55


def test_options_name_the_weights_in_tenths() -> None:
    clock = ManualClock()
    endpoints = make_endpoints(2, weights=(3, 1))
    endpoints[0].slow_start_from = clock.now
    clock.advance(5.0)
    assert PolicyOptions(slow_start=10.0, clock=clock).weights(endpoints) == (18, 10)
