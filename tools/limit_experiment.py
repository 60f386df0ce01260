"""How exactly a rate limit holds: requests at a fixed pace, some times the limit, and the rate that gets through.

    python tools/limit_experiment.py [--only one,two,nodes] [--rate 1000] [--offered 5000] [--seconds 10]

one: one worker. two: two workers of one node. nodes: two nodes of one worker each, which share a NATS server, with 70%
of the load at the first; they are waited for until they share their counts. Each run is warmed up for four seconds, in
which the first burst is over; then what is admitted is counted over `--seconds`. Exit status 1 where a run is more than
2% off the limit.

A machine that cannot offer the load is told apart: how many were answered is printed with each run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.edgewise_process import EdgewiseProcess, wait_until
from support.state_servers import NatsServer

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = WORKERS
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
STATE
[access_log]
path = "off"
[[routes]]
path = "/limited"
respond = { body = "" }
rate_limit = { rate = "RATE/s", by = "all", ALGORITHM }
"""
HEAD = b"GET /limited HTTP/1.1\r\nHost: a\r\n\r\n"
WARM_UP = 4.0
CLIENTS = 16
"""Connections to each node: enough for the kernel to spread them over its workers."""
SPREAD = (0.7, 0.3)


@dataclass
class Tally:
    """What was counted since the warm-up."""

    answered: int = 0
    admitted: int = 0
    counting: bool = False
    began: float = 0.0
    ended: float = 0.0


class Client(asyncio.Protocol):
    """One connection, which has several requests under way and counts the statuses of the answers."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count status lines; no content here contains one."""
        whole = self._rest + data
        self._rest = whole[-11:]  # one less than what is looked for: nothing is counted twice
        if self._tally.counting:
            passed = whole.count(b"HTTP/1.1 200")
            self._tally.admitted += passed
            self._tally.answered += passed + whole.count(b"HTTP/1.1 429")

    def ask(self, times: int) -> None:
        """Send requests."""
        assert self._transport is not None
        self._transport.write(HEAD * times)

    def close(self) -> None:
        """End."""
        if self._transport is not None:
            self._transport.close()


async def offer(ports: list[int], offered: float, seconds: float) -> Tally:
    """Offer requests evenly in time to the nodes, as SPREAD says where there are two."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    shares = SPREAD if len(ports) == 2 else (1.0,)
    nodes = []
    for port in ports:
        made = [await loop.create_connection(lambda: Client(tally), "127.0.0.1", port) for _ in range(CLIENTS)]
        nodes.append([protocol for _, protocol in made])
    began = time.monotonic()
    sent = [0] * len(ports)
    while (now := time.monotonic()) < began + WARM_UP + seconds:
        if not tally.counting and now >= began + WARM_UP:
            tally.counting, tally.began = True, now
        for number, share in enumerate(shares):
            due = int((now - began) * offered * share) - sent[number]
            for _ in range(due):
                nodes[number][sent[number] % CLIENTS].ask(1)
                sent[number] += 1
        await asyncio.sleep(0.002)
    tally.counting, tally.ended = False, time.monotonic()
    for clients in nodes:
        for client in clients:
            client.close()
    return tally


@contextlib.contextmanager
def nodes(count: int, workers: int, rate: int, algorithm: str) -> Iterator[list[EdgewiseProcess]]:
    """Start nodes; several share a NATS server."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgewise-limit-")))
        state = ""
        if count > 1:
            (directory / "nats").mkdir()
            nats = NatsServer(directory / "nats")
            stack.callback(nats.kill)
            nats.start()
            state = f'[state]\nurl = "{nats.url}"'
        toml = TOML.replace("WORKERS", str(workers)).replace("RATE", str(rate)).replace("STATE", state)
        toml = toml.replace("ALGORITHM", f'algorithm = "{algorithm}"')
        started = []
        for number in range(count):
            (directory / f"node{number}").mkdir()
            node = EdgewiseProcess(toml, directory / f"node{number}")
            stack.callback(node.stop)
            started.append(node)
        if count > 1:
            wait_until(lambda: all("counted together" in node.log for node in started), "the nodes share their counts")
        yield started


def run(name: str, count: int, workers: int, options: argparse.Namespace) -> bool:
    """Run one setting; return whether the limit held."""
    with nodes(count, workers, options.rate, options.algorithm) as started:
        ports = [node.port for node in started]
        tally = asyncio.run(offer(ports, options.offered, options.seconds))
    took = tally.ended - tally.began
    admitted = tally.admitted / took
    off = admitted / options.rate - 1
    held = abs(off) <= 0.02
    print(
        f"{name:6} {count} x {workers}: answered {tally.answered / took:.0f}/s, admitted {admitted:.1f}/s "
        f"over {took:.1f} s, {off:+.2%} of {options.rate}/s{'' if held else '  MISSED'}"
    )
    return held


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="one,two,nodes")
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--offered", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--algorithm", default="token_bucket", choices=["token_bucket", "sliding_window"])
    options = parser.parse_args()
    settings = {"one": (1, 1), "two": (1, 2), "nodes": (2, 1)}
    held = [run(name, *settings[name], options) for name in options.only.split(",")]
    return 0 if all(held) else 1


if __name__ == "__main__":
    raise SystemExit(main())
