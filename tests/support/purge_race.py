"""Fills that begin before a purge and end after it, on an edgewise with two workers: does what they fetched come back?

A try has a path of its own. Every worker is asked for it, so that each has a fetch under way for which the origin has
read the old value: it has sent nothing yet, or (every second try) the head and half of the content. Then the value
changes, and a purge goes to the admin address: by tag, by URL, softly by tag, softly by URL, in turn. Once it is
acknowledged every worker is asked while the old fetches still go on, then these end, and every worker is asked twice
more. Each of these answers has to be the new value; any other is stale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.edgewise_process import EdgewiseProcess, free_port
from support.worker_clients import Client, clients_of_workers, purge

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 2
[access_log]
path = "off"
[upstreams.origin]
servers = ["127.0.0.1:ORIGIN"]
[[routes]]
upstream = "origin"
cache = {}
"""
DISK = """
[cache]
disk = "1GB"
directory = "cache"
"""
OLD, NEW = b"old value.", b"new value."
PATIENCE = 60.0
"""Seconds for any step of a try."""


@dataclass
class Value:
    """What the origin has under one path, and the fetches that read the old one."""

    now: bytes = OLD
    reads: int = 0
    halfway: bool = False
    read: asyncio.Event = field(default_factory=asyncio.Event)
    """Every worker's fetch has read it."""
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """The old fetches end."""


class Origin:
    """Answers what is old slowly, what is new at once."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self.values: dict[str, Value] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                await self._answer(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        path = request.split(b" ", 2)[1].decode()
        value = self.values.get(path)
        content = NEW if value is None else value.now
        tag = b'ETag: "%b"\r\n' % content[:3]
        fields = b"Cache-Control: max-age=600\r\nSurrogate-Key: all of%b\r\n%b" % (path.replace("/", "-").encode(), tag)
        if b'if-none-match: "%b"' % content[:3] in request.lower():
            writer.write(b"HTTP/1.1 304 Not Modified\r\n%b\r\n" % fields)
            return
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (len(content), fields)
        sent = 0
        if value is not None and content == OLD:
            if value.halfway:
                sent = len(head) + len(content) // 2
                writer.write((head + content)[:sent])
            value.reads += 1
            if value.reads == self._workers:
                value.read.set()
            await value.released.wait()
        writer.write((head + content)[sent:])


@dataclass
class Outcome:
    """What came of the tries."""

    tries: int = 0
    answers: int = 0
    """That had to be new."""
    stale: int = 0
    purges: list[float] = field(default_factory=list)
    """Seconds until each was acknowledged."""


class Race:
    """Tries, each with a client of every worker to itself; as many at once as there are clients."""

    def __init__(self, edgewise: EdgewiseProcess, origin: Origin) -> None:
        self._edgewise = edgewise
        self._origin = origin
        self.outcome = Outcome()

    async def run(self, tries: int, at_once: int) -> None:
        """Do so many tries, so many of them at once."""
        numbers = iter(range(tries))
        async with clients_of_workers(self._edgewise, 2 * at_once) as workers, asyncio.TaskGroup() as group:
            for place in range(at_once):
                slow, quick = ([clients[2 * place + kind] for clients in workers.values()] for kind in (0, 1))
                group.create_task(self._tries(numbers, slow, quick))

    async def _tries(self, numbers: Iterator[int], slow: list[Client], quick: list[Client]) -> None:
        for number in numbers:
            async with asyncio.timeout(PATIENCE):
                await self._try(number, slow, quick)

    async def _try(self, number: int, slow: list[Client], quick: list[Client]) -> None:
        path = f"/{number}"
        value = self._origin.values[path] = Value(halfway=number % 2 == 1)
        fills = [asyncio.ensure_future(client.ask(path)) for client in slow]
        await value.read.wait()
        value.now = NEW
        by = {"tags": [f"of-{number}"]} if number // 2 % 2 else {"urls": [f"example.com{path}"]}
        self.outcome.purges.append(await purge(self._edgewise, **by, soft=number // 4 % 2 == 1))
        answers = await asyncio.gather(*(client.ask(path) for client in quick))
        value.released.set()
        if set(await asyncio.gather(*fills)) != {OLD}:
            raise AssertionError(f"the fetches of try {number} had not read the old value")
        for _ in range(2):
            answers += await asyncio.gather(*(client.ask(path) for client in quick))
        del self._origin.values[path]
        self.outcome.tries += 1
        self.outcome.answers += len(answers)
        self.outcome.stale += sum(answer != NEW for answer in answers)


async def race(directory: Path, tries: int, at_once: int, *, disk: bool = False) -> Outcome:
    """Start an origin and an edgewise, with `disk` one whose workers share a disk, and do so many tries."""
    origin, port = Origin(workers=2), free_port()
    toml = TOML + DISK if disk else TOML
    async with await asyncio.start_server(origin.serve, "127.0.0.1", port):
        edgewise = await asyncio.to_thread(EdgewiseProcess, toml.replace("ORIGIN", str(port)), directory)
        try:
            running = Race(edgewise, origin)
            await running.run(tries, at_once)
            return running.outcome
        finally:
            await asyncio.to_thread(edgewise.stop)
