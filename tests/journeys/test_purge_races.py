"""Purges that fills under way could overtake: many at once, on two real workers. tools/purge_race.py does 10,000."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.purge_race import race


@pytest.mark.timeout(180)
@pytest.mark.parametrize("disk", [False, True])
def test_no_worker_answers_with_what_a_fill_brings_that_began_before_a_purge(tmp_path: Path, disk: bool) -> None:
    outcome = asyncio.run(race(tmp_path, tries=150, at_once=16, disk=disk))
    assert (outcome.tries, outcome.answers, outcome.stale) == (150, 900, 0)
