"""Moves live sessions from the embedded engine to NATS and to Redis, while they are in use.

    python tools/state_copy_show.py [--sessions 100000] [--to nats,redis] [--sync]

Real servers on loopback as they are by default, NATS with its log on disk every two minutes, Valkey each second; with
--sync every write is on disk before its acknowledgement, and the disk decides how long that takes. Sessions are begun,
read, changed and ended while the copy runs; then, as docs/state.md says, the app stops and the little that changed is
copied again. Shows how long each copy took, and opens every session on the other engine: by its id, with its data, user
and time left. The exit code is 1 when one is lost, changed, or came back after it was ended.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from edgewise.contracts.state import StateEngine
from edgewise.sessions import Session, SessionSettings, StateSettings
from edgewise.sessions.stateful import StatefulSessions
from edgewise.state.opening import Options, open_engine
from edgewise.state.transfer import Report, copy_state

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.state_servers import NatsServer, SqliteServer, ValkeyServer

SERVERS = {"nats": lambda path: NatsServer(path, "2m"), "redis": lambda path: ValkeyServer(path, "--appendonly", "yes")}
SYNCING = {"nats": NatsServer, "redis": ValkeyServer}
USERS = 10_000
AT_ONCE = 500


def store(engine: StateEngine) -> StatefulSessions:
    """Return the sessions of an app on an engine."""
    return StatefulSessions(SessionSettings(state=StateSettings(), idle=86400.0), engine)


async def begin(sessions: StatefulSessions, number: int) -> str:
    """Begin a session; return its id. One in ten is nobody's."""
    session = await sessions.open(None)
    session["number"] = number
    session["cart"] = [{"sku": f"a-{number}", "quantity": 2}]
    if number % 10:
        session.login(f"user {number % USERS}")
    token = await sessions.commit(session)
    assert token
    return token


async def begin_all(sessions: StatefulSessions, count: int) -> dict[str, int]:
    """Return id -> number of new sessions."""
    tokens: dict[str, int] = {}
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        tokens.update(zip(await asyncio.gather(*(begin(sessions, n) for n in numbers)), numbers, strict=True))
    return tokens


async def use(sessions: StatefulSessions, tokens: dict[str, int], ended: set[str], stop: asyncio.Event) -> None:
    """Change, end and begin sessions, some hundred a second, as an app does."""
    known = list(tokens)
    while not stop.is_set():
        token = random.choice(known)
        session = await sessions.open(token)
        if token in ended:
            assert session.new
        elif random.random() < 0.2:
            session.logout()
            await sessions.commit(session)
            ended.add(token)
        else:
            session["number"] = tokens[token] = tokens[token] + 1_000_000
            await sessions.commit(session)
        if random.random() < 0.2:
            number = random.randrange(USERS)
            tokens[await begin(sessions, number)] = number
        await asyncio.sleep(0.005)


async def check(sessions: StatefulSessions, tokens: dict[str, int], ended: set[str]) -> tuple[int, list[str]]:
    """Open every session; return how many were good, and what was wrong with others."""
    wrong: list[str] = []
    good = 0

    async def one(token: str, number: int) -> None:
        nonlocal good
        session = await sessions.open(token)
        fault = _fault(session, number, token in ended)
        if fault:
            wrong.append(f"{token[:6]}...: {fault}")
        else:
            good += 1

    items = list(tokens.items())
    for first in range(0, len(items), AT_ONCE):
        await asyncio.gather(*(one(token, number) for token, number in items[first : first + AT_ONCE]))
    return good, wrong


def _fault(session: Session, number: int, ended: bool) -> str:
    if ended:
        return "" if session.new else "came back after it was ended"
    if session.new:
        return "lost"
    if session["number"] != number:
        return f"has {session['number']}, not {number}"
    if (number % 10 != 0) != bool(session.user):
        return f"is {session.user!r}'s"
    return "" if 85_000 < session.left <= 86_400 else f"lives {session.left:.0f} s"


def told(name: str, report: Report, seconds: float, cpu: float) -> None:
    """Print what a copy did."""
    keys = report.keys
    print(
        f"  {name}: {seconds:.1f} s ({cpu:.1f} s of CPU here); {keys.found:,} keys found, {keys.written:,} written, "
        f"{keys.removed:,} removed, {keys.verified:,} verified",
        flush=True,
    )


async def move(source_url: str, target_url: str, sessions: int) -> int:
    """Show one move; return how many sessions went wrong."""
    source = await open_engine(source_url, Options(patience=60.0))
    target = await open_engine(target_url, Options(patience=60.0))
    began = time.perf_counter()
    tokens, ended = await begin_all(store(source), sessions), set[str]()
    print(f"  {sessions:,} sessions begun in {time.perf_counter() - began:.1f} s", flush=True)
    stop = asyncio.Event()
    using = asyncio.ensure_future(use(store(source), tokens, ended, stop))
    for name in ("copied while they are used", "copied again, the app stopped"):
        began, cpu = time.perf_counter(), time.process_time()
        report = await copy_state(source, target)
        told(name, report, time.perf_counter() - began, time.process_time() - cpu)
        stop.set()
        await using
    good, wrong = await check(store(target), tokens, ended)
    print(f"  on the other engine: {good:,} of {len(tokens):,} as they should be ({len(ended):,} of them ended)")
    for line in wrong[:10]:
        print(f"    {line}")
    await source.close()
    await target.close()
    return len(wrong)


def main() -> int:
    """Show every move; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--to", default="nats,redis")
    parser.add_argument("--sync", action="store_true")
    options = parser.parse_args()
    servers = SYNCING if options.sync else SERVERS
    wrong = 0
    for name in options.to.split(","):
        with tempfile.TemporaryDirectory() as directory:
            source, target = SqliteServer(Path(directory)), servers[name](Path(directory))
            source.start()
            target.start()
            print(f"sqlite -> {name}", flush=True)
            try:
                wrong += asyncio.run(move(source.url, target.url, options.sessions))
            finally:
                source.kill()
                target.kill()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
