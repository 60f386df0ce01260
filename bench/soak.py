"""`python -m bench.soak`: mixed load for minutes, with the memory of each of edgewise's processes.

GETs of a browser with wrk without pause; beside it uploads, chunked bodies, pipelining, WebSockets, new connections,
slow clients, clients that go away in the middle, 404s and malformed requests (bench/clients.py).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

from bench.arena import open_arena
from bench.clients import HABITS, Tally, repeat
from bench.edgewise_run import Edgewise, OpenWrk
from bench.processes import Memory


def main() -> int:
    """Exit status 0 when no request failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--connections", type=int, default=8, help="of wrk (default: 8)")
    arguments = parser.parse_args()
    with open_arena() as arena:
        edgewise = Edgewise(arena, "mixed.toml", generation=0)
        return asyncio.run(soak(edgewise, arguments.minutes, arguments.connections))


async def soak(edgewise: Edgewise, minutes: float, connections: int) -> int:
    """Runs the load and prints the memory each minute; the number of failures, at most 1."""
    tally, stop = Tally(), asyncio.Event()
    start = show("before load", edgewise)
    url = f"http://127.0.0.1:{edgewise.port}/catalogue"
    wrk = OpenWrk(url, edgewise.arena.directory, connections, "chrome")
    clients = [
        asyncio.create_task(repeat(habit, edgewise.port, tally, stop, pause))
        for habit, count, pause in HABITS
        for _ in range(count)
    ]
    try:
        await watch(edgewise, tally, minutes * 60)
        stop.set()
        await asyncio.gather(*clients)
        report = wrk.stop()
    finally:
        wrk.kill()
    await asyncio.sleep(3)
    end = show("after load", edgewise)
    compare(start, end)
    print(f"\nwrk: {report.count} answers, {report.errors} failed, p99 {report.p99_ms:.1f} ms")
    for habit, _, _ in HABITS:
        name = habit.__name__
        print(f"{name:<20}{tally.done[name]:>9} done{tally.failed[name]:>7} failed")
    for reason in tally.reasons:
        print(f"! {reason}")
    return 1 if report.errors or tally.failed else 0


async def watch(edgewise: Edgewise, tally: Tally, seconds: float) -> None:
    """Shows the memory each minute; empties the access log, which would fill the memory it lies in."""
    began = time.monotonic()
    while (left := began + seconds - time.monotonic()) > 0:
        await asyncio.sleep(min(60, left))
        minute = (time.monotonic() - began) / 60
        show(f"minute {minute:.1f}: {tally.done.total()} done, {tally.failed.total()} failed", edgewise)
        os.truncate(edgewise.log, 0)


def show(title: str, edgewise: Edgewise) -> dict[int, Memory]:
    """Prints and returns the memory of each process."""
    memory = edgewise.tree.memory()
    print(title)
    for pid, held in memory.items():
        print(
            f"  {pid:>7}  RSS {held.rss / 1e6:7.1f} MB  PSS {held.pss / 1e6:7.1f} MB  "
            f"private {held.uss / 1e6:7.1f} MB  files {open_files(pid):>5}  {held.command[-60:]}"
        )
    sys.stdout.flush()
    return memory


def compare(start: dict[int, Memory], end: dict[int, Memory]) -> None:
    """Prints the growth of each process, and processes that came or went."""
    print("growth from before to after")
    for pid in sorted(start.keys() | end.keys()):
        if pid in start and pid in end:
            print(f"  {pid:>7}  PSS {(end[pid].pss - start[pid].pss) / 1e6:+.1f} MB")
        else:
            print(f"  {pid:>7}  {'ended' if pid in start else 'new'}")


def open_files(pid: int) -> int:
    """Open descriptors of a process; 0 when it is gone."""
    with contextlib.suppress(OSError):
        return len(os.listdir(Path("/proc") / str(pid) / "fd"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
