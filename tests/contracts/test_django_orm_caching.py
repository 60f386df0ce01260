"""Django's ORM: reads are tagged, commits purge. Each case has a process of its own, as Django is set up once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.state_servers import SqliteServer

PATIENCE = 55.0


def run(case: str, state: SqliteServer, database: str) -> None:
    """Run a case to its end."""
    program = Path(__file__).parents[1] / "support" / "django_orm_cases.py"
    command = [sys.executable, str(program), case, state.url, database]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 0, ended.stderr


def test_reads_by_key_have_the_tag_of_their_row_and_sets_those_of_their_tables(
    state: SqliteServer, database: str
) -> None:
    run("reads", state, database)


def test_writes_purge_what_was_read_of_their_rows_and_nothing_else(state: SqliteServer, database: str) -> None:
    run("writes", state, database)


def test_only_what_was_committed_is_purged_and_only_that_is_kept(state: SqliteServer, database: str) -> None:
    run("transactions", state, database)


def test_answers_have_the_tags_of_what_they_read_and_failed_requests_purge_nothing(
    state: SqliteServer, database: str
) -> None:
    run("requests", state, database)


def test_signals_purge_tags_of_ones_own(state: SqliteServer, database: str) -> None:
    run("signals", state, database)


def test_queries_of_event_loops_are_tagged_and_purge(state: SqliteServer, database: str) -> None:
    run("loops", state, database)


def test_no_read_is_older_than_a_commit_that_returned_before_it(state: SqliteServer, database: str) -> None:
    run("race", state, database)
