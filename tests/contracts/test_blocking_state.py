"""State from threads and from forked processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgewise.contracts.state import StateError
from edgewise.state.blocking import BlockingState
from edgewise.state.opening import VARIABLE
from support.state_servers import SqliteServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SqliteServer]:
    server = SqliteServer(tmp_path)
    server.start()
    yield server
    server.kill()


def test_threads_share_one_engine(server: SqliteServer) -> None:
    state = BlockingState(server.url)
    with ThreadPoolExecutor(8) as threads:
        values = list(threads.map(lambda _: state.add("n").value, range(200)))
    assert sorted(values) == list(range(1, 201))
    assert state.count("n") == 200
    state.close()


def test_every_call_has_its_result(server: SqliteServer) -> None:
    state = BlockingState(server.url)
    revision = state.set("k", b"1", 60.0)
    assert state.compare_and_set("k", b"2", revision + 1) is None
    assert state.compare_and_set("k", b"2", revision) is not None
    entry = state.get("k")
    assert entry is not None
    assert entry.value == b"2"
    assert state.touch("k", 60.0)
    assert [each.key for each in state.entries("k")] == ["k"]
    assert state.delete("k")
    assert state.publish("t", b"m") == state.last("t") == 1
    assert [each.payload for each in state.messages("t", 0)] == [b"m"]
    lease = state.acquire("l", "me", 5.0)
    assert lease is not None
    assert state.acquire("l", "me", 5.0) is None
    assert state.renew(lease, 5.0) is not None
    state.release(lease)
    state.put_blob("b", b"data")
    assert state.get_blob("b") == b"data"
    assert state.delete_blob("b")
    assert state.status().engine == "sqlite"
    with pytest.raises(ValueError, match="not a key"):
        state.get("")
    state.close()
    state.close()
    assert state.get("k") is None, "a closed one begins anew"
    state.close()


def test_a_forked_process_begins_anew(server: SqliteServer) -> None:
    state = BlockingState(server.url)
    state.set("parent", b"")
    pid = os.fork()
    if pid == 0:
        try:
            found = state.get("parent") is not None
            state.set("child", b"")
            os._exit(0 if found else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert state.get("child") is not None
    state.close()


def test_an_app_finds_the_state_of_the_edgewise_that_runs_it(
    server: SqliteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, server.url)
    state = BlockingState()
    state.set("k", b"")
    state.close()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(StateError, match=r"\[state\] table"):
        BlockingState()
