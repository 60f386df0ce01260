"""Fills a cache directory, kills edgewise with SIGKILL, starts it again: time until the first hit, and latency then.

    python tools/cache_restart.py [--gigabytes 1] [--directory .] [--cold]

Half of the bytes are in objects of 32 kB, half in objects of 4 MB. Hits are asked for one after the other, at random,
for a second from the first on; the worker has memory for 16 MB of them. `--cold`: the kernel is told to forget the
files before the start, as after a start of the machine.
The exit code is 1 where an answer was wrong, or the first hit took more than a second after edgewise accepted.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.origin import Origin, OriginConnection
from support.raw_http import RawClient, field_value, get
from support.restarts import kill_all

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 1
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
[access_log]
path = "off"
[cache]
memory = "16MB"
disk = ROOM
directory = "$DIR/cache"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
cache = { max_object = "8MB" }
"""
SMALL, LARGE = 32_768, 4_194_304
CLIENTS = 4
LONGEST = 60.0
"""Seconds for the first hit."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--directory", type=Path, default=Path.cwd())
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="cache-restart-", dir=options.directory))
    try:
        with origin() as address:
            return show(directory, address, int(options.gigabytes * 1e9), cold=options.cold)
    finally:
        shutil.rmtree(directory)


def show(directory: Path, address: str, size: int, *, cold: bool) -> int:
    """Fill, kill, start, ask; print what was measured."""
    toml = TOML.replace("ORIGIN", address).replace("ROOM", str(2 * size))
    ports = (free_port(), free_port(), free_port())
    paths = [f"/small/{index}" for index in range(size // 2 // SMALL)]
    paths += [f"/large/{index}" for index in range(size // 2 // LARGE)]
    first = EdgewiseProcess(toml, directory, ports=ports, env={})
    try:
        began = time.perf_counter()
        fill(first, paths)
        print(f"{len(paths)} answers asked for in {time.perf_counter() - began:.0f} s")
    finally:
        kill_all(first)
    entries, taken = on_disk(directory / "cache" / "v1")
    print(f"on disk after SIGKILL: {entries} files, {taken / 1e9:.2f} GB")
    if cold:
        forget(directory / "cache" / "v1")
    chance = random.Random(1)
    began = time.perf_counter()
    second = EdgewiseProcess(toml, directory, ports=ports, env={})
    try:
        return measure(second, lambda: chance.choice(paths), began)
    finally:
        second.stop()


def fill(edgewise: EdgewiseProcess, paths: list[str]) -> None:
    """Ask for everything, by several connections; answers are written behind them, so not too fast."""

    def some(part: list[str]) -> None:
        with edgewise.client() as client:
            for path in part:
                answer = client.ask(get(path))
                assert answer.status == 200

    threads = [threading.Thread(target=some, args=(paths[start::CLIENTS],)) for start in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(2)  # what waits to be written is


def measure(edgewise: EdgewiseProcess, choose: Callable[[], str], began: float) -> int:
    """Print the time until the first hit, and the latencies of a second from then on; 1 where something is wrong."""
    taken: dict[str, list[float]] = {"small": [], "large": []}
    misses = wrong = 0
    client, accepted = connected(edgewise), time.perf_counter()
    with client:
        first = 0.0
        while time.perf_counter() < (first + 1.0 if first else accepted + LONGEST):
            path = choose()
            asked = time.perf_counter()
            answer = client.ask(get(path))
            done = time.perf_counter()
            wrong += answer.body != content(path.encode())
            if b"; hit" not in (field_value(answer.head, b"cache-status") or b""):
                misses += 1
                continue
            first = first or done
            taken[path.split("/")[1]].append(done - asked)
    if not first:
        print(f"no hit within {LONGEST:g} s")
        return 1
    print(f"first hit {first - began:.2f} s after the start of the process, {first - accepted:.3f} s after it accepted")
    print(f"in the second after: {sum(map(len, taken.values()))} hits, {misses} misses, {wrong} wrong")
    for name, seconds in ((name, seconds) for name, seconds in taken.items() if seconds):
        found = sorted(second * 1000 for second in seconds)
        p99 = found[int(len(found) * 0.99)]
        middle = statistics.median(found)
        print(f"  {name}: {len(found)} hits, median {middle:.2f} ms, p99 {p99:.2f} ms, longest {found[-1]:.2f} ms")
    return int(wrong > 0 or first - accepted > 1.0)


def connected(edgewise: EdgewiseProcess) -> RawClient:
    """Return a connection to the worker, once it accepts."""
    wait_until(lambda: "listening on" in edgewise.log, "it accepts", 60)
    return edgewise.client()


def content(path: bytes) -> bytes:
    """Return what a path's answer holds."""
    line = b"%b\n" % path.ljust(31)
    return line * ((LARGE if path.startswith(b"/large") else SMALL) // len(line))


def serve(connection: OriginConnection) -> None:
    while True:
        body = content(connection.read_request().split()[1])
        connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=86400\r\nContent-Length: %d\r\n\r\n" % len(body))
        connection.send(body)


@contextlib.contextmanager
def origin() -> Iterator[str]:
    """Run an origin in a process of its own; gives its address."""
    told: multiprocessing.Queue[str] = multiprocessing.Queue()
    process = multiprocessing.Process(target=_origin, args=(told,), daemon=True)
    process.start()
    yield told.get(timeout=30)
    process.terminate()
    process.join()


def _origin(told: multiprocessing.Queue[str]) -> None:
    told.put(Origin(serve).address)
    threading.Event().wait()


def on_disk(directory: Path) -> tuple[int, int]:
    """Return the number of files and their bytes."""
    sizes = [os.stat(path).st_size for path in files(directory)]
    return len(sizes), sum(sizes)


def forget(directory: Path) -> None:
    """Have the kernel forget what it has of the files in memory."""
    os.sync()
    for path in files(directory):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def files(directory: Path) -> Iterator[str]:
    for parent, _, names in os.walk(directory):
        yield from (os.path.join(parent, name) for name in names)


if __name__ == "__main__":
    sys.exit(main())
