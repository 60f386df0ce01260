"""A real supervisor with a small engine in its workers, for tests of processes alone: `python supervised.py FILE`.

Each connection is answered with one line, "GENERATION SLOT PID", and closed; a line "die" kills the worker, "hold" is
answered only after the next line. The router fails to build a table when the first route is named "broken".
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgewise.config import load
from edgewise.server import messages as m
from edgewise.server.channel import Channel
from edgewise.server.child import ChildLink
from edgewise.server.children import Crew
from edgewise.server.control import ControlSetup
from edgewise.server.instance import Instance
from edgewise.server.listeners import Listener
from edgewise.server.supervisor import Supervisor
from edgewise.server.worker import WorkerSetup, serve


class LineEngine:
    """Answers lines."""

    def __init__(self, loop: asyncio.AbstractEventLoop, slot: int) -> None:
        self.loop = loop
        self.slot = slot
        self.table: Any = None
        self.sockets: set[socket.socket] = set()
        self.exchanges: set[asyncio.Task[None]] = set()

    def load(self, table: Any) -> None:
        self.table = table

    def listen(self, sock: socket.socket, kind: Listener) -> None:
        self.sockets.add(sock)
        self.loop.add_reader(sock, self._accept, sock)

    def unlisten(self, sock: socket.socket) -> None:
        self._accept(sock)
        self.loop.remove_reader(sock)
        self.sockets.discard(sock)
        sock.close()

    def _accept(self, sock: socket.socket) -> None:
        while True:
            try:
                client, _ = sock.accept()
            except BlockingIOError:
                return
            client.setblocking(False)
            task = self.loop.create_task(self._exchange(client))
            self.exchanges.add(task)
            task.add_done_callback(self.exchanges.discard)

    async def _exchange(self, client: socket.socket) -> None:
        line = await self.loop.sock_recv(client, 100)
        if line == b"die\n":
            os.kill(os.getpid(), signal.SIGKILL)
        if line == b"hold\n":
            await self.loop.sock_sendall(client, b"held\n")
            await self.loop.sock_recv(client, 100)
        await self.loop.sock_sendall(client, f"{self.table.generation} {self.slot} {os.getpid()}\n".encode())
        client.close()

    def drain(self, deadline_seconds: float) -> asyncio.Future[None]:
        for sock in [*self.sockets]:
            self.unlisten(sock)
        return asyncio.ensure_future(self._finish(deadline_seconds), loop=self.loop)

    async def _finish(self, seconds: float) -> None:
        if self.exchanges:
            await asyncio.wait(self.exchanges, timeout=seconds)

    def tick(self, now: float) -> None:
        pass

    def figures(self) -> tuple[int, int, int, int, int, int]:
        return (len(self.exchanges), 0, 0, 0, 0, 0)


def build(config: Any, previous: Any, shared: Any, slot: int) -> Any:
    """Stand in for the router."""
    if config.routes and config.routes[0].name == "broken":
        raise ValueError("the first route is broken")
    return SimpleNamespace(generation=shared.generation, routes=(), upstreams={}, unmatched=SimpleNamespace(), tcp={})


def run_worker(channel: Channel[m.ToChild], setup: WorkerSetup) -> int:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return serve(loop, channel, setup, LineEngine(loop, setup.slot), build)


def run_control(channel: Channel[m.ToChild], setup: ControlSetup) -> int:
    """Follow the supervisor's messages and nothing else."""
    loop = asyncio.new_event_loop()

    def heard(message: m.ToChild, descriptors: list[int]) -> None:
        if isinstance(message, m.Prepare):
            link.send(m.Prepared(message.generation))
        elif isinstance(message, m.Commit):
            link.send(m.Committed(message.generation))
        elif isinstance(message, m.Drain):
            loop.stop()

    link = ChildLink(loop, channel, heard, loop.stop)
    link.start()
    link.send(m.Ready())
    loop.run_forever()
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    file = Path(sys.argv[1])
    supervisor = Supervisor(
        Instance(lambda: load(file), str(file)), Crew(run_worker, run_control), lambda line: print(line, flush=True)
    )
    supervisor.run()
