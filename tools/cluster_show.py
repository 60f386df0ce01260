"""Three edgewise nodes on loopback that share their state through one NATS server, under load and faults.

    python tools/cluster_show.py [--only rollout,hints,limit,restart] [--seconds 12]

rollout: configurations published one after another under load; when each node answers by the new one, and has told so;
then one that a node refuses, and a rollback.
hints: one of two servers ends that each node checks every 10 s; requests at one node meet it; when the others know.
limit: a limit of 1,000 requests a second, with the load spread 80 to 15 to 5; what the nodes let through together.
restart: plain requests by way of a fourth edgewise while each node is stopped and started in turn, and then NATS is
killed with SIGKILL and started again; the requests that failed, and what a node ran when it was back.
The exit code is 1 when 5% are missed, a node does not run what it should, or a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edgewise.contracts.sealing import Sealer
from edgewise.state.nodes import nodes
from edgewise.state.versions import PURPOSE, Versions

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.edgewise_process import COMMAND, EdgewiseProcess, free_port
from support.origin import Origin
from support.raw_http import RawClient, get
from support.state_servers import NatsServer

KEY = "not-a-secret-not-a-secret-not-a-secret"
ROLLOUTS = 10
RATE = 1000
SHARES = (0.8, 0.15, 0.05)
OFFERED = 1600
"""Requests a second in all; more than one such machine answers beside its own load would only wait."""
NODE = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 1
admin = "off"
[access_log]
path = "off"
[state]
url = "NATS"
local_copy = "off"
[cluster]
key = "KEY"
"""
COMMON = """
[upstreams.app]
servers = ["ORIGIN"]
health = { path = "/", interval = "1s" }
[[routes]]
upstream = "app"
[upstreams.watched]
servers = ["ORIGIN", "SECOND"]
health = { path = "/", interval = "10s", unhealthy = 3 }
[[routes]]
path = "/watched"
upstream = "watched"
[[routes]]
path = "/version"
respond = { body = "VERSION" }
MORE
[[routes]]
path = "/limited"
respond = { body = "fixed" }
rate_limit = { rate = "RATE/s", burst = 50, by = "route" }
"""
FRONT = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 1
admin = "off"
[access_log]
path = "off"
[upstreams.nodes]
servers = [SERVERS]
health = { path = "/", interval = "200ms" }
retry = { attempts = 3, on = ["connect"] }
[[routes]]
upstream = "nodes"
"""


class Node:
    """One edgewise that can be stopped and started on the same port."""

    def __init__(self, toml: str, directory: Path) -> None:
        self._toml, self._directory = toml, directory
        self._environment = {"STATE_DIRECTORY": str(directory / "state")}
        self._ports = (free_port(), free_port(), free_port())
        directory.mkdir()
        self.start()

    @property
    def port(self) -> int:
        return self._ports[0]

    def start(self) -> None:
        self._process = EdgewiseProcess(self._toml, self._directory, ports=self._ports, env=self._environment)

    @property
    def log(self) -> str:
        return self._process.log

    @property
    def config(self) -> Path:
        return self._process.config

    def answer(self, path: str = "/version") -> str:
        with RawClient(("127.0.0.1", self.port)) as client:
            return client.ask(get(path)).body.decode()

    def stop(self) -> None:
        self._process.stop()


class Cluster:
    """NATS, an origin, three nodes."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        """Start all of it; `stack` stops it, also where only a part started."""
        self.directory = directory
        (directory / "nats").mkdir()
        self.nats = NatsServer(directory / "nats")
        stack.callback(self.nats.kill)
        self.nats.start()
        self.origin, self.second = Origin(), Origin()
        stack.callback(self.origin.stop)
        stack.callback(self.second.stop)
        toml = NODE.replace("NATS", self.nats.url).replace("KEY", KEY)
        self.nodes: list[Node] = []
        for number in range(len(SHARES)):
            self.nodes.append(Node(toml, directory / f"node-{number}"))
            stack.callback(self.nodes[-1].stop)
        asyncio.run(self._all_listed())
        self.publish("base")
        servers = ", ".join(f'"127.0.0.1:{node.port}"' for node in self.nodes)
        self.front = Node(FRONT.replace("SERVERS", servers), directory / "front")
        stack.callback(self.front.stop)

    async def _all_listed(self) -> None:
        engine = await self.nats.make()
        async with asyncio.timeout(30):
            while sum(node.standing is not None for node in await nodes(engine)) < len(self.nodes):
                await asyncio.sleep(0.1)
        await engine.close()

    def source(self, version: str, more: str = "") -> str:
        """Return what is published: routes that say `version`."""
        text = COMMON.replace("ORIGIN", self.origin.address).replace("SECOND", self.second.address)
        text = text.replace("RATE", str(RATE))
        return text.replace("VERSION", version).replace("MORE", more)

    def publish(self, version: str, *words: str, more: str = "") -> subprocess.CompletedProcess[str]:
        """Publish as an operator does."""
        path = self.directory / "publish.toml"
        path.write_text(self.source(version, more))
        return self.command("apply", str(path), *words)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `edgewise cluster` at the first node."""
        arguments = [COMMAND, "cluster", *words, "-c", str(self.nodes[0].config)]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="edgewise-cluster-") as name, ExitStack() as stack:
        yield Cluster(Path(name), stack)


def show_limit(one: Cluster, seconds: float) -> bool:
    """Offer more than the limit, unevenly; compare what was let through after the first seconds with the limit."""
    warm = 3.0
    counts = [0] * len(SHARES)
    offered = [0] * len(SHARES)
    began = time.monotonic()

    def load(number: int) -> None:
        head, pause = get("/limited"), 1 / (OFFERED * SHARES[number])
        with RawClient(("127.0.0.1", one.nodes[number].port)) as client:
            due = began
            while (now := time.monotonic()) < began + warm + seconds:
                if now < due:
                    time.sleep(due - now)
                due += pause
                status = client.ask(head).status
                if now >= began + warm:
                    offered[number] += 1
                    counts[number] += status == 200

    threads = [threading.Thread(target=load, args=(number,)) for number in range(len(SHARES))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    admitted, wanted = sum(counts), min(RATE * seconds, sum(offered))
    off = admitted / wanted - 1
    print(f"limit {RATE}/s on {len(SHARES)} nodes, {seconds:g} s: offered {offered}, let through {counts}")
    print(f"  {admitted} in all, {admitted / seconds:.0f} a second: {off:+.1%}")
    return abs(off) <= 0.05


class Load:
    """Plain requests through the front, eight at a time, while the block runs."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self.done: list[int] = []
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(8)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with ExitStack() as stack:
            client = stack.enter_context(RawClient(("127.0.0.1", self._port)))
            while not self._over.is_set():
                try:
                    status = client.ask(get("/")).status
                except (OSError, AssertionError, EOFError) as error:
                    self.failed.append(repr(error))
                    client = stack.enter_context(RawClient(("127.0.0.1", self._port)))
                    continue
                self.done.append(status)
                if status != 200:
                    self.failed.append(str(status))

    def __str__(self) -> str:
        return f"{len(self.done)} plain requests, {len(self.failed)} failed {self.failed[:3] or ''}"


def show_rollout(one: Cluster, seconds: float) -> bool:
    """Publish under load; then what one node refuses, which the others run; then go back."""
    data = tomllib.loads(one.source("VERSION-NUMBER"))
    text = json.dumps(data)
    with Load(one.front.port) as load:
        time.sleep(seconds / 8)
        times = [
            asyncio.run(roll_out(one, json.loads(text.replace("VERSION-NUMBER", f"roll {number}")), f"roll {number}"))
            for number in range(ROLLOUTS)
        ]
        for name, of in (("published", 0), ("last node answers by it", 1), ("last node has told so", 2)):
            found = sorted(entry[of] for entry in times)
            middle, worst = statistics.median(found), found[-1]
            print(f"  {name}: median {middle * 1000:.0f} ms, longest {worst * 1000:.0f} ms of {ROLLOUTS}")
        sound = refused_and_back(one)
    print(f"roll-out: {load}")
    return sound and not load.failed


async def roll_out(one: Cluster, content: dict[str, Any], says: str) -> tuple[float, float, float]:
    """Publish; return the seconds until that was acknowledged, until every node answers by it, and tells so."""
    engine = await one.nats.make()
    versions = Versions(engine, Sealer(KEY.encode(), PURPOSE))
    began = time.monotonic()
    answering = [asyncio.ensure_future(asyncio.to_thread(await_answer, node, says)) for node in one.nodes]
    version = await versions.publish(content, "cluster_show")
    published = time.monotonic() - began
    while True:
        standings = [node.standing for node in await nodes(engine) if node.standing is not None]
        if sum(standing.applied >= version.number for standing in standings) == len(one.nodes):
            break
        await asyncio.sleep(0.005)
    told = time.monotonic() - began
    await engine.close()
    return published, max(await asyncio.gather(*answering)) - began, told


def await_answer(node: Node, says: str) -> float:
    """Return when a node answers so, in monotonic seconds."""
    with RawClient(("127.0.0.1", node.port)) as client:
        while client.ask(get("/version")).body.decode() != says:
            time.sleep(0.002)
    return time.monotonic()


def refused_and_back(one: Cluster) -> bool:
    """Publish what one node lacks a directory for, then the version before it."""
    for node in one.nodes[:2]:
        (node.config.parent / "public").mkdir()
    more = '[[routes]]\npath = "/public"\nstatic = { root = "public" }\n'
    refused = one.publish("refused by one", more=more)
    print("  " + refused.stdout.replace("\n", "\n  ").rstrip())
    mixed = sorted(node.answer() for node in one.nodes)
    number = int(refused.stdout.partition("version ")[2].split()[0])
    back = one.command("rollback", str(number - 1))
    print("  " + back.stdout.replace("\n", "\n  ").rstrip())
    last = f"roll {ROLLOUTS - 1}"
    agree = [node.answer() for node in one.nodes] == [last] * len(one.nodes)
    return (
        refused.returncode == 1 and mixed == sorted(["refused by one"] * 2 + [last]) and back.returncode == 0 and agree
    )


def show_hints(one: Cluster, seconds: float) -> bool:
    """End a server that requests at the first node meet; wait for the others to find it unhealthy."""
    address = f"watched/{one.second.address}"
    one.second.stop()
    began = time.monotonic()
    with RawClient(("127.0.0.1", one.nodes[0].port)) as client:
        answers = [client.ask(get("/watched")).status for _request in range(50)]
    for node in one.nodes[1:]:
        while f"{address} is unhealthy" not in node.log and time.monotonic() < began + 60:
            time.sleep(0.02)
    took = time.monotonic() - began
    print(f"hints: {answers.count(200)} of 50 requests at one node answered; the other nodes knew after {took:.1f} s")
    return took < 10 and answers.count(200) == 50


def show_restart(one: Cluster, seconds: float) -> bool:
    """Restart every node and NATS while plain requests go on; count those that failed."""
    runs = one.nodes[0].answer()
    same = True
    with Load(one.front.port) as load:
        for number, node in enumerate(one.nodes):
            time.sleep(seconds / 8)
            node.stop()
            time.sleep(seconds / 8)
            node.start()
            same = same and node.answer() == runs
            print(f"  node {number} restarted, runs {node.answer()!r}; {load}")
        time.sleep(seconds / 8)
        one.nats.kill()
        time.sleep(seconds / 8)
        one.nodes[0].stop()
        time.sleep(seconds / 8)
        one.nodes[0].start()
        same = same and one.nodes[0].answer() == runs
        print(f"  NATS killed, node 0 restarted without it, runs {one.nodes[0].answer()!r}; {load}")
        one.nats.start()
        time.sleep(seconds / 8)
        print(f"  NATS started; {load}")
    after = one.publish("after the restarts")
    agree = after.returncode == 0 and {node.answer() for node in one.nodes} == {"after the restarts"}
    print(f"  published afterwards: {'every node runs it' if agree else after.stdout + after.stderr}")
    print(f"rolling restart: {load}")
    return not load.failed and same and agree


def main() -> int:
    """Run what was asked for and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="rollout,hints,limit,restart")
    parser.add_argument("--seconds", type=float, default=12.0)
    arguments = parser.parse_args()
    shows = {"rollout": show_rollout, "hints": show_hints, "limit": show_limit, "restart": show_restart}
    with cluster() as one:
        missed = [name for name in arguments.only.split(",") if not shows[name](one, arguments.seconds)]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
