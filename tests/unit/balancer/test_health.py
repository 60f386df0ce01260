"""Verdicts from results, and checkers that live on over a reload."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from edgewise.balancer.health import HealthChecker, HealthMonitor, Target
from edgewise.balancer.probe import HealthCheck

Verdicts = list[tuple[str, bool, str]]
NOBODY = ("127.0.0.1", 1)
"""An address nobody listens at."""


def _checker(settings: HealthCheck) -> tuple[HealthChecker, Verdicts]:
    verdicts: Verdicts = []
    checker = HealthChecker("shop/a", NOBODY, settings, lambda *verdict: verdicts.append(verdict))
    return checker, verdicts


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def test_the_first_success_is_a_verdict_at_once() -> None:
    checker, verdicts = _checker(HealthCheck(healthy=5))
    checker.record(True, "status 200", 0.01)
    assert verdicts == [("shop/a", True, "status 200")]


def test_failures_are_a_verdict_only_when_there_are_enough_in_a_row() -> None:
    checker, verdicts = _checker(HealthCheck(unhealthy=3))
    for result in ("one", "two"):
        checker.record(False, result, 0.01)
    assert verdicts == []
    checker.record(False, "three", 0.01)
    assert verdicts == [("shop/a", False, "three")]


def test_recovery_takes_as_many_successes_in_a_row_as_configured() -> None:
    checker, verdicts = _checker(HealthCheck(healthy=2, unhealthy=1))
    for ok in (False, True, False, True, True):
        checker.record(ok, "", 0.01)
    assert [healthy for _, healthy, _ in verdicts] == [False, True]


def test_a_verdict_is_told_once() -> None:
    checker, verdicts = _checker(HealthCheck(unhealthy=1))
    for ok in (True, True, True, False, False):
        checker.record(ok, "", 0.01)
    assert [healthy for _, healthy, _ in verdicts] == [True, False]


def test_the_last_result_is_kept_for_the_status_page() -> None:
    checker, _ = _checker(HealthCheck())
    checker.record(True, "status 200", 0.01)
    checker.record(False, "status 500", 0.25)
    status = checker.status
    assert (status.healthy, status.result, status.seconds) == (True, "status 500", 0.25)
    assert (status.checks, status.failures, status.in_a_row) == (2, 1, 1)


def test_a_reload_keeps_the_state_of_equal_targets_and_drops_the_others() -> None:
    async def scenario() -> None:
        monitor = HealthMonitor(lambda *verdict: None)
        same = Target(NOBODY, HealthCheck(path="/healthz"))
        monitor.update({"shop/a": same, "shop/b": same, "shop/c": same})
        before = monitor.status()
        changed = Target(NOBODY, HealthCheck(path="/other"))
        monitor.update({"shop/a": Target(NOBODY, HealthCheck(path="/healthz")), "shop/b": changed})
        after = monitor.status()
        assert list(after) == ["shop/a", "shop/b"]
        assert after["shop/a"] is before["shop/a"]
        assert after["shop/b"] is not before["shop/b"]
        monitor.close()
        assert monitor.status() == {}

    _run(scenario())


def test_expected_statuses_are_numbers_and_ranges() -> None:
    settings = HealthCheck(status=(204, "301-303", "400"))
    assert [status for status in range(100, 600) if settings.expects(status)] == [204, 301, 302, 303, 400]


@pytest.mark.parametrize("status", ["2xx", "200-", "099", "200-600", "", "200 "])
def test_anything_else_is_no_status(status: str) -> None:
    with pytest.raises(ValueError, match="not a status"):
        HealthCheck(status=(status,))


def test_a_check_with_a_path_is_http_and_one_without_is_tcp() -> None:
    assert HealthCheck(path="/").is_http
    assert not HealthCheck().is_http
    assert HealthCheck(type="http").is_http
    with pytest.raises(ValueError, match="http, tcp or grpc"):
        HealthCheck(type="ping")


def test_a_doubt_has_an_endpoint_checked_at_once_and_soon_again_until_it_is_decided() -> None:
    checker, verdicts = _checker(HealthCheck(unhealthy=3, interval=3600.0))

    async def doubt() -> None:
        checker.start()
        checker.doubt()
        async with asyncio.timeout(60):
            while not verdicts:
                await asyncio.sleep(0.01)
        checker.stop()

    _run(doubt())
    assert verdicts[0][:2] == ("shop/a", False)
    assert checker.status.failures == 3


def test_a_doubt_about_an_endpoint_that_is_well_costs_it_one_check() -> None:
    async def doubt() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()[:2]
        verdicts: Verdicts = []
        settings = HealthCheck(interval=3600.0)
        checker = HealthChecker("shop/a", address, settings, lambda *verdict: verdicts.append(verdict))
        checker.start()
        async with asyncio.timeout(60):
            while checker.status.checks < 1:
                await asyncio.sleep(0.01)
            checker.doubt()
            while checker.status.checks < 2:
                await asyncio.sleep(0.01)
        checker.stop()
        server.close()
        assert [verdict[:2] for verdict in verdicts] == [("shop/a", True)]
        assert checker.status.failures == 0

    _run(doubt())


def test_there_is_no_doubt_about_what_is_not_checked() -> None:
    assert not HealthMonitor(lambda *verdict: None).doubt("shop/a")
