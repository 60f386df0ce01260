from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgewise.balancer import make_policy
from edgewise.balancer.breaker import BreakerSettings, BreakerState, CircuitBreaker
from edgewise.contracts.endpoint import Upstream
from support.manual_clock import ManualClock

RATE = BreakerSettings(error_rate=0.5, min_requests=10, window=10.0, open_time=5.0)


def _breaker(settings: BreakerSettings = RATE) -> tuple[CircuitBreaker, ManualClock, Upstream]:
    clock = ManualClock()
    upstream = Upstream("test", [], make_policy("round_robin"))
    return CircuitBreaker(upstream, settings, clock=clock), clock, upstream


def _opened() -> tuple[CircuitBreaker, ManualClock]:
    breaker, clock, _ = _breaker()
    for _ in range(10):
        breaker.record(False)
    assert breaker.state is BreakerState.OPEN
    return breaker, clock


def test_a_new_breaker_lets_everything_pass() -> None:
    breaker, _, _ = _breaker()
    assert all(breaker.allow() for _ in range(100))


def test_it_opens_when_the_error_rate_is_reached() -> None:
    breaker, _, _ = _breaker()
    for ok in [True] * 5 + [False] * 4:
        breaker.record(ok)
        assert breaker.allow()
    breaker.record(False)
    assert not breaker.allow()
    assert breaker.refused == 1


def test_few_requests_say_nothing() -> None:
    breaker, _, _ = _breaker()
    for _ in range(9):
        breaker.record(False)
    assert breaker.allow()


def test_what_is_older_than_the_window_is_forgotten() -> None:
    breaker, clock, _ = _breaker()
    for _ in range(30):
        breaker.record(False)
        clock.advance(1.2)
    assert breaker.state is BreakerState.CLOSED


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60))
def test_the_window_never_counts_more_than_its_time_holds(events: list[tuple[float, bool]]) -> None:
    breaker, clock, _ = _breaker()
    recorded: list[tuple[float, bool]] = []
    for pause, ok in events:
        clock.advance(pause)
        recorded.append((clock.now, ok))
        breaker.record(ok)
        recent = [ok for at, ok in recorded if at > clock.now - 10.0]
        if breaker.state is BreakerState.OPEN:
            assert len(recent) >= 10
            return


def test_open_it_refuses_everything_until_its_time_is_over() -> None:
    breaker, clock = _opened()
    clock.advance(4.9)
    assert not breaker.allow()
    clock.advance(0.1)
    assert breaker.allow()
    assert breaker.state is BreakerState.HALF_OPEN


def test_half_open_it_lets_one_request_find_out() -> None:
    breaker, clock = _opened()
    clock.advance(5.0)
    assert [breaker.allow() for _ in range(3)] == [True, False, False]


def test_a_good_answer_closes_it() -> None:
    breaker, clock = _opened()
    clock.advance(5.0)
    breaker.allow()
    breaker.record(True)
    assert breaker.state is BreakerState.CLOSED
    breaker.record(False)
    assert all(breaker.allow() for _ in range(5))


def test_a_bad_answer_opens_it_again() -> None:
    breaker, clock = _opened()
    clock.advance(5.0)
    breaker.allow()
    breaker.record(False)
    assert not breaker.allow()
    clock.advance(5.0)
    assert breaker.allow()


def test_a_request_that_never_ends_does_not_keep_it_half_open() -> None:
    breaker, clock = _opened()
    clock.advance(5.0)
    assert breaker.allow()
    clock.advance(5.0)
    assert breaker.allow()


def test_answers_that_began_before_it_opened_change_nothing() -> None:
    breaker, _ = _opened()
    breaker.record(True)
    assert breaker.state is BreakerState.OPEN


def test_too_many_exchanges_under_way_are_refused_until_some_end() -> None:
    breaker, _, upstream = _breaker(BreakerSettings(max_active=2))
    upstream.active = 1
    assert breaker.allow()
    upstream.active = 2
    assert not breaker.allow()
    upstream.active = 1
    assert breaker.allow()


def test_without_an_error_rate_failures_never_open_it() -> None:
    breaker, _, _ = _breaker(BreakerSettings(max_active=5))
    for _ in range(1000):
        breaker.record(False)
    assert breaker.allow()
