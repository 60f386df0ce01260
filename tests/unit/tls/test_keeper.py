"""The keeper over a clock that moves when told: what is due, what fails, what is never touched."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgewise.tls.acme.messages import AcmeError
from edgewise.tls.development import DevelopmentAuthority
from edgewise.tls.keeper import Keeper
from edgewise.tls.managed import Managed
from edgewise.tls.store import Store
from support.fake_issuer import FakeIssuer
from support.manual_clock import ManualClock

AUTHORITY = DevelopmentAuthority()
DAY = 86400.0
START = datetime(2027, 1, 1, tzinfo=UTC)


class Bench:
    """A keeper with its store, its issuer and its clock."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock(START.timestamp())
        self.store = Store(str(directory))
        self.issuer = FakeIssuer(self.clock)
        self.changes = 0
        self.stuck: Exception | None = None
        self.start()

    def start(self, *names: str) -> None:
        """Begin anew, as after a restart."""
        self.keeper = Keeper(self._changed, self.clock)
        self.follow(*(names or ("shop.test",)))

    def follow(self, *names: str) -> None:
        managed = [Managed(name, (name,), str(self.store.certificate_file(name)), "") for name in names]
        self.keeper.follow(managed, self.issuer, self.store)

    async def _changed(self) -> None:
        self.changes += 1
        if self.stuck is not None:
            raise self.stuck

    def step(self) -> float:
        """Do what is due; return the seconds until something is."""
        return run(self.keeper.step())

    def pass_days(self, days: float) -> None:
        self.clock.advance(days * DAY)

    def stored(self, name: str = "shop.test") -> bytes | None:
        return self.store.certificate(name)


def run(awaitable: Coroutine[Any, Any, float]) -> float:
    return asyncio.run(awaitable)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "state")


def test_what_is_missing_is_ordered_at_once_and_the_workers_are_told(bench: Bench) -> None:
    bench.follow("a.test", "b.test")
    bench.step()
    assert bench.issuer.issued == [(("a.test",), False), (("b.test",), False)]
    assert bench.changes == 2
    assert [kept.failures for kept in bench.keeper.kept()] == [0, 0]


def test_a_good_certificate_is_left_alone_also_after_a_restart(bench: Bench) -> None:
    bench.step()
    bench.pass_days(59)
    bench.step()
    bench.start()
    bench.step()
    assert len(bench.issuer.issued) == 1


def test_a_certificate_is_renewed_with_a_third_of_its_life_left(bench: Bench) -> None:
    bench.step()
    (kept,) = bench.keeper.kept()
    assert kept.not_after is not None
    assert kept.next_attempt is not None
    assert 27 * DAY <= kept.not_after - kept.next_attempt <= 30 * DAY
    bench.clock.now = kept.next_attempt + 1
    bench.step()
    assert bench.issuer.issued[1:] == [(("shop.test",), True)]


def test_the_keeper_sleeps_until_something_is_due_but_looks_at_the_clock_each_hour(bench: Bench) -> None:
    assert bench.step() == 3600.0
    due = bench.keeper.kept()[0].next_attempt
    assert due is not None
    bench.clock.now = due - 10
    assert bench.step() == pytest.approx(10.0)


def test_a_failed_renewal_leaves_the_certificate_and_is_tried_again_later(bench: Bench) -> None:
    bench.step()
    before = bench.stored()
    bench.pass_days(63)
    for count, wait in ((1, 60.0), (2, 180.0), (3, 540.0)):
        bench.issuer.failures = [AcmeError("the authority is down")]
        slept = bench.step()
        assert wait <= slept <= wait * 1.1
        (kept,) = bench.keeper.kept()
        assert (kept.failures, kept.error) == (count, "the authority is down")
        assert bench.step() > 0
        bench.clock.advance(slept + 0.001)
    assert bench.stored() == before
    bench.step()
    assert bench.stored() != before
    assert (bench.keeper.kept()[0].failures, bench.keeper.kept()[0].error) == (0, "")


def test_a_certificate_that_has_ended_is_kept_until_there_is_another(bench: Bench) -> None:
    bench.step()
    before = bench.stored()
    bench.pass_days(100)
    bench.issuer.failures = [AcmeError("no")]
    bench.step()
    assert bench.stored() == before


def test_the_wait_that_the_authority_asks_for_holds_over_a_restart(bench: Bench) -> None:
    bench.issuer.failures = [AcmeError("rateLimited", "rateLimited", 7200.0)]
    bench.step()
    bench.start()
    bench.clock.advance(7100.0)
    bench.step()
    assert bench.issuer.issued == []
    assert bench.keeper.kept()[0].error == "rateLimited"
    bench.clock.advance(101.0)
    bench.step()
    assert len(bench.issuer.issued) == 1


def test_the_operator_need_not_wait_and_may_have_the_old_one_revoked(bench: Bench) -> None:
    bench.step()
    old = bench.stored()
    bench.keeper.renew("shop.test", revoke=True)
    bench.step()
    assert len(bench.issuer.issued) == 2
    assert bench.issuer.revoked == [old]
    bench.step()
    assert len(bench.issuer.issued) == 2
    with pytest.raises(KeyError):
        bench.keeper.renew("other.test")


def test_nothing_is_revoked_where_there_is_no_new_certificate(bench: Bench) -> None:
    bench.step()
    bench.issuer.failures = [AcmeError("no")]
    bench.keeper.renew("shop.test", revoke=True)
    bench.step()
    assert bench.issuer.revoked == []


def test_one_name_that_fails_does_not_hold_up_the_others(bench: Bench) -> None:
    bench.follow("bad.test", "good.test")
    bench.issuer.failures = [OSError(28, "No space left on device")]
    bench.step()
    states = {kept.name: kept.failures for kept in bench.keeper.kept()}
    assert states == {"bad.test": 1, "good.test": 0}


def test_a_worker_that_does_not_answer_costs_no_second_order(bench: Bench) -> None:
    bench.stuck = TimeoutError()
    bench.step()
    bench.step()
    assert len(bench.issuer.issued) == 1
    assert bench.keeper.kept()[0].failures == 0


def test_another_authority_or_kind_of_key_means_another_certificate(bench: Bench) -> None:
    bench.step()
    bench.issuer = FakeIssuer(bench.clock, "https://other.test/")
    bench.start()
    bench.step()
    assert bench.issuer.issued == [(("shop.test",), False)]
    bench.issuer.key_type = "rsa2048"
    bench.step()
    assert len(bench.issuer.issued) == 2


def test_a_damaged_file_counts_as_no_certificate(bench: Bench) -> None:
    bench.step()
    bench.store.keep_certificate("shop.test", b"junk")
    bench.start()
    assert bench.keeper.kept()[0].not_after is None
    bench.step()
    assert len(bench.issuer.issued) == 2


def test_a_crash_between_the_two_files_of_a_certificate_costs_one_more_order_and_nothing_else(bench: Bench) -> None:
    bench.step()
    next(bench.store.directory.glob("certificates/*.json")).unlink()
    bench.start()
    bench.step()
    assert len(bench.issuer.issued) == 2
    bench.step()
    assert len(bench.issuer.issued) == 2


def test_a_revoked_certificate_is_renewed_when_the_authority_moves_its_window(bench: Bench) -> None:
    now = bench.clock.now
    bench.issuer.windows = [(now + 60 * DAY, now + 61 * DAY, now + 6 * 3600.0)]
    assert bench.step() == 3600.0
    assert now + 60 * DAY <= (bench.keeper.kept()[0].next_attempt or 0) <= now + 61 * DAY
    bench.clock.advance(6 * 3600.0 + 1)
    bench.issuer.windows = [(now - 2 * DAY, now - DAY, now + DAY)]
    bench.step()
    bench.step()
    assert len(bench.issuer.issued) == 2


def test_a_window_that_always_lies_in_the_past_makes_no_loop(bench: Bench) -> None:
    now = bench.clock.now
    bench.issuer.windows = [(now - 2 * DAY, now - DAY, now + DAY)] * 9
    for _ in range(5):
        bench.step()
    assert len(bench.issuer.issued) == 1


def test_changed_settings_are_tried_at_once_and_so_is_another_authority_after_a_restart(bench: Bench) -> None:
    bench.issuer.failures = [AcmeError("wrong key", retry_after=7200.0)] * 2
    bench.step()
    bench.follow("shop.test")
    bench.step()
    assert bench.keeper.kept()[0].failures == 1
    failures, bench.issuer = bench.issuer.failures, FakeIssuer(bench.clock)
    bench.issuer.failures = failures
    bench.follow("shop.test")
    bench.step()
    assert bench.keeper.kept()[0].failures == 2
    bench.issuer = FakeIssuer(bench.clock, "https://other.test/")
    bench.start()
    bench.step()
    assert bench.keeper.kept()[0].failures == 0


def test_names_that_left_are_forgotten(bench: Bench) -> None:
    bench.step()
    bench.follow("new.test")
    bench.step()
    assert [kept.name for kept in bench.keeper.kept()] == ["new.test"]


def test_an_order_under_way_outlives_a_reload_and_is_not_repeated(bench: Bench) -> None:
    issue = bench.issuer.issue

    async def reloaded_meanwhile(names: tuple[str, ...], previous: bytes | None) -> bytes:
        bench.follow("shop.test", "new.test")
        return await issue(names, previous)

    bench.issuer.issue = reloaded_meanwhile  # type: ignore[method-assign]
    bench.step()
    bench.issuer.issue = issue  # type: ignore[method-assign]
    bench.step()
    assert [names for names, _ in bench.issuer.issued] == [("shop.test",), ("new.test",)]


def test_the_keeper_runs_by_itself_and_wakes_when_asked(bench: Bench) -> None:
    async def scenario() -> None:
        bench.keeper.start()
        bench.keeper.start()
        async with asyncio.timeout(10):
            while len(bench.issuer.issued) < 1:
                await asyncio.sleep(0)
            bench.keeper.renew("shop.test")
            while len(bench.issuer.issued) < 2:
                await asyncio.sleep(0)
        await bench.keeper.close()

    asyncio.run(scenario())
    assert bench.issuer.closed


def test_a_certificate_is_due_by_its_own_dates_when_nothing_else_is_known(bench: Bench) -> None:
    starts = START - timedelta(days=89)
    pair = AUTHORITY.issue(["shop.test"], starts=starts, days=90)
    bench.store.keep_certificate("shop.test", pair.key + pair.certificate)
    bench.start()
    bench.step()
    assert len(bench.issuer.issued) == 1
