"""Passive ejection: who is ejected, for how long, and how many at most."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.balancer import make_policy
from edgewise.balancer.outlier import Ejection, OutlierDetector
from edgewise.balancer.sticky import Sticky
from edgewise.contracts.balancing import Outlier
from edgewise.contracts.endpoint import Endpoint, Upstream
from edgewise.testing.balancing import make_endpoints, make_exchange
from support.manual_clock import ManualClock


class _Setup:
    """An upstream of `count` endpoints under watch."""

    def __init__(
        self, count: int, settings: Ejection | None, slow_start: float = 0.0, policy: str = "round_robin"
    ) -> None:
        self.clock = ManualClock()
        self.endpoints = make_endpoints(count)
        self.policy = make_policy(policy, clock=self.clock, slow_start=slow_start)
        self.upstream = Upstream("test", list(self.endpoints), self.policy)
        self.ejected: list[tuple[Endpoint, str]] = []
        self.detector = OutlierDetector(
            self.upstream,
            settings,
            slow_start=slow_start,
            clock=self.clock,
            on_eject=lambda endpoint, reason: self.ejected.append((endpoint, reason)),
        )

    def attempts(self, endpoint: Endpoint, *, ok: int = 0, failed: int = 0, seconds: float = 0.1) -> None:
        for _ in range(ok):
            self.detector.attempted(endpoint, seconds, True)
        for _ in range(failed):
            self.detector.attempted(endpoint, seconds, False)

    def tick(self, seconds: float) -> None:
        self.detector.tick(self.clock.advance(seconds))

    def picked(self) -> set[Endpoint | None]:
        return {self.policy.pick(make_exchange()) for _ in range(20)}


def test_the_detector_is_an_outlier_observer_of_the_contract() -> None:
    watcher: Outlier = _Setup(2, Ejection()).detector
    watcher.tick(0.0)


def test_errors_in_a_row_eject_at_once() -> None:
    setup = _Setup(3, Ejection(consecutive_errors=3))
    bad = setup.endpoints[0]
    setup.attempts(bad, failed=2)
    assert not bad.ejected
    setup.attempts(bad, failed=1)
    assert bad.ejected
    assert setup.picked() == set(setup.endpoints[1:])
    assert setup.ejected == [(bad, "3 errors in a row")]
    assert setup.detector.reasons == {bad.key: "3 errors in a row"}


def test_a_success_ends_the_row() -> None:
    setup = _Setup(3, Ejection(consecutive_errors=3))
    bad = setup.endpoints[0]
    for _ in range(5):
        setup.attempts(bad, failed=2)
        setup.attempts(bad, ok=1)
    assert not bad.ejected
    assert bad.successes == 5


def test_an_ejection_ends_and_the_next_one_lasts_longer_up_to_the_most() -> None:
    setup = _Setup(2, Ejection(consecutive_errors=1, base_time=10.0, max_time=25.0))
    bad = setup.endpoints[0]
    for length in (10.0, 20.0, 25.0, 25.0):
        setup.attempts(bad, failed=1)
        setup.tick(length - 0.25)
        assert bad.ejected
        setup.tick(0.25)
        assert not bad.ejected
        assert setup.picked() == set(setup.endpoints)
    assert setup.detector.total == 4


def test_good_behaviour_shortens_the_next_ejection_again() -> None:
    setup = _Setup(2, Ejection(consecutive_errors=1, base_time=10.0, interval=10.0))
    bad = setup.endpoints[0]
    setup.attempts(bad, failed=1)
    setup.tick(10.0)
    assert bad.ejections == 1
    setup.attempts(bad, ok=1)
    setup.tick(10.0)
    assert bad.ejections == 0


def test_an_endpoint_that_served_nobody_is_not_forgiven() -> None:
    setup = _Setup(2, Ejection(consecutive_errors=1, base_time=10.0, interval=10.0))
    bad = setup.endpoints[0]
    setup.attempts(bad, failed=1)
    for _ in range(5):
        setup.tick(10.0)
    assert bad.ejections == 1


def test_an_endpoint_returns_with_slow_start() -> None:
    setup = _Setup(2, Ejection(consecutive_errors=1, base_time=10.0), slow_start=10.0)
    bad = setup.endpoints[0]
    setup.attempts(bad, failed=1)
    setup.tick(10.0)
    picks = [setup.policy.pick(make_exchange()) for _ in range(110)]
    assert picks.count(bad) == 10


def test_a_low_success_rate_ejects_when_the_interval_is_over() -> None:
    setup = _Setup(3, Ejection(consecutive_errors=0, success_rate=0.8, interval=10.0, min_requests=10))
    good, bad, quiet = setup.endpoints
    for _ in range(10):
        setup.attempts(good, ok=9, failed=1)
        setup.attempts(bad, ok=7, failed=3)
    setup.attempts(quiet, failed=9)
    setup.tick(9.75)
    assert not setup.ejected
    setup.tick(0.25)
    assert setup.ejected == [(bad, "success rate 0.70 below 0.80")]


def test_each_interval_is_judged_by_itself() -> None:
    setup = _Setup(3, Ejection(consecutive_errors=0, success_rate=0.8, interval=10.0, min_requests=10))
    for _ in range(4):
        setup.attempts(setup.endpoints[0], failed=9)
        setup.tick(10.0)
    assert not setup.ejected


def test_a_slow_endpoint_is_ejected_by_the_median_of_the_others() -> None:
    setup = _Setup(4, Ejection(latency_factor=3.0, interval=10.0, min_requests=5))
    *usual, slow = setup.endpoints
    for endpoint, seconds in zip(usual, (0.1, 0.2, 0.3), strict=True):
        setup.attempts(endpoint, ok=5, seconds=seconds)
    setup.attempts(slow, ok=5, seconds=0.7)
    setup.tick(10.0)
    assert setup.ejected == [(slow, "mean latency 0.700 s above 3 x 0.200 s")]


def test_a_slow_endpoint_among_fast_enough_ones_stays() -> None:
    setup = _Setup(4, Ejection(latency_factor=3.0, interval=10.0, min_requests=5))
    for endpoint, seconds in zip(setup.endpoints, (0.1, 0.2, 0.3, 0.5), strict=True):
        setup.attempts(endpoint, ok=5, seconds=seconds)
    setup.tick(10.0)
    assert not setup.ejected


def test_differences_below_ten_milliseconds_eject_nobody() -> None:
    setup = _Setup(3, Ejection(latency_factor=3.0, interval=10.0, min_requests=5))
    for endpoint, seconds in zip(setup.endpoints, (0.001, 0.001, 0.009), strict=True):
        setup.attempts(endpoint, ok=5, seconds=seconds)
    setup.tick(10.0)
    assert not setup.ejected


@settings(deadline=None)
@given(st.integers(1, 8), st.floats(0, 1), st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=80))
def test_no_more_than_the_share_is_ever_ejected_and_one_stays(
    count: int, max_share: float, events: list[tuple[int, bool]]
) -> None:
    setup = _Setup(count, Ejection(consecutive_errors=1, success_rate=0.9, min_requests=1, max_share=max_share))
    for index, tick in events:
        if tick:
            setup.tick(5.0)
        else:
            setup.attempts(setup.endpoints[index % count], failed=1)
        ejected = sum(endpoint.ejected for endpoint in setup.endpoints)
        assert ejected <= max_share * count
        assert ejected < count
        assert None not in setup.picked()


@settings(deadline=None)
@given(st.lists(st.sampled_from(["sick", "drained", "well"]), min_size=1, max_size=6), st.integers(0, 5))
def test_the_last_available_endpoint_is_never_ejected(states: list[str], index: int) -> None:
    setup = _Setup(len(states), Ejection(consecutive_errors=1, max_share=1.0))
    for endpoint, state in zip(setup.endpoints, states, strict=True):
        endpoint.health, endpoint.drained = state != "sick", state == "drained"
    before = any(endpoint.available for endpoint in setup.endpoints)
    for endpoint in (*setup.endpoints[index:], *setup.endpoints[:index]):
        setup.attempts(endpoint, failed=3)
    assert any(endpoint.available for endpoint in setup.endpoints) is before


def test_a_primary_is_ejected_in_favour_of_a_backup() -> None:
    setup = _Setup(2, Ejection(consecutive_errors=1))
    setup.endpoints[1].backup = True
    setup.upstream.changed()
    assert setup.picked() == {setup.endpoints[0]}
    setup.attempts(setup.endpoints[0], failed=1)
    assert setup.picked() == {setup.endpoints[1]}


def test_without_settings_nothing_is_ejected_but_latencies_are_learnt() -> None:
    setup = _Setup(2, None, policy="ewma")
    setup.attempts(setup.endpoints[0], failed=50, seconds=2.0)
    setup.tick(1000.0)
    assert not setup.ejected
    assert setup.endpoints[0].ewma == 2.0


def test_a_policy_under_a_sticky_cookie_learns_latencies_too() -> None:
    clock = ManualClock()
    endpoints = make_endpoints(1)
    policy = Sticky(make_policy("ewma", clock=clock), b"0123456789abcdef")
    detector = OutlierDetector(Upstream("test", list(endpoints), policy), clock=clock)
    detector.attempted(endpoints[0], 0.25, True)
    assert endpoints[0].ewma == 0.25


@pytest.mark.parametrize("policy", ["round_robin", "least_connections"])
def test_a_policy_that_does_not_observe_is_told_nothing(policy: str) -> None:
    setup = _Setup(1, Ejection(), policy=policy)
    setup.attempts(setup.endpoints[0], ok=1)
    assert setup.endpoints[0].ewma == 0.0


def test_the_word_of_others_counts_as_one_failure_and_never_ejects_by_itself() -> None:
    setup = _Setup(3, Ejection(consecutive_errors=3))
    bad = setup.endpoints[0]
    for _hint in range(10):
        setup.detector.suspect(bad)
    assert not bad.ejected
    setup.attempts(bad, failed=1)
    assert bad.ejected


def test_a_success_of_ones_own_makes_the_word_of_others_void() -> None:
    setup = _Setup(3, Ejection(consecutive_errors=3))
    good = setup.endpoints[0]
    setup.detector.suspect(good)
    setup.attempts(good, ok=1, failed=2)
    assert not good.ejected


def test_where_nothing_is_ejected_the_word_of_others_changes_nothing() -> None:
    for settings_ in (None, Ejection(consecutive_errors=0), Ejection(consecutive_errors=1)):
        setup = _Setup(2, settings_)
        setup.detector.suspect(setup.endpoints[0])
        assert setup.endpoints[0].errors == 0
