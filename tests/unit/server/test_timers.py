from __future__ import annotations

from edgewise.server.timers import Backoff, Timers


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_timers_run_in_the_order_they_are_due() -> None:
    clock, ran = Clock(), []
    timers = Timers(clock)
    timers.after(2.0, lambda: ran.append("second"))
    timers.after(1.0, lambda: ran.append("first"))
    timers.after(9.0, lambda: ran.append("later"))
    clock.now += 3.0
    timers.run_due()
    assert ran == ["first", "second"]
    assert timers.wait() == 6.0


def test_without_timers_there_is_nothing_to_wait_for() -> None:
    assert Timers(Clock()).wait() is None


def test_a_timer_that_is_overdue_is_waited_for_no_longer() -> None:
    clock = Clock()
    timers = Timers(clock)
    timers.after(1.0, lambda: None)
    clock.now += 5.0
    assert timers.wait() == 0.0


def test_a_cancelled_timer_does_not_run() -> None:
    clock, ran = Clock(), []
    timers = Timers(clock)
    number = timers.after(1.0, lambda: ran.append("cancelled"))
    timers.after(1.0, lambda: ran.append("kept"))
    timers.cancel(number)
    timers.cancel(number)
    clock.now += 1.0
    timers.run_due()
    timers.cancel(number)
    assert ran == ["kept"]


def test_a_timer_may_set_another() -> None:
    clock, ran = Clock(), []
    timers = Timers(clock)
    timers.after(1.0, lambda: timers.after(1.0, lambda: ran.append("again")))
    clock.now += 1.0
    timers.run_due()
    assert timers.wait() == 1.0
    clock.now += 1.0
    timers.run_due()
    assert ran == ["again"]


def test_the_first_restart_comes_at_once_and_the_delay_then_doubles_to_its_limit() -> None:
    backoff = Backoff(first=0.1, most=1.0)
    assert [backoff.died(0.5) for _ in range(7)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_process_that_lived_long_starts_over_without_delay() -> None:
    backoff = Backoff(first=0.1, stable=10.0)
    assert [backoff.died(0.5), backoff.died(0.5), backoff.died(11.0), backoff.died(0.5)] == [0.0, 0.1, 0.0, 0.1]


def test_the_delay_stays_finite_however_often_a_process_dies() -> None:
    backoff = Backoff(most=10.0)
    assert [backoff.died(0.0) for _ in range(5000)][-1] == 10.0
