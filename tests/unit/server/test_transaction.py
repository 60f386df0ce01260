from __future__ import annotations

from typing import cast

import pytest

from edgewise.config import build
from edgewise.server.generation import Generation
from edgewise.server.transaction import Transaction, restart_only, with_lasting


class Steps:
    """Records what a transaction decided."""

    def __init__(self, *participants: str) -> None:
        self.taken: list[str] = []
        self.transaction = Transaction(
            cast("Generation", None),
            participants,
            lambda: self.taken.append("commit"),
            lambda problem: self.taken.append(f"abort: {problem}"),
            lambda: self.taken.append("finish"),
        )


@pytest.fixture
def steps() -> Steps:
    return Steps("worker 0", "worker 1")


def test_all_must_be_prepared_before_any_commits(steps: Steps) -> None:
    steps.transaction.prepared("worker 1")
    assert steps.taken == []
    steps.transaction.prepared("worker 0")
    assert steps.taken == ["commit"]


def test_it_is_finished_when_all_have_committed(steps: Steps) -> None:
    for name in ("worker 0", "worker 1"):
        steps.transaction.prepared(name)
    steps.transaction.committed("worker 0")
    assert steps.taken == ["commit"]
    steps.transaction.committed("worker 1")
    assert steps.taken == ["commit", "finish"]


def test_one_failure_aborts_for_all_and_later_answers_change_nothing(steps: Steps) -> None:
    steps.transaction.prepared("worker 0", "no such filter")
    steps.transaction.prepared("worker 1")
    steps.transaction.prepared("worker 1", "another")
    steps.transaction.committed("worker 1")
    assert steps.taken == ["abort: worker 0: no such filter"]


def test_answering_twice_does_not_count_twice(steps: Steps) -> None:
    steps.transaction.prepared("worker 0")
    steps.transaction.prepared("worker 0")
    assert steps.taken == []


def test_a_death_before_the_commit_aborts_since_the_replacement_begins_with_the_old_generation(steps: Steps) -> None:
    steps.transaction.prepared("worker 0")
    steps.transaction.lost("worker 0")
    assert steps.taken == ["abort: worker 0: the process ended"]


def test_a_death_after_the_commit_does_not_hold_up_the_others(steps: Steps) -> None:
    for name in ("worker 0", "worker 1"):
        steps.transaction.prepared(name)
    steps.transaction.lost("worker 0")
    steps.transaction.committed("worker 1")
    assert steps.taken == ["commit", "finish"]


def test_what_is_being_committed_cannot_be_cancelled(steps: Steps) -> None:
    for name in ("worker 0", "worker 1"):
        steps.transaction.prepared(name)
    steps.transaction.cancel("too late")
    assert steps.taken == ["commit"]


def test_keys_that_only_a_restart_applies_are_named() -> None:
    running = build({"server": {"workers": 1}, "routes": [{"respond": {}}]})
    other = build({"server": {"workers": 2, "admin": "off"}, "routes": [{"respond": {}}]})
    third = build({"server": {"workers": 1}, "cache": {"second_hit": True}, "routes": [{"respond": {}}]})
    assert restart_only(running, running) == []
    assert restart_only(running, third) == ["cache.second_hit stays off until edgewise is restarted"]
    assert with_lasting(running, third).cache.second_hit is False
    assert restart_only(running, other) == [
        "server.workers stays 1 until edgewise is restarted",
        "server.admin stays 127.0.0.1:9900 until edgewise is restarted",
    ]
