"""The embedded state of a running edgewise: its writer is a process of the family, and only where it is needed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from edgewise.contracts.state import StateUnavailable
from edgewise.state.sqlite.engine import SqliteEngine
from support.edgewise_process import COMMAND, EdgewiseProcess, wait_until
from support.raw_http import get

HELLO = '[[routes]]\nrespond = { body = "hello" }\n'
WITH_STATE = '[state]\nurl = "sqlite:st"\n' + HELLO
Result = TypeVar("Result")


@pytest.fixture
def serving(edgewise_server: Callable[..., EdgewiseProcess]) -> Callable[..., EdgewiseProcess]:
    def start(toml: str, **options: Any) -> EdgewiseProcess:
        server = edgewise_server(toml, **options)
        wait_until(lambda: "admin on" in server.log, "all processes serve")
        return server

    return start


def children_of(server: EdgewiseProcess) -> dict[int, list[str]]:
    """Return the processes below the supervisor and the names of the files that each has open."""
    found = {}
    pid = server.process.pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        files = []
        for link in Path(f"/proc/{child}/fd").iterdir():
            try:
                files.append(os.readlink(link))
            except OSError:
                continue
        found[int(child)] = files
    return found


def writer_of(server: EdgewiseProcess) -> int:
    """Return the pid of the process that holds the writer's lock, 0 while there is none."""
    return next(
        (pid for pid, files in children_of(server).items() if any(file.endswith("writer.lock") for file in files)), 0
    )


def with_engine(server: EdgewiseProcess, use: Callable[[SqliteEngine], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        engine = SqliteEngine(server.directory / "st", patience=5.0)
        try:
            return await use(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


def test_without_a_state_table_there_is_no_writer(serving: Callable[..., EdgewiseProcess]) -> None:
    server = serving(HELLO)
    assert len(children_of(server)) == 2
    assert writer_of(server) == 0
    assert not list(server.directory.glob("**/writer.lock"))


def test_the_writer_is_replaced_and_nothing_acknowledged_is_lost(serving: Callable[..., EdgewiseProcess]) -> None:
    server = serving(WITH_STATE)
    first = writer_of(server)
    assert first

    async def write_through_a_crash(engine: SqliteEngine) -> float:
        for number in range(500):
            await engine.set(f"k/{number}", b"%d" % number)
        writes = [asyncio.ensure_future(engine.set(f"l/{number}", b"")) for number in range(100)]
        os.kill(first, signal.SIGKILL)
        killed = time.monotonic()
        assert (await engine.get("k/499")) is not None, "reads need no writer"
        await asyncio.gather(*writes)
        await engine.set("after", b"")
        recovered = time.monotonic() - killed
        assert len(await engine.entries("k/")) == 500
        assert len(await engine.entries("l/")) == 100
        return recovered

    recovered = with_engine(server, write_through_a_crash)
    assert recovered < 5.0
    assert writer_of(server) not in (0, first)
    with server.client() as client:
        assert client.ask(get("/")).body == b"hello"


def test_the_state_outlives_the_instance(serving: Callable[..., EdgewiseProcess]) -> None:
    server = serving(WITH_STATE)
    with_engine(server, lambda engine: engine.set("kept", b"1", 600.0))
    server.stop()
    again = serving(f'[state]\nurl = "sqlite:{server.directory / "st"}"\n' + HELLO)
    entry = with_engine(server, lambda engine: engine.get("kept"))
    assert again.alive()
    assert entry is not None
    assert entry.value == b"1"


def test_a_killed_supervisor_leaves_no_writer_in_the_way(serving: Callable[..., EdgewiseProcess]) -> None:
    server = serving(WITH_STATE)
    with_engine(server, lambda engine: engine.set("kept", b"1"))
    server.process.kill()
    server.process.wait()
    again = serving(f'[state]\nurl = "sqlite:{server.directory / "st"}"\n' + HELLO)
    assert again.alive()
    assert with_engine(server, lambda engine: engine.get("kept")) is not None


def test_one_directory_has_one_instance(serving: Callable[..., EdgewiseProcess]) -> None:
    server = serving(WITH_STATE)
    other = server.directory / "other.toml"
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", server.config.read_text())
    other.write_text(text)
    result = subprocess.run([COMMAND, "run", "-c", str(other)], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 1
    assert "another edgewise keeps its state in" in result.stderr


def test_a_reload_goes_through_the_writer_and_says_what_needs_a_restart(
    serving: Callable[..., EdgewiseProcess],
) -> None:
    server = serving(WITH_STATE)
    before = writer_of(server)
    server.write_config('[state]\nurl = "sqlite:elsewhere"\n' + HELLO.replace("hello", "goodbye"))
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "generation 2 runs" in server.log, "the reload is done")
    assert "state stays sqlite:" in server.log
    assert writer_of(server) == before
    with server.client() as client:
        assert client.ask(get("/")).body == b"goodbye"


def test_calls_fail_in_time_when_nobody_writes(tmp_path: Path) -> None:
    async def run() -> None:
        engine = SqliteEngine(tmp_path, patience=0.2)
        with pytest.raises(StateUnavailable, match="there is no state in"):
            await engine.get("k")
        with pytest.raises(StateUnavailable, match="did not answer"):
            await engine.set("k", b"")
        await engine.close()

    asyncio.run(run())
