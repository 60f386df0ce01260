"""How soon an edgewise with a full cache directory gives hits: fills one, starts, asks.

    python tools/disk_start.py [--size 10GB] [--object 200KB]

Files are written as a worker writes them, with the keys of the route. Then a real edgewise is started on them: what is
shown are the seconds from its start until it listens and until the first hit, and for 2,000 hits that nobody asked for
before; then the same once the kernel has forgotten what is in the files. There is no server: whatever is no hit fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from edgewise.cache.disk.purge_log import PurgeLog
from edgewise.cache.route import HttpCache
from edgewise.cache.stored import Stored
from edgewise.config import load
from edgewise.config.values import parse_size
from edgewise.http.dates import format_date
from edgewise.protocols.http1 import parse_request_head, parse_response_head
from edgewise.router import build
from edgewise.router.caching import Caches
from support.edgewise_process import EdgewiseProcess
from support.raw_http import get

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
[cache]
memory = "64MB"
disk = "1000GB"
directory = "$DIR/cache"
[upstreams.nobody]
servers = ["127.0.0.1:1"]
[[routes]]
upstream = "nobody"
cache = {}
"""
_HITS = 2000
_BATCH = 100


def fill(directory: Path, count: int, size: int) -> None:
    """Write `count` answers of `size` bytes for /0, /1 and so on, into the directory of an edgewise that was there."""
    EdgewiseProcess(TOML, directory).stop()
    file = directory / "fill.toml"
    file.write_text(TOML.replace("$DIR", str(directory)).replace("$PORT", "1").replace("$ADMIN_PORT", "2"))
    table = build(load(file))
    cache, caches = table.routes[0].cache, table.caches
    assert isinstance(cache, HttpCache)
    assert isinstance(caches, Caches)
    assert caches.disk is not None
    log = PurgeLog(directory / "cache")
    caches.disk.purges = log.purges
    for number in range(count):
        caches.disk.put(answer(cache, number, size), caches.disk.epoch)
        if number % _BATCH == 0:
            caches.disk.flush(60)
    caches.disk.flush(60)
    log.end()
    os.sync()  # what the kernel still writes would slow the start down


def answer(cache: HttpCache, number: int, size: int) -> Stored:
    """Return an answer as it would have come from a server."""
    request = cache.request(parse_request_head(b"GET /%d HTTP/1.1\r\nHost: a.example\r\n\r\n" % number), b"http")
    fields = b"Date: %b\r\nCache-Control: max-age=86400\r\nContent-Length: %d\r\n" % (format_date(time.time()), size)
    head, now = parse_response_head(b"HTTP/1.1 200 OK\r\n%b\r\n" % fields), time.time()
    assert request is not None
    found = cache.find(request, now)
    stored = cache.receive(request, found, head, now, now, cache.epoch(), disconnected=False).stored
    assert isinstance(stored, Stored)
    stored.fill(b"%d " % number + bytes(size))
    stored.fill(stored.body[:size])
    return stored


def show(directory: Path, count: int) -> None:
    """Start, and print how long things took."""
    began = time.monotonic()
    edgewise = EdgewiseProcess(TOML, directory)
    try:
        listening = time.monotonic() - began
        with edgewise.client() as client:
            assert client.ask(get("/0", host="a.example")).status == 200
            first = time.monotonic() - began
            hits = 0
            for number in range(1, _HITS + 1):
                path = f"/{number * 7919 % count}"
                hits += client.ask(get(path, host="a.example")).body.startswith(path[1:].encode() + b" ")
            all_of_them = time.monotonic() - began - first
        print(f"listening after {listening:.2f} s, first hit after {first:.2f} s; {hits} hits in {all_of_them:.2f} s")
    finally:
        edgewise.stop()


def forget(directory: Path) -> None:
    """Have the kernel read the files from the disk when they are next asked for."""
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default="10GB")
    parser.add_argument("--object", type=parse_size, default="200KB")
    options = parser.parse_args()
    count = max(options.size // options.object, _HITS)
    with tempfile.TemporaryDirectory() as name:
        began = time.monotonic()
        fill(Path(name), count, options.object)
        print(f"{count} answers of {options.object} bytes written in {time.monotonic() - began:.0f} s")
        show(Path(name), count)
        forget(Path(name))
        show(Path(name), count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
