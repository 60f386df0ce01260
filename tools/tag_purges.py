"""Purges by tag among a million stored objects, on an edgewise with two workers: how long until no worker finds them.

    python tools/tag_purges.py [--objects 1000000] [--purges 200] [--each]

The objects come through the data plane: each worker asks an origin on loopback for each of its objects (every worker
has a memory of its own; it gets half of the objects, with --each all of them). Each has two tags, its own one of a
hundred and one that all have. Then the hundred are purged one after the other, and after each the workers are asked for
an object that had it, which must not be what was stored before. For more than a hundred purges all is fetched again in
between. All the while another object is asked for, which no purge concerns. At last 10,000 tags that nothing has are
purged, for what that costs in memory. The exit code is 1 when an answer was stale.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.edgewise_process import EdgewiseProcess, free_port, wait_for_port
from support.purging import purge as ask_to_purge
from support.worker_clients import Client, clients_of_workers, purge

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 2
[access_log]
path = "off"
[cache]
memory = "16GB"
[upstreams.origin]
servers = ["127.0.0.1:ORIGIN"]
[[routes]]
upstream = "origin"
cache = {}
"""
TAGS = 100
"""That divide the objects among them."""
END = b"\0"
"""The last byte of each content; there is none in a head."""
AT_ONCE = 16
"""Connections to each worker that fill it."""
BATCH = 50
"""Requests sent in one go on each."""
OTHERS = 10_000
"""Tags of no object, purged at the end."""


class Origin(asyncio.Protocol):
    """Answers with the time at which it answers, in nanoseconds since the machine started, and 180 bytes more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection."""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Answer all requests that are there whole."""
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        self._transport.write(b"".join(map(self._answer, requests)))

    def _answer(self, request: bytes) -> bytes:
        name = request.split(b" ", 2)[1][1:]
        tags = b"Surrogate-Key: all tag-%d\r\n" % (int(name) % TAGS) if name.isdigit() else b""
        content = b"%-200d" % time.monotonic_ns() + END
        fields = b"Content-Type: text/plain\r\nCache-Control: max-age=36000\r\n" + tags
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(content), fields, content)


def serve(port: int) -> None:
    """Be the origin, in a process of its own."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", port)
        await server.serve_forever()

    with suppress(KeyboardInterrupt):
        uvloop.run(run())


async def fill(clients: Sequence[Client], numbers: Sequence[int]) -> None:
    """Have one worker fetch objects."""
    shares = [numbers[place :: len(clients)] for place in range(len(clients))]
    await asyncio.gather(*(_fetch(*pair) for pair in zip(clients, shares, strict=True)))


async def _fetch(client: Client, numbers: Sequence[int]) -> None:
    for first in range(0, len(numbers), BATCH):
        batch = numbers[first : first + BATCH]
        requests = "".join(f"GET /{number} HTTP/1.1\r\nHost: example.com\r\n\r\n" for number in batch)
        answers = await client.exchange(requests.encode(), END, len(batch))
        if answers.count(b"HTTP/1.1 200 OK") != len(batch):
            raise AssertionError("not every object was fetched")


@dataclass
class Hits:
    """Asks for something stored all the time, and notes how long it took."""

    seconds: list[float] = field(default_factory=list)
    ended: bool = False

    async def run(self, client: Client) -> None:
        """Ask some 200 times a second."""
        while not self.ended:
            began = time.perf_counter()
            await client.ask("/popular")
            self.seconds.append(time.perf_counter() - began)
            await asyncio.sleep(0.005)

    def taken(self) -> str:
        """Say how long it took since this was last asked."""
        told, self.seconds = shown(self.seconds), []
        return told


def shown(seconds: Sequence[float]) -> str:
    """Return median, 99th percentile and the longest, in milliseconds."""
    found = sorted(1000 * second for second in seconds)
    middle, high = found[len(found) // 2], found[int(len(found) * 0.99)]
    return f"median {middle:.1f}, p99 {high:.1f}, longest {found[-1]:.1f} ms ({len(found)})"


async def purge_each(
    edgewise: EdgewiseProcess, judges: Sequence[Sequence[Client]], held: Sequence[range], count: int
) -> tuple[list[float], int]:
    """Purge so many tags one after the other; return the seconds of each, and how many answers were stale."""
    seconds, stale = [], 0
    for tag in range(count):
        began = time.monotonic_ns()
        seconds.append(await purge(edgewise, tags=[f"tag-{tag}"]))
        for (client,), numbers in zip(judges, held, strict=True):
            number = random.choice(numbers[(tag - numbers[0]) % TAGS :: TAGS])
            stale += int((await client.ask(f"/{number}")).rstrip(END)) < began
        await asyncio.sleep(0.02)
    return seconds, stale


async def counted(edgewise: EdgewiseProcess, tag: str) -> int:
    """Return how many objects have a tag."""
    answer = await asyncio.to_thread(ask_to_purge, edgewise, tags=[tag], dry_run=True)
    objects: int = answer["objects"]
    return objects


async def measure(edgewise: EdgewiseProcess, objects: int, purges: int, *, each: bool) -> int:
    """Fill, purge and print; return how many answers were stale."""
    hits, all_seconds, stale = Hits(), [], 0
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(clients_of_workers(edgewise, AT_ONCE + 1))
        workers = list(found.values())
        half = objects // 2
        held = [range(objects)] * 2 if each else [range(half), range(half, objects)]
        asking = [asyncio.create_task(hits.run(clients[AT_ONCE])) for clients in workers]
        for first in range(0, purges, TAGS):
            began = time.perf_counter()
            pairs = zip(workers, held, strict=True)
            await asyncio.gather(*(fill(clients[:AT_ONCE], numbers) for clients, numbers in pairs))
            print(f"filled in {time.perf_counter() - began:.0f} s; hits meanwhile: {hits.taken()}", flush=True)
            print(
                f"{await counted(edgewise, 'tag-0')} of {await counted(edgewise, 'all')} objects have the first tag",
                flush=True,
            )
            hits.taken()
            await asyncio.sleep(5)
            print(f"hits in 5 quiet seconds: {hits.taken()}", flush=True)
            async with clients_of_workers(edgewise, 1) as judges:
                seconds, wrong = await purge_each(edgewise, list(judges.values()), held, min(TAGS, purges - first))
            print(f"hits during purges: {hits.taken()}", flush=True)
            all_seconds += seconds
            stale += wrong
        hits.ended = True
        await asyncio.gather(*asking)
    print(f"purges by tag, acknowledged by both workers: {shown(all_seconds)}; stale answers: {stale}")
    before = edgewise.resident()
    for first in range(0, OTHERS, 100):
        await purge(edgewise, tags=[f"other-{number}" for number in range(first, first + 100)])
    grown = edgewise.resident() - before
    print(
        f"memory: {before / 1e6:.0f} MB, {grown / OTHERS / 2:.0f} bytes more in each worker for each of {OTHERS} tags"
    )
    return stale


async def main(arguments: argparse.Namespace) -> int:
    port = free_port()
    origin = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    origin.start()
    wait_for_port(port, origin.is_alive)
    with tempfile.TemporaryDirectory() as name:
        edgewise = EdgewiseProcess(TOML.replace("ORIGIN", str(port)), Path(name))
        try:
            return await measure(edgewise, arguments.objects, arguments.purges, each=arguments.each)
        finally:
            await asyncio.to_thread(edgewise.stop)
            origin.terminate()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--purges", type=int, default=2 * TAGS)
    parser.add_argument("--each", action="store_true", help="every worker stores all the objects")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(bool(uvloop.run(main(parse()))))
