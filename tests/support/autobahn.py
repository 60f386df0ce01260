"""The Autobahn WebSocket cases (those of PyPI's kosoku) against an echo server, directly and through edgewise."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("WEBSOCKETS_MAX_FRAGMENTS", "100000")  # cases 9.3.1 and 9.4.1: 64 bytes a frame, 4 MiB a message

from kosoku import FailureError, run_fuzzingclient
from websockets.asyncio.server import ServerConnection, serve

from support.edgewise_process import EdgewiseProcess

_PARALLEL = 4
"""Cases under way at once."""


@dataclass(frozen=True)
class Outcome:
    """What came of one case: how messages were exchanged, how the connection was closed."""

    passed: bool
    messages: str
    closing: str
    reason: str

    @property
    def words(self) -> str:
        """Both verdicts, in Autobahn's words."""
        return f"{self.messages} / {self.closing}"


Outcomes = dict[str, Outcome]
"""By the number of the case."""


async def compare(cases: Sequence[str] | None, excluded: Sequence[str] | None = None) -> tuple[Outcomes, Outcomes]:
    """Run cases directly against the echo server, then through edgewise; None: all."""
    async with serve(_echo, "127.0.0.1", 0, max_size=None, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        direct = await _run(port, cases, excluded)
        with _edgewise_before(port) as proxied_port:
            return direct, await _run(proxied_port, cases, excluded)


def worse(direct: Outcomes, proxied: Outcomes) -> list[str]:
    """Return the cases that pass directly and not through edgewise."""
    return [case for case, outcome in direct.items() if outcome.passed and not proxied[case].passed]


async def _echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


@contextmanager
def _edgewise_before(port: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as directory:
        edgewise = EdgewiseProcess(f'[upstreams.echo]\nservers = ["127.0.0.1:{port}"]\n', Path(directory))
        try:
            yield edgewise.port
        finally:
            edgewise.stop()


async def _run(port: int, cases: Sequence[str] | None, excluded: Sequence[str] | None) -> Outcomes:
    try:
        results = await run_fuzzingclient(f"ws://127.0.0.1:{port}", cases, excluded, _PARALLEL)
    except FailureError as failure:
        results = failure.results
    return {
        result.case_id: Outcome(
            result.passed, result.behavior.value, result.behavior_close.value, f"{result.result} {result.result_close}"
        )
        for result in results
    }
