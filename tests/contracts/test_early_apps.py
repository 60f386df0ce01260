"""Apps that start before the writer of the embedded state: their first reads wait for its files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgewise.contracts.state import StateUnavailable
from edgewise.contrib.engines import ThreadState, open_state, run_now
from edgewise.sessions import StateSettings
from support.state_servers import SqliteServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SqliteServer]:
    server = SqliteServer(tmp_path)
    yield server
    server.kill()


def test_an_app_on_an_event_loop_waits(server: SqliteServer) -> None:
    async def run() -> None:
        opening = asyncio.ensure_future(open_state(StateSettings(url=server.url, patience=20.0)))
        await asyncio.sleep(0.1)
        assert not opening.done()
        await asyncio.to_thread(server.start)
        engine = await opening
        assert await engine.get("k") is None
        await engine.close()

    asyncio.run(run())


def test_the_threads_of_an_app_wait(server: SqliteServer) -> None:
    state = ThreadState(StateSettings(url=server.url, patience=20.0))
    with ThreadPoolExecutor(4) as threads:
        reads = [threads.submit(lambda: run_now(state.get("k"))) for _ in range(4)]
        server.start()
        assert [read.result() for read in reads] == [None] * 4
    state.close()


def test_without_a_writer_the_wait_has_an_end(server: SqliteServer) -> None:
    async def run() -> None:
        engine = await open_state(StateSettings(url=server.url, patience=0.1))
        with pytest.raises(StateUnavailable, match="there is no state in"):
            await engine.get("k")
        await engine.close()

    asyncio.run(run())
    state = ThreadState(StateSettings(url=server.url, patience=0.1))
    with pytest.raises(StateUnavailable, match="there is no state in"):
        run_now(state.get("k"))
