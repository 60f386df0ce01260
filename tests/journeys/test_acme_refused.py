"""An authority that limits or refuses orders is not pressed, not by restarts either."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from support.edgewise_process import wait_until
from support.fake_authority import FakeAuthority
from support.https_site import NAME, HttpsSite

LIMITED = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates already issued"}
Start = Callable[..., tuple[HttpsSite, FakeAuthority]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Any] = []

    def make(status: int, problem: dict[str, Any], lines: str = "", **headers: str) -> tuple[HttpsSite, FakeAuthority]:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        authority = FakeAuthority(tmp_path / "authority", status, problem, fields)
        acme = f'[tls.acme]\ndirectory = "{authority.url}"\nca_file = "{authority.ca_file}"\n{lines}'
        site = HttpsSite(tmp_path / "edgewise", acme)
        running.extend([site, authority])
        return site, authority

    yield make
    for one in running:
        one.stop()


def seconds_until(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() - time.time()


def test_a_rate_limit_is_waited_for_as_long_as_the_authority_says(start: Start) -> None:
    site, authority = start(429, LIMITED, 'retry = "100ms"', Retry_After="7200")
    state = site.wait_failures(1)
    assert state["last_error"] == "rateLimited: too many certificates already issued"
    assert 7000 < seconds_until(state["next_renewal"]) < 8000
    assert authority.orders == 1


def test_a_restart_does_not_forget_what_is_waited_for_but_the_operator_can(start: Start) -> None:
    site, authority = start(429, LIMITED, Retry_After="7200")
    site.wait_failures(1)
    site.kill()
    site.start()
    assert site.certificates()[NAME]["failures"] == 1
    assert 7000 < seconds_until(site.certificates()[NAME]["next_renewal"]) < 8000
    assert authority.orders == 1
    site.command("renew", NAME)
    site.wait_failures(2)
    assert authority.orders == 2


def test_failures_are_tried_again_at_growing_distances(start: Start) -> None:
    site, authority = start(503, {"detail": "maintenance"}, 'retry = "200ms"')
    state = site.wait_failures(3)
    assert state["last_error"] == "maintenance"
    before = authority.orders
    site.wait_failures(4)
    assert seconds_until(site.certificates()[NAME]["next_renewal"]) > 0.2 * 9
    assert authority.orders > before


def test_the_error_of_the_log_names_host_and_reason(start: Start) -> None:
    site, _ = start(403, {"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "policy"})
    site.wait_failures(1)
    wait_until(lambda: f"{NAME}: no certificate: rejectedIdentifier: policy" in site.edgewise.log, "it is logged")
