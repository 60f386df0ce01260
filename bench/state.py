"""State engines: calls a second, CPU a call, and a million keys embedded. `python -m bench.state [--keys N]`.

Servers come from the wheels of the dev extra, on loopback. Figures for docs/state.md; nothing asserts them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from edgewise.contracts.state import StateEngine
from edgewise.state.opening import Options, open_engine
from edgewise.state.sqlite.engine import SqliteEngine
from support.state_servers import NatsServer, SqliteServer, ValkeyServer

VALUE = b"v" * 300
"""As long as a session."""
TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid: int) -> float:
    """Return a process's resident memory in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def measure(name: str, pid: int, calls: int, tasks: int, call: Callable[[int], Awaitable[object]]) -> None:
    """Run `calls` calls in `tasks` concurrent tasks and print the rate and the CPU of both sides."""

    async def some(part: int) -> None:
        for number in range(part, calls, tasks):
            await call(number)

    began, own, server = time.perf_counter(), time.process_time(), cpu_of(pid)
    await asyncio.gather(*(some(part) for part in range(tasks)))
    seconds, own, server = time.perf_counter() - began, time.process_time() - own, cpu_of(pid) - server
    print(
        f"| {name} | {tasks} | {calls / seconds:,.0f} | {own / calls * 1e6:.1f} | {server / calls * 1e6:.1f} |",
        flush=True,
    )


async def calls_of(name: str, engine: StateEngine, pid: int, calls: int) -> None:
    """Measure the common calls of one engine."""
    for tasks in (1, 64):
        count = calls if tasks > 1 else calls // 5
        await measure(f"{name}: set", pid, count, tasks, lambda n: engine.set(f"s/{n % 10_000}", VALUE, 3600.0))
        await measure(f"{name}: get", pid, count, tasks, lambda n: engine.get(f"s/{n % 10_000}"))
        await measure(f"{name}: add", pid, count, tasks, lambda n: engine.add(f"c/{n % 1000}", 1, 60.0))


def engines(calls: int) -> None:
    """Measure every engine."""
    print("| call | at once | calls/s | CPU us, caller | CPU us, server |\n|---|---|---|---|---|")
    for name, make in (("sqlite", SqliteServer), ("redis", ValkeyServer), ("nats", NatsServer)):
        with tempfile.TemporaryDirectory() as directory:
            server = make(Path(directory))
            server.start()
            assert server._process is not None
            pid = server._process.pid

            async def run(name: str = name, url: str = server.url, pid: int = pid) -> None:
                engine = await open_engine(url, Options(patience=30.0))
                await calls_of(name, engine, pid, calls)
                if isinstance(engine, SqliteEngine):
                    await measure("sqlite: add", pid, 10 * calls, 512, lambda n: engine.add(f"c/{n % 1000}", 1, 60.0))
                    await measure("sqlite: set", pid, 10 * calls, 512, lambda n: engine.set(f"s/{n % 10_000}", VALUE))
                await engine.close()

            uvloop.run(run())
            server.kill()
    full_durability(calls)


def full_durability(calls: int) -> None:
    """Measure writes that survive a loss of power."""
    with tempfile.TemporaryDirectory() as directory:
        writer = start_writer(Path(directory), "--full")

        async def run() -> None:
            engine = SqliteEngine(Path(directory), patience=30.0)
            for tasks in (1, 64, 512):
                count = calls // 20 if tasks == 1 else calls
                await measure("sqlite, sync full: set", writer.pid, count, tasks, lambda n: engine.set(f"s/{n}", VALUE))
            await engine.close()

        uvloop.run(run())
        writer.kill()
        writer.wait()


def start_writer(directory: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a writer and wait until it serves."""
    command = [sys.executable, "-m", "edgewise.state.sqlite", str(directory), *options]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    return writer


def many_keys(keys: int) -> None:
    """A million sessions: start, memory, reads, and what a writer's client waits while they expire."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        writer = start_writer(directory)

        async def fill() -> None:
            engine = SqliteEngine(directory, patience=60.0)
            began = time.perf_counter()
            for start in range(0, keys, 5000):
                # every entry ends at the same moment, long after the last is written
                ttl = 3600.0 - (time.perf_counter() - began)
                await asyncio.gather(*(engine.set(f"session/{n:08x}", VALUE, ttl) for n in range(start, start + 5000)))
            print(f"- filled with {keys:,} keys in {time.perf_counter() - began:.1f} s")
            await engine.close()

        uvloop.run(fill())
        print(f"- writer {resident(writer.pid):.0f} MB resident after filling")
        writer.kill()
        writer.wait()
        size = sum(path.stat().st_size for path in directory.iterdir() if path.is_file()) / 1e6
        began = time.perf_counter()
        writer = start_writer(directory)
        print(f"- after kill -9, ready again in {time.perf_counter() - began:.2f} s (Python's start included)")
        print(f"- files {size:.0f} MB, writer {resident(writer.pid):.0f} MB resident")

        async def read_and_expire() -> None:
            engine = SqliteEngine(directory, patience=60.0)
            began = time.process_time()
            for n in range(0, keys, max(1, keys // 50_000)):
                await engine.get(f"session/{n:08x}")
            print(f"- a get over all of them {(time.process_time() - began) / 50_000 * 1e6:.1f} us")
            await expire_all(directory, engine)
            await engine.close()

        uvloop.run(read_and_expire())
        print(f"- reader {resident(os.getpid()):.0f} MB, writer {resident(writer.pid):.0f} MB resident at the end")
        writer.kill()
        writer.wait()


async def expire_all(directory: Path, engine: SqliteEngine) -> None:
    """Have everything end now, and time writes until all of it is removed."""
    import sqlite3

    connection = sqlite3.connect(directory / "keys.sqlite")
    connection.execute("PRAGMA busy_timeout = 60000")
    connection.execute("UPDATE entries SET expires = 1 WHERE key LIKE 'session/%'")
    connection.commit()
    connection.close()
    waits = []
    began = time.perf_counter()
    while (await engine.status()).keys > 1000:
        for number in range(500):
            at = time.perf_counter()
            await engine.set(f"probe/{number}", VALUE)
            waits.append(time.perf_counter() - at)
    waits.sort()
    points = ", ".join(f"{name} {waits[int(len(waits) * share)] * 1e3:.2f}" for name, share in
                       (("median", 0.5), ("p99", 0.99), ("p99.9", 0.999)))  # fmt: skip
    print(f"- all expired at once: removed in {time.perf_counter() - began:.0f} s; writes meanwhile {points}, "
          f"longest {waits[-1] * 1e3:.1f} ms")  # fmt: skip


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--keys", type=int, default=1_000_000)
    options = parser.parse_args()
    engines(options.calls)
    many_keys(options.keys)


if __name__ == "__main__":
    main()
