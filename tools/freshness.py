"""From a commit in PostgreSQL to the last answer with the old value, through the caches of edgewise and of an app.

    python tools/freshness.py [--writes 500] [--checks 100]

PostgreSQL (syncing every commit), edgewise with two workers, and an app of two processes that keeps what it reads with
@cached; its answers are kept by edgewise too. Connections to edgewise ask for one of 20 rows without a pause:

sql    a row is written by plain SQL: from the commit's return to the end of the last old answer. Once every connection
       has had the new value, none may get the old one again.
app    a row is written by the app, which then purges and answers: from the commit's return in the app. Once it has
       answered, none may get the old value.

In both the row is asked for by others at all times, so that old values are on their way while it is written. Each write
is followed by so many checks; the exit code is 1 when one of them was stale.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import psycopg

from edgewise.contrib.postgres import install_triggers
from support.edgewise_process import EdgewiseProcess, wait_until
from support.postgres import PostgresServer
from support.raw_http import RawClient, get, post

ROWS = 20
CONNECTIONS = 6
READERS = 2
"""Threads that ask for what is being written, beside the checks."""
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 2
admin = "127.0.0.1:$ADMIN_PORT"
[access_log]
path = "off"
[state]
url = "sqlite:$DIR/state"
[database]
url = "DATABASE"
[upstreams.app]
app = "counting:app"
processes = 2
[[routes]]
upstream = "app"
cache = { default_ttl = "1h" }
"""
APP = """
import os, threading, time
import psycopg
import edgewise
from edgewise.contrib.cache import cached
from edgewise.contrib.tags import row_tag, rows_tag, table_tag

local = threading.local()


def database():
    if not hasattr(local, "connection"):
        local.connection = psycopg.connect(os.environ["COUNTING"], autocommit=True)
    return local.connection


@cached(ttl=3600, tags=lambda key: [row_tag("counter", key), rows_tag("counter")])
def value(key: int) -> int:
    return database().execute("SELECT value FROM counter WHERE id = %s", [key]).fetchone()[0]


def app(environ, start_response):
    key = int(environ["PATH_INFO"].strip("/"))
    if environ["REQUEST_METHOD"] == "POST":
        database().execute("UPDATE counter SET value = value + 1 WHERE id = %s", [key])
        committed = time.monotonic()
        edgewise.purge(tags=[row_tag("counter", key), table_tag("counter")])
        start_response("204 No Content", [("X-Committed", str(committed))])
        return []
    text = str(value(key)).encode()
    tags = f"{row_tag('counter', key)} {rows_tag('counter')}"
    start_response("200 OK", [("Content-Length", str(len(text))), ("Surrogate-Key", tags)])
    return [text]
"""


class Result(NamedTuple):
    """What came of one kind of writes."""

    seconds: list[float]
    """Of each write, until the last old answer had ended; 0 where there was none."""
    checks: int
    stale: int


class Readers:
    """Ask for a row without a pause."""

    def __init__(self, edgewise: EdgewiseProcess) -> None:
        self.row = 1
        self.answers: deque[tuple[float, int, int]] = deque(maxlen=10_000)
        """The last ones: when each had ended, its row and its value."""
        self._edgewise = edgewise
        self._ended = False
        self._threads = [threading.Thread(target=self._read, daemon=True) for _ in range(READERS)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        with self._edgewise.client() as client:
            while not self._ended:
                row = self.row
                value = int(client.ask(get(f"/{row}")).body)
                self.answers.append((time.monotonic(), row, value))

    def last_old(self, row: int, new: int, least: float) -> float:
        """Return when the last old answer had ended, `least` where that was before."""
        return max([least, *(at for at, each, value in list(self.answers) if each == row and value < new)])

    def close(self) -> None:
        """Stop."""
        self._ended = True
        for thread in self._threads:
            thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=500, help="of each kind")
    parser.add_argument("--checks", type=int, default=100, help="after each write")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        url, edgewise = started(stack)
        readers = Readers(edgewise)
        stack.callback(readers.close)
        clients = [stack.enter_context(edgewise.client()) for _ in range(CONNECTIONS)]
        writer = stack.enter_context(psycopg.connect(url, autocommit=True))
        results = {
            kind: measured(kind, readers, clients, writer, arguments.writes, arguments.checks)
            for kind in ("sql", "app")
        }
    for kind, result in results.items():
        show(kind, result)
    return int(any(result.stale for result in results.values()))


def started(stack: ExitStack) -> tuple[str, EdgewiseProcess]:
    """Start PostgreSQL with a table of counters, and edgewise with the app."""
    server = PostgresServer("-c", "fsync=on")
    stack.callback(server.remove)
    server.start()
    url = server.database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE counter (id int PRIMARY KEY, value bigint)")
        connection.execute("INSERT INTO counter SELECT n, 0 FROM generate_series(1, %s) AS n", [ROWS])
        connection.execute(install_triggers("counter").encode())
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (directory / "counting.py").write_text(APP)
    edgewise = EdgewiseProcess(TOML.replace("DATABASE", url), directory, env={"COUNTING": url})
    stack.callback(edgewise.stop)
    wait_until(lambda: "are heard" in edgewise.log, "edgewise listens", 60)
    return url, edgewise


def measured(
    kind: str, readers: Readers, clients: list[RawClient], writer: psycopg.Connection, writes: int, checks: int
) -> Result:
    """Write again and again; see what is answered then."""
    values = dict(writer.execute("SELECT id, value FROM counter").fetchall())
    seconds: list[float] = []
    stale = 0
    for number in range(writes):
        row = readers.row = number % ROWS + 1
        head = get(f"/{row}")
        for client in clients:
            client.ask(head)
        new = values[row] = values[row] + 1
        if kind == "sql":
            writer.execute("UPDATE counter SET value = %s WHERE id = %s", [new, row])
            began = last = time.monotonic()
        else:
            answer = clients[0].ask(post(b"", f"/{row}"))
            assert answer.status == 204, answer
            began = last = float(answer.get("X-Committed") or 0)
        waiting = list(clients) if kind == "sql" else []
        while waiting:
            waiting, last = old(waiting, head, new, last)
            assert time.monotonic() < began + 30, "an old value is still used after 30 s"
        readers_last = readers.last_old(row, new, began)
        seconds.append(max(last, readers_last) - began)
        stale += sum(int(clients[check % CONNECTIONS].ask(head).body) != new for check in range(checks))
    return Result(seconds, writes * checks, stale)


def old(clients: list[RawClient], head: bytes, new: int, last: float) -> tuple[list[RawClient], float]:
    """Return the clients that get an old value, and when the last one had it."""
    found = []
    for client in clients:
        if int(client.ask(head).body) != new:
            found.append(client)
            last = time.monotonic()
    return found, last


def show(kind: str, result: Result) -> None:
    """Print what was measured, in milliseconds."""
    found = sorted(second * 1000 for second in result.seconds)
    p99 = statistics.quantiles(found, n=100)[98]
    print(f"{kind}: last old answer after {statistics.median(found):.1f} ms (median), {p99:.1f} ms (p99), ", end="")
    print(f"{found[-1]:.1f} ms (longest) of {len(found)} writes")
    print(f"{kind}: {result.stale} stale answers in {result.checks} checks")


if __name__ == "__main__":
    sys.exit(main())
