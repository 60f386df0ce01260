"""Kills each state engine with SIGKILL, again and again, under sessions that are read and written.

    python tools/state_recovery_show.py [--kills 5]

Each engine is started again at once. Shows the longest time without a read and without a write, counted from when it
serves again (the embedded engine is read meanwhile too), and whether every session that was acknowledged is there with
what was acknowledged last. The exit code is 1 when one is not, or when reads took a second or more to come back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from edgewise.contracts.state import StateUnavailable
from edgewise.sessions import SessionSettings, StateSettings
from edgewise.sessions.stateful import StatefulSessions
from edgewise.state.opening import Options, open_engine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.state_servers import NatsServer, SqliteServer, StateServer, ValkeyServer

ENGINES = {"sqlite": SqliteServer, "nats": NatsServer, "redis": ValkeyServer}
SESSIONS = 200


class App:
    """Reads and writes its sessions without a pause; remembers when it last could."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.tokens: list[str] = []
        self.acknowledged: dict[str, int] = {}
        self.last_read = self.last_write = 0.0

    async def open(self) -> StatefulSessions:
        """Return its sessions, on an engine of their own."""
        engine = await open_engine(self._url, Options(patience=0.5))
        return StatefulSessions(SessionSettings(state=StateSettings()), engine)

    async def begin(self, sessions: StatefulSessions) -> None:
        """Begin the sessions."""
        for _ in range(SESSIONS):
            session = await sessions.open(None)
            session["n"] = 0
            token = await sessions.commit(session)
            assert token
            self.tokens.append(token)
            self.acknowledged[token] = 0

    async def read(self, sessions: StatefulSessions) -> None:
        """Read one session after another."""
        while True:
            for token in self.tokens:
                with contextlib.suppress(StateUnavailable):
                    assert not (await sessions.open(token)).new, "a session is lost"
                    self.last_read = time.monotonic()
                await asyncio.sleep(0.002)

    async def write(self, sessions: StatefulSessions) -> None:
        """Count up in one session after another; what raised may have been written, or not."""
        while True:
            for token in self.tokens:
                with contextlib.suppress(StateUnavailable):
                    session = await sessions.open(token)
                    session["n"] += 1
                    await sessions.commit(session)
                    self.acknowledged[token] = session["n"]
                    self.last_write = time.monotonic()
                await asyncio.sleep(0.002)


async def back(app: App, since: float) -> tuple[float, float]:
    """Wait until reads and writes work again; return the seconds that each took."""
    while min(app.last_read, app.last_write) <= since:
        await asyncio.sleep(0.001)
    return app.last_read - since, app.last_write - since


async def show(name: str, server: StateServer, kills: int) -> bool:
    """Kill an engine some times; return whether all went well."""
    app = App(server.url)
    reading, writing = await app.open(), await app.open()
    await app.begin(writing)
    tasks = [asyncio.ensure_future(app.read(reading)), asyncio.ensure_future(app.write(writing))]
    reads, writes, away = [0.0], [0.0], []
    for _ in range(kills):
        await asyncio.sleep(1.0)
        killed = time.monotonic()
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        serves = time.monotonic()
        away.append(serves - killed)
        read, write = await back(app, serves)
        reads.append(read)
        writes.append(write)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    fresh = await app.open()
    lost = 0
    for token, number in app.acknowledged.items():
        session = await fresh.open(token)
        lost += session.new or session["n"] < number
    print(
        f"{name:7} {kills} kills, away {max(away):.2f} s at most; after it served again reads were back within "
        f"{max(reads) * 1e3:.0f} ms, writes within {max(writes) * 1e3:.0f} ms; "
        f"{sum(app.acknowledged.values()):,} acknowledged writes, {lost} lost"
    )
    return not lost and max(reads) < 1.0


def main() -> int:
    """Show every engine; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    good = True
    for name, make in ENGINES.items():
        with tempfile.TemporaryDirectory() as directory:
            server = make(Path(directory))
            server.start()
            try:
                good = asyncio.run(show(name, server, options.kills)) and good
            finally:
                server.kill()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
