from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.balancer.ewma import FAILURE_SECONDS, PeakEwma
from edgewise.balancer.options import PolicyOptions
from edgewise.contracts.endpoint import Endpoint
from edgewise.testing.balancing import make_endpoints, make_exchange
from support.manual_clock import ManualClock


def _policy(clock: ManualClock, endpoints: tuple[Endpoint, ...]) -> PeakEwma:
    policy = PeakEwma(PolicyOptions(clock=clock, rand=random.Random(5).random, decay=10.0))
    policy.update(endpoints)
    return policy


def test_the_faster_of_two_is_picked() -> None:
    clock = ManualClock()
    slow, fast = endpoints = make_endpoints(2)
    policy = _policy(clock, endpoints)
    policy.observe(slow, 0.2, True)
    policy.observe(fast, 0.02, True)
    assert {policy.pick(make_exchange()) for _ in range(20)} == {fast}


def test_a_fast_endpoint_with_many_requests_under_way_loses_to_a_slower_idle_one() -> None:
    clock = ManualClock()
    slow, fast = endpoints = make_endpoints(2)
    policy = _policy(clock, endpoints)
    policy.observe(slow, 0.2, True)
    policy.observe(fast, 0.02, True)
    fast.active = 10
    assert {policy.pick(make_exchange()) for _ in range(20)} == {slow}


def test_one_slow_answer_is_felt_at_once_and_forgotten_gradually() -> None:
    clock = ManualClock()
    endpoints = make_endpoints(1)
    policy = _policy(clock, endpoints)
    policy.observe(endpoints[0], 0.1, True)
    policy.observe(endpoints[0], 5.0, True)
    assert endpoints[0].ewma == 5.0
    clock.advance(10.0)
    policy.observe(endpoints[0], 0.1, True)
    assert endpoints[0].ewma == pytest.approx(0.1 + 4.9 / 2.718281828, rel=1e-6)


@given(st.lists(st.tuples(st.floats(0.001, 10), st.floats(0, 60)), min_size=1, max_size=30))
def test_the_average_stays_between_the_fastest_and_the_slowest_answer(answers: list[tuple[float, float]]) -> None:
    clock = ManualClock()
    endpoints = make_endpoints(1)
    policy = _policy(clock, endpoints)
    for seconds, pause in answers:
        clock.advance(pause)
        policy.observe(endpoints[0], seconds, True)
    seen = [seconds for seconds, _ in answers]
    assert min(seen) * 0.999999 <= endpoints[0].ewma <= max(seen)


def test_failing_fast_does_not_look_fast() -> None:
    clock = ManualClock()
    broken, sound = endpoints = make_endpoints(2)
    policy = _policy(clock, endpoints)
    policy.observe(broken, 0.0001, False)
    policy.observe(sound, 0.1, True)
    assert broken.ewma == FAILURE_SECONDS
    assert {policy.pick(make_exchange()) for _ in range(20)} == {sound}


def test_an_endpoint_that_was_slow_is_tried_again_after_a_while() -> None:
    clock = ManualClock()
    slow, fast = endpoints = make_endpoints(2)
    policy = _policy(clock, endpoints)
    policy.observe(slow, 1.0, True)
    clock.advance(60.0)
    policy.observe(fast, 0.1, True)
    assert policy.pick(make_exchange()) is slow


def test_an_unknown_endpoint_gets_one_request_to_begin_with() -> None:
    clock = ManualClock()
    known, unknown = endpoints = make_endpoints(2)
    policy = _policy(clock, endpoints)
    policy.observe(known, 0.5, True)
    assert policy.pick(make_exchange()) is unknown
    unknown.active = 1
    assert policy.pick(make_exchange()) is known
