"""Sessions read from a process's own memory are those that the engine keeps: with real processes, killed ones too."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.session_process import SessionProcess
from support.state_servers import SqliteServer

PATIENCE = 20.0
Start = Callable[..., SessionProcess]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SqliteServer]:
    server = SqliteServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def start(server: SqliteServer) -> Iterator[Start]:
    started: list[SessionProcess] = []

    def start(**settings: Any) -> SessionProcess:
        started.append(SessionProcess(server.url, **settings))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def copied(process: SessionProcess, cookie: str) -> dict[str, Any]:
    """Read until the process does so from its memory; return that read."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = process.ask("read", cookie=cookie)
        if found["copied"]:
            return found
    raise AssertionError("the session is not read from memory")


def test_a_change_in_one_process_is_in_the_next_read_of_another(start: Start) -> None:
    writer, reader = start(), start()
    cookie = writer.ask("write", data={"n": 0})["cookie"]
    for number in range(1, 30):
        assert copied(reader, cookie)["data"] == {"n": number - 1}
        writer.ask("write", cookie=cookie, data={"n": number})
        assert reader.read(cookie) == {"n": number}


def test_a_session_revoked_logged_out_or_given_a_new_id_opens_nothing_in_the_next_read_of_others(start: Start) -> None:
    one, other, third = start(), start(), start()

    def login() -> str:
        cookie: str = one.ask("login", user="ann", data={"a": 1})["cookie"]
        for process in (one, other, third):
            assert copied(process, cookie)["user"] == "ann"
        return cookie

    cookie = login()
    other.ask("revoke", user="ann")
    assert [process.read(cookie) for process in (one, other, third)] == [{}] * 3
    cookie = login()
    third.ask("logout", cookie=cookie)
    assert [process.read(cookie) for process in (one, other, third)] == [{}] * 3
    cookie = login()
    again = other.ask("login", cookie=cookie, user="ann")["cookie"]
    assert [process.read(cookie) for process in (one, other, third)] == [{}] * 3
    assert one.read(again) == {"a": 1}


def test_a_session_ends_in_memory_when_it_does_in_the_engine(start: Start) -> None:
    process = start(idle=1.0, renew=0.9)
    cookie = process.ask("write", data={"a": 1})["cookie"]
    process.read(cookie)
    time.sleep(1.1)
    assert process.read(cookie) == {}


def test_reads_go_on_while_the_writer_is_dead_and_are_right_after(start: Start, server: SqliteServer) -> None:
    writer, reader = start(), start()
    cookie = writer.ask("write", data={"n": 0})["cookie"]
    copied(reader, cookie)
    server.kill()
    assert reader.read(cookie) == {"n": 0}
    assert copied(reader, cookie)["data"] == {"n": 0}, "nobody can have written: the copy holds"
    server.start()
    writer.ask("write", cookie=cookie, data={"n": 1})
    assert reader.read(cookie) == {"n": 1}


def test_no_read_is_older_than_what_was_acknowledged_before_it_while_the_writer_is_killed_again_and_again(
    start: Start, server: SqliteServer, tmp_path: Path
) -> None:
    counter, readers = start(), [start(), start()]
    cookie = counter.ask("write", data={"n": 0})["cookie"]
    file = tmp_path / "acknowledged"
    file.write_bytes(b"%012d" % 0)
    with ThreadPoolExecutor(3) as threads:
        watches = [
            threads.submit(reader.ask, "watch", cookie=cookie, file=str(file), seconds=3.0) for reader in readers
        ]
        counting = threads.submit(counter.ask, "count", cookie=cookie, file=str(file), seconds=4.0)
        for _ in range(3):
            time.sleep(0.5)
            server.kill()
            server.start()
        found = [watch.result() for watch in watches]
        last = counting.result()["n"]
        assert last > 0
    assert [each["old"] for each in found] == [0, 0]
    assert readers[0].read(cookie)["n"] >= last
    assert all(each["copied"] > 0 for each in found), "nothing was read from memory: the test says nothing"


def test_a_writer_that_stands_still_amid_its_work_lets_nobody_read_what_is_old(
    start: Start, server: SqliteServer, tmp_path: Path
) -> None:
    counter, reader = start(), start()
    cookie = counter.ask("write", data={"n": 0})["cookie"]
    file = tmp_path / "acknowledged"
    file.write_bytes(b"%012d" % 0)
    with ThreadPoolExecutor(2) as threads:
        counting = threads.submit(counter.ask, "count", cookie=cookie, file=str(file), seconds=2.0)
        for _ in range(12):
            time.sleep(0.01)
            server.signal(signal.SIGSTOP)
            found = reader.ask("watch", cookie=cookie, file=str(file), seconds=0.05)
            server.signal(signal.SIGCONT)
            assert found["old"] == 0
        last = counting.result()["n"]
    assert last > 0
    assert reader.read(cookie) == {"n": last}
