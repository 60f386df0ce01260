"""Three edgewise nodes on loopback that share purges through one NATS server: how long until none has what was purged.

    python tools/purge_show.py [--tries 100]

asked: a purge by tag at one node's admin address, until it is answered: every worker of every node has purged. Each try
then asks all nodes, and none may answer with what it had.
changed: a POST at one node, until the two others, asked without a pause, answer anew.
The exit code is 1 when a node used what was purged.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.edgewise_process import EdgewiseProcess, wait_until
from support.origin import Origin
from support.purging import Numbers, purge
from support.raw_http import RawClient, get, post
from support.state_servers import NatsServer

NODE = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 1
admin = "127.0.0.1:$ADMIN_PORT"
[access_log]
path = "off"
[state]
url = "NATS"
local_copy = "off"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
cache = {}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=100)
    tries = parser.parse_args().tries
    with ExitStack() as stack:
        nodes = started(stack)
        clients = [stack.enter_context(node.client()) for node in nodes]
        purge(nodes[0], tags=["none"])
        asked, wrong = ask(nodes, clients, tries)
        changed = change(clients, tries)
    show("asked", asked)
    show("changed", changed)
    print(f"answers that were purged: {wrong} of {tries * len(nodes)}")
    return bool(wrong)


def started(stack: ExitStack) -> list[EdgewiseProcess]:
    """Start a server and three nodes that hear each other."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (directory / "nats").mkdir()
    nats = NatsServer(directory / "nats")
    nats.start()
    stack.callback(nats.kill)
    origin = Origin(Numbers())
    stack.callback(origin.stop)
    nodes = []
    for number in range(3):
        (directory / str(number)).mkdir()
        node = EdgewiseProcess(
            NODE.replace("NATS", nats.url).replace("ORIGIN", origin.address), directory / str(number)
        )
        stack.callback(node.stop)
        nodes.append(node)
    for node in nodes:
        wait_until(lambda node=node: "purges of other nodes are heard from" in node.log, "they hear", 60)
    wait_until(lambda: purge(nodes[0], tags=["none"]).get("nodes") == len(nodes), "they know each other", 60)
    return nodes


def ask(nodes: list[EdgewiseProcess], clients: list[RawClient], tries: int) -> tuple[list[float], int]:
    """Return the seconds of each purge, and how many answers were of before it."""
    seconds, wrong = [], 0
    for number in range(tries):
        before = [client.ask(get("/a")).body for client in clients]
        began = time.perf_counter()
        answer = purge(nodes[number % len(nodes)], tags=["key-a"])
        seconds.append(time.perf_counter() - began)
        assert answer.get("nodes") == len(nodes), answer
        wrong += sum(client.ask(get("/a")).body == old for client, old in zip(clients, before, strict=True))
    return seconds, wrong


def change(clients: list[RawClient], tries: int) -> list[float]:
    """Return the seconds from a POST's answer until all other nodes answer anew."""
    seconds = []
    for number in range(tries):
        before = {client: client.ask(get("/b")).body for client in clients}
        one = clients[number % len(clients)]
        one.ask(post(b"x", "/b"))
        began = time.perf_counter()
        waiting = [client for client in clients if client is not one]
        while waiting:
            waiting = [client for client in waiting if client.ask(get("/b")).body == before[client]]
        seconds.append(time.perf_counter() - began)
    return seconds


def show(name: str, seconds: list[float]) -> None:
    """Print what was measured, in milliseconds."""
    found = sorted(second * 1000 for second in seconds)
    p99 = statistics.quantiles(found, n=100)[98]
    print(f"{name}: median {statistics.median(found):.1f} ms, p99 {p99:.1f} ms, longest {found[-1]:.1f} ms")


if __name__ == "__main__":
    sys.exit(main())
