"""Replays attacks on HTTP/2 against edgewise, or against another proxy of `make bench`, and shows what each does.

python tools/http2_attacks.py [--server edgewise|nginx|haproxy|envoy|caddy] [--only WORDS] [--seconds 4]
                              [--from one|many] [--connections 200]

The attacks (tests/support/http2_attacks.py) go to a proxy on its own core of this machine, over loopback, each for a
few seconds: from one address, or each connection from another. Before and during each, a well-behaved client, at its
own address and in a process of its own, asks the same worker over HTTP/1.1 and HTTP/2 in turn; it, the attacker and the
origin share the other core. A table at the end sets its 99th percentiles side by side.

The exit code is 1 when the proxy ended, the client was let down, memory grew by more than 96 MiB, or edgewise hindered
no connection that does nothing but flood or stall.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from bench.arena import Arena, open_arena
from bench.load import percentile
from bench.peers import PEERS, SOURCE, Running

from support.http2_attacks import ATTACKS, Attack, loopback_addresses, run_attack
from support.http2_raw import RST_STREAM, Http2Client
from support.raw_http import RawClient, get

MEBIBYTE = 1 << 20
MOST_GROWTH = 96 * MEBIBYTE
SERVERS = ("edgewise", "nginx", "haproxy", "envoy", "caddy")
DEADLINES = {
    "server_options": 'header_timeout = "2s"\nsend_timeout = "2s"',
    "route_options": 'timeouts = { body = "2s" }',
}
"""edgewise's deadlines while it is attacked, so that an attack of a few seconds meets them."""


@dataclass(frozen=True)
class Service:
    """What a well-behaved client got: milliseconds and failures."""

    p50: float
    p99: float
    requests: int
    failures: int

    def __str__(self) -> str:
        failed = f" {self.failures} FAILED" if self.failures else ""
        return f"p50 {self.p50:.1f} p99 {self.p99:.1f} ms of {self.requests}{failed}"


def behave(http1_port: int, http2_port: int, seconds: float) -> tuple[Service, Service]:
    """Ask over HTTP/1.1 and HTTP/2 in turn, about 100 times a second, and measure each."""
    deadline = time.monotonic() + seconds
    times: tuple[list[float], list[float]] = ([], [])
    failures = [0, 0]
    clients: list[RawClient | Http2Client | None] = [None, None]
    while time.monotonic() < deadline:
        for which, port in enumerate((http1_port, http2_port)):
            began = time.perf_counter()
            try:
                if (client := clients[which]) is None:
                    address = ("127.0.0.1", port)
                    client = clients[which] = Http2Client(address) if which else RawClient(address)
                answer = client.ask(get("/hello")) if isinstance(client, RawClient) else client.get("/hello")
                if answer.status != 200:
                    raise AssertionError(answer.status)
                times[which].append(time.perf_counter() - began)
            except (OSError, AssertionError):
                failures[which] += 1
                clients[which] = None
            time.sleep(0.005)
    return service(times[0], failures[0]), service(times[1], failures[1])


def service(times: list[float], failures: int) -> Service:
    """Summarise one protocol's requests."""
    ordered = [value * 1000 for value in sorted(times)]
    return Service(percentile(ordered, 0.5), percentile(ordered, 0.99), len(times), failures)


class Row(NamedTuple):
    """What an attack did, for the table."""

    attack: str
    withstood: bool
    before: tuple[Service, Service]
    during: tuple[Service, Service]
    cpu: float
    """Share of a core."""

    def __str__(self) -> str:
        (http1, http2), (busy1, busy2) = self.before, self.during
        return (
            f"{self.attack:<34}{http1.p99:7.1f} ->{busy1.p99:7.1f}{http2.p99:9.1f} ->{busy2.p99:7.1f}{self.cpu:8.0%}"
            f"{'' if self.withstood else '  NOT WITHSTOOD'}"
        )


class Memory:
    """Resident bytes of the proxy's processes: before, at most since, and now. What they share is counted in each."""

    def __init__(self, running: Running) -> None:
        self.pids = running.tree.pids()
        self.before = self.read("VmRSS")
        for pid in self.pids:
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")  # sets the peak back: proc(5)

    def read(self, key: str) -> int:
        """The sum of a size of /proc/PID/status; processes that are gone have none."""
        total = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))
        return total


def replay(attack: Attack, running: Running, pool: ProcessPoolExecutor, arguments: argparse.Namespace) -> Row:
    """One attack with its report."""
    seconds = arguments.seconds
    addresses = loopback_addresses()
    sources = addresses if arguments.sources == "many" else itertools.repeat(next(addresses))
    ports = running.http_port, running.grpc_port
    before = pool.submit(behave, *ports, 2.0).result()
    memory, used, began = Memory(running), running.tree.cpu_seconds(), time.monotonic()
    client = pool.submit(behave, *ports, seconds)
    target = ("127.0.0.1", running.grpc_port)
    outcome = run_attack(target, attack, seconds=seconds, most_connections=arguments.connections, sources=sources)
    during = client.result()
    took, used = time.monotonic() - began, running.tree.cpu_seconds() - used
    time.sleep(1)
    peak, after = memory.read("VmHWM"), memory.read("VmRSS")
    withstood = (
        running.tree.alive()
        and not any(each.failures for each in during)
        and peak - memory.before < MOST_GROWTH
        and (running.name != "edgewise" or attack.kind == "work" or outcome.hindered)
    )
    print(f"{attack.name} {attack.known_as}{'' if withstood else '  <-- NOT WITHSTOOD'}")
    print(f"  {outcome.frames} frames on {outcome.opened} connections (at most {outcome.most_frames} on one): ", end="")
    print(", ".join(f"{count} {ending}" for ending, count in outcome.endings.most_common()), end="")
    print(f"; {outcome.received[RST_STREAM]} streams reset" if attack.reads else "")
    sizes = " -> ".join(f"{size / MEBIBYTE:.1f}" for size in (memory.before, peak, after))
    print(f"  CPU {used:.2f} s in {took:.1f} s; resident {sizes} MiB (before, peak, after)")
    for name, calm, busy in zip(("HTTP/1.1", "HTTP/2"), before, during, strict=True):
        print(f"  {name:<8} before: {calm}; during: {busy}")
    return Row(attack.name, withstood, before, during, used / took)


@contextlib.contextmanager
def attacked(server: str) -> Iterator[tuple[Arena, Running]]:
    """The proxy and its origins, as in a benchmark run, this process with less priority than all of them."""
    peer = PEERS[server]
    if server == "edgewise":
        # The source as it is, whatever has been compiled.
        peer = dataclasses.replace(peer, env={"PYTHONPATH": str(SOURCE)}, options=DEADLINES)
    with open_arena() as arena:
        running = arena.proxy(peer)
        os.nice(10)
        yield arena, running


def main() -> int:
    """Run what the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(description="attacks on HTTP/2, replayed on loopback")
    parser.add_argument("--server", choices=SERVERS, default="edgewise")
    parser.add_argument("--only", default="", metavar="WORDS", help="attacks whose name has these words")
    parser.add_argument("--from", choices=("one", "many"), default="one", dest="sources", help="addresses of attackers")
    parser.add_argument("--connections", type=int, default=200, help="of each attack at most (default: 200)")
    parser.add_argument("--seconds", type=float, default=4, help="of each attack (default: 4)")
    arguments = parser.parse_args()
    rows = []
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        attacked(arguments.server) as (arena, running),
    ):
        for attack in (attack for attack in ATTACKS if arguments.only in attack.name):
            rows.append(replay(attack, running, pool, arguments))
            if not running.tree.alive():
                print(f"  {arguments.server} ended and is started again")
                arena.stop(running)
                running = arena.proxy(running.peer)
    print(f"\n{'p99 of another client (ms)':<37}HTTP/1.1{'HTTP/2':>18}{'CPU':>14}")
    print(*rows, sep="\n")
    lost = sum(not row.withstood for row in rows)
    print(f"\n{arguments.server}: {lost} not withstood")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
