"""A million sessions in the embedded engine: start, memory, reads, and the writer's turns while all of them expire.

`python -m bench.million_sessions [--sessions N] [--seconds S]`; figures for docs/sessions.md, nothing asserts them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import uvloop

from bench.state import resident
from edgewise.sessions import Sessions, SessionSettings, StateSettings
from edgewise.sessions.records import VERSION, Keys, Record, encode_record, hashed
from edgewise.state.clock import since_boot
from edgewise.state.sqlite.engine import SqliteEngine

HOST = "shop.example"
READS = 50_000
QUIET = 40.0
"""Seconds for which writes are timed with all sessions alive: what the machine does to them by itself."""
DATA = {"cart": [{"sku": "a-1", "quantity": 2}], "theme": "dark", "text": "v" * 150}


def token(number: int) -> str:
    """Return the id of a session; its hash is as random as that of a real one."""
    return f"{number:043d}"


def start_writer(directory: Path) -> subprocess.Popen[str]:
    """Start a writer that times its turns, and wait until it serves."""
    command = [sys.executable, "-m", "bench.writer_turns", str(directory)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


async def fill(directory: Path, sessions: int) -> None:
    """Write them all."""
    engine = SqliteEngine(directory, patience=60.0)
    now = time.time()
    data = {key: msgspec.Raw(msgspec.msgpack.encode(value)) for key, value in DATA.items()}
    value = encode_record(Record(VERSION, now, now + 86400.0, "", "", 0.0, 0, data))
    keys = Keys("app")
    began = time.perf_counter()
    for first in range(0, sessions, 2000):
        numbers = range(first, min(first + 2000, sessions))
        await asyncio.gather(*(engine.set(keys.session(hashed(token(n))), value, 86000.0) for n in numbers))
    print(f"- written in {time.perf_counter() - began:.0f} s, {len(value)} bytes each")
    await engine.close()


def end_all(directory: Path, seconds: float) -> float:
    """Have every session end in so many seconds, while no writer runs; return the moment, in seconds since the boot."""
    connection = sqlite3.connect(directory / "keys.sqlite")
    offset = float(connection.execute("SELECT value FROM meta WHERE name = 'offset'").fetchone()[0])
    moment = since_boot() + seconds
    connection.execute("UPDATE entries SET expires = ?", (int((moment + offset) * 1000),))
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return moment


async def read(directory: Path, sessions: int) -> None:
    """Read some of all, then the last of them again."""
    engine = SqliteEngine(directory, patience=60.0)
    before = resident(os.getpid())
    opened = Sessions(SessionSettings(state=StateSettings(url=f"sqlite:{directory}")), engine)
    numbers = [random.randrange(sessions) for _ in range(READS)]
    for name, some in (("a session read for the first time", numbers), ("one read lately", numbers[-5000:])):
        cookies = [f"__Host-session={token(number)}" for number in some]
        began = time.process_time()
        for cookie in cookies:
            assert (await opened.open([cookie], HOST))["theme"] == "dark"
        print(f"- {name}: {(time.process_time() - began) / len(cookies) * 1e6:.1f} us")
    print(f"- reader {before:.0f} MB resident before, {resident(os.getpid()):.0f} MB after {READS:,} reads")
    await engine.close()


async def probe(directory: Path, seconds: float, until_removed: bool) -> list[float]:
    """Write one entry after another for some time, or until all sessions are removed; return what each write waited."""
    engine = SqliteEngine(directory, patience=60.0)
    waits = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        for number in range(500):
            at = time.perf_counter()
            await engine.set(f"probe/{number}", b"v" * 300)
            waits.append((time.perf_counter() - at) * 1e3)
            await asyncio.sleep(0.002)
        left = max(0, (await engine.status()).keys - 500) if until_removed else 1
        if not left:
            print(f"- all removed {time.perf_counter() - began:.0f} s after they ended")
            break
    await engine.close()
    return waits


def turns(writer: subprocess.Popen[str]) -> list[float]:
    """Return the milliseconds of the writer's turns since this was last asked."""
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("\n")
    writer.stdin.flush()
    found: list[float] = json.loads(writer.stdout.readline())
    return found


def points(values: list[float]) -> str:
    """Return what to know about some milliseconds."""
    values = sorted(values)
    shares = (("median", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    found = ", ".join(f"{name} {values[int(len(values) * share)]:.2f}" for name, share in shares)
    return f"{found}, longest {values[-1]:.1f} ms of {len(values):,}"


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=400.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        writer = start_writer(directory)
        uvloop.run(fill(directory, options.sessions))
        print(f"- writer {resident(writer.pid):.0f} MB resident after that")
        writer.kill()
        writer.wait()
        moment = end_all(directory, 20.0 + QUIET + options.sessions / 20_000)
        began = time.perf_counter()
        writer = start_writer(directory)
        print(f"- started in {time.perf_counter() - began:.2f} s, {resident(writer.pid):.0f} MB resident")
        size = sum(path.stat().st_size for path in directory.iterdir() if path.is_file()) / 1e6
        print(f"- files {size:.0f} MB")
        uvloop.run(read(directory, options.sessions))
        turns(writer)
        for name, seconds, removing in (
            ("before they end", QUIET, False),
            ("while they are removed", options.seconds, True),
        ):
            if removing:
                time.sleep(max(0.0, moment - since_boot()))
                turns(writer)
            waits = uvloop.run(probe(directory, seconds, removing))
            print(f"- {name}, writes: {points(waits)}")
            print(f"- {name}, the writer's turns: {points(turns(writer))}", flush=True)
        print(f"- writer {resident(writer.pid):.0f} MB resident at the end")
        writer.communicate()


if __name__ == "__main__":
    main()
