"""Workers that are killed while they fill the cache or while purges go on: what the others and the next ones serve."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from journeys.conftest import StartEdgewise, StartOrigin
from support.origin import OriginConnection
from support.worker_clients import clients_of_workers, purge

pytestmark = pytest.mark.timeout(180)

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 2
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
cache = {}
"""
CONTENT = bytes(range(256)) * 400


class Slow:
    """An origin that sends half of each content at once and the rest when it is let."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.let = threading.Event()
        self.content = CONTENT

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            path = connection.read_request().split()[1]
            content = self.content
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nCache-Control: max-age=600\r\n" % len(content)
            connection.send(head + b"Surrogate-Key: all\r\n\r\n" + content[: len(content) // 2])
            if path == b"/slow":
                self.asked.release()
                assert self.let.wait(60)
            connection.send(content[len(content) // 2 :])


def kill(pid: int) -> None:
    """Kill a process that is there."""
    os.kill(pid, signal.SIGKILL)


def test_a_worker_killed_while_it_fills_takes_its_own_clients_with_it_and_no_others(
    edgewise_server: StartEdgewise, origin: StartOrigin
) -> None:
    slow = Slow()
    edgewise = edgewise_server(TOML.replace("ORIGIN", origin(slow).address))

    async def run() -> None:
        async with clients_of_workers(edgewise, 3) as workers:
            (doomed, cut), (_, kept) = workers.items()
            fills = [[asyncio.create_task(client.ask("/slow")) for client in clients] for clients in (cut, kept)]
            for _ in workers:
                assert await asyncio.to_thread(slow.asked.acquire, timeout=30), "each worker has asked once"
            kill(doomed)
            ended = await asyncio.gather(*fills[0], return_exceptions=True)
            assert all(isinstance(found, asyncio.IncompleteReadError | ConnectionError) for found in ended)
            slow.let.set()
            assert set(await asyncio.gather(*fills[1])) == {CONTENT}
        async with clients_of_workers(edgewise, 1) as workers:
            assert doomed not in workers
            for (client,) in workers.values():
                assert await client.ask("/slow") == CONTENT
                assert await client.ask("/slow") == CONTENT

    asyncio.run(run())


def test_purges_are_acknowledged_and_kept_while_workers_are_killed(
    edgewise_server: StartEdgewise, origin: StartOrigin
) -> None:
    slow = Slow()
    edgewise = edgewise_server(TOML.replace("ORIGIN", origin(slow).address))

    async def turn(number: int) -> None:
        async with clients_of_workers(edgewise, 1) as workers:
            slow.content = b"old %d" % number
            await purge(edgewise, tags=["all"])
            clients = dict(workers)
            assert {await client.ask("/page") for (client,) in clients.values()} == {slow.content}
            slow.content = b"new %d" % number
            purging = asyncio.create_task(purge(edgewise, tags=["all"]))
            kill(list(workers)[number % 2])
            await purging
            (survivor,) = clients[list(workers)[1 - number % 2]]
            assert await survivor.ask("/page") == slow.content
        await everybody_has(slow.content)

    async def everybody_has(content: bytes) -> None:
        async with clients_of_workers(edgewise, 1) as workers:
            assert {await client.ask("/page") for (client,) in workers.values()} == {content}

    async def run() -> None:
        for number in range(4):
            await turn(number)

    asyncio.run(run())
