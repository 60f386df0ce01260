"""Three edgewise nodes on loopback that share their state through one NATS server, under load and faults.

    python tools/cluster_show.py [--only limit,restart] [--seconds 12]

limit: a limit of 1,000 requests a second, with the load spread 80 to 15 to 5; what the nodes let through together.
restart: plain requests by way of a fourth edgewise while each node is stopped and started in turn, and then NATS is
killed with SIGKILL and started again; the requests that failed. The exit code is 1 when 5% are missed, or one failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.edgewise_process import EdgewiseProcess, free_port
from support.origin import Origin
from support.raw_http import RawClient, get
from support.state_servers import NatsServer

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
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
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
        self._ports = (free_port(), free_port(), free_port())
        directory.mkdir()
        self.start()

    @property
    def port(self) -> int:
        return self._ports[0]

    def start(self) -> None:
        self._process = EdgewiseProcess(self._toml, self._directory, ports=self._ports)

    def stop(self) -> None:
        self._process.stop()


class Cluster:
    """NATS, an origin, three nodes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "nats").mkdir()
        self.nats = NatsServer(directory / "nats")
        self.nats.start()
        self.origin = Origin()
        toml = NODE.replace("NATS", self.nats.url).replace("ORIGIN", self.origin.address).replace("RATE", str(RATE))
        self.nodes = [Node(toml, directory / f"node-{number}") for number in range(len(SHARES))]

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        self.origin.stop()
        self.nats.kill()


@contextmanager
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="edgewise-cluster-") as name:
        one = Cluster(Path(name))
        try:
            yield one
        finally:
            one.stop()


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


def show_restart(one: Cluster, seconds: float) -> bool:
    """Restart every node and NATS while plain requests go on; count those that failed."""
    servers = ", ".join(f'"127.0.0.1:{node.port}"' for node in one.nodes)
    front = Node(FRONT.replace("SERVERS", servers), one.directory / "front")
    over = threading.Event()
    done: list[int] = []
    failed: list[str] = []

    def load() -> None:
        with ExitStack() as stack:
            client = stack.enter_context(RawClient(("127.0.0.1", front.port)))
            while not over.is_set():
                try:
                    status = client.ask(get("/")).status
                except (OSError, AssertionError, EOFError) as error:
                    failed.append(repr(error))
                    client = stack.enter_context(RawClient(("127.0.0.1", front.port)))
                    continue
                done.append(status)
                if status != 200:
                    failed.append(str(status))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number, node in enumerate(one.nodes):
        time.sleep(seconds / 8)
        node.stop()
        time.sleep(seconds / 8)
        node.start()
        print(f"  node {number} restarted; {len(done)} answers so far, {len(failed)} failed")
    time.sleep(seconds / 8)
    one.nats.kill()
    time.sleep(seconds / 4)
    one.nats.start()
    time.sleep(seconds / 8)
    print(f"  NATS killed and started; {len(done)} answers so far, {len(failed)} failed")
    over.set()
    for thread in threads:
        thread.join()
    front.stop()
    print(f"rolling restart: {len(done)} plain requests, {len(failed)} failed {failed[:3] or ''}")
    return not failed


def main() -> int:
    """Run what was asked for and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="limit,restart")
    parser.add_argument("--seconds", type=float, default=12.0)
    arguments = parser.parse_args()
    shows = {"limit": show_limit, "restart": show_restart}
    with cluster() as one:
        missed = [name for name in arguments.only.split(",") if not shows[name](one, arguments.seconds)]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
