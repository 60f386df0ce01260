"""What sessions cost: CPU microseconds a call, in this process.  python -m bench.sessions

One request is: the Cookie field, the session, one value of it, and the commit that finds nothing to write.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edgewise.contrib.engines import ThreadState, run_now
from edgewise.sessions import Sessions, SessionSettings, StateSettings
from edgewise.sessions.sealing import Sealer
from edgewise.state.sqlite.engine import SqliteEngine
from edgewise.testing.state import MemoryStateEngine

SESSIONS = 1000
CALLS = 5000
ROUNDS = 5
HOST = "shop.example"
DATA = {"cart": [{"sku": "a-1", "quantity": 2}, {"sku": "b-2", "quantity": 1}], "theme": "dark", "visits": 12}


async def cost(call: Callable[[int], Awaitable[object]]) -> float:
    """Return the CPU microseconds of one call: the median of a few rounds."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for number in range(CALLS):
            await call(number)
        rounds.append((time.process_time() - begun) / CALLS * 1e6)
    return median(rounds)


async def begin(sessions: Sessions, user: bool) -> list[str]:
    """Return the cookies of sessions that hold DATA."""
    cookies = []
    for number in range(SESSIONS):
        session = await sessions.open([], HOST)
        session.update(DATA)
        if user:
            session.login(f"user {number}")
        pairs = [cookie.partition(";")[0] for cookie in await sessions.commit(session, HOST)]
        cookies.append("; ".join(["theme=dark", *pairs]))
    return cookies


async def row(name: str, sessions: Sessions, *, user: bool = False, same: bool = False) -> None:
    """Print what a request costs."""
    cookies = await begin(sessions, user)

    async def request(number: int) -> None:
        session = await sessions.open([cookies[0 if same else number % SESSIONS]], HOST)
        assert session["visits"] == 12
        assert not await sessions.commit(session, HOST)

    print(f"{name:<62} {await cost(request):6.1f}")


async def measure(directory: Path) -> None:
    """Print every row."""
    state = StateSettings(url=f"sqlite:{directory}")
    stateful = SessionSettings(state=state)
    stateless = SessionSettings(kind="stateless", state=state, secrets=("s" * 32,))
    engine = SqliteEngine(directory)
    key = "session/bench"
    await engine.set(key, b"x" * 200, 1000.0)
    print(f"{'SQLite: get of one key, of which':<62} {await cost(lambda _: engine.get(key)):6.1f}")
    await row("stateful, in memory (the session layer alone)", Sessions(stateful, MemoryStateEngine()))
    await row("stateful, SQLite, nobody logged in", Sessions(stateful, engine))
    await row("stateful, SQLite, logged in, one user's requests", Sessions(stateful, engine), user=True, same=True)
    await row("stateful, SQLite, logged in, another user each time", Sessions(stateful, engine), user=True)
    await row("stateless, nobody logged in", Sessions(stateless, engine))
    await row("stateless, logged in, one user's requests", Sessions(stateless, engine), user=True, same=True)
    await row("stateless, logged in, another user each time", Sessions(stateless, engine), user=True)
    jwt = SessionSettings(kind="jwt", state=state, secrets=("s" * 32,))
    await row("JWT (HS256), logged in, one user's requests", Sessions(jwt, engine), user=True, same=True)
    await row("JWT (HS256), logged in, another user each time", Sessions(jwt, engine), user=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    jwt = SessionSettings(kind="jwt", state=state, keys=(pem,))
    await row("JWT (EdDSA), logged in, one user's requests", Sessions(jwt, engine), user=True, same=True)
    await row("JWT (EdDSA), logged in, another user each time", Sessions(jwt, engine), user=True)
    sealer = Sealer(["s" * 32])
    data = b"x" * 60 + bytes(range(140))
    token = sealer.seal(data, b"context")

    async def seal(_: int) -> None:
        sealer.seal(data, b"context")

    async def opened(_: int) -> None:
        sealer.open(token, b"context")

    print(f"{'sealed cookie of 200 bytes: seal':<62} {await cost(seal):6.1f}")
    print(f"{'sealed cookie of 200 bytes: open':<62} {await cost(opened):6.1f}")
    await engine.close()


def blocking(directory: Path) -> None:
    """Print what threads of WSGI apps pay."""
    settings = SessionSettings(state=StateSettings(url=f"sqlite:{directory}"))
    threads = ThreadState(StateSettings(url=f"sqlite:{directory}"))
    sessions = Sessions(settings, threads)
    session = run_now(sessions.open([], HOST))
    session.update(DATA)
    cookie = run_now(sessions.commit(session, HOST))[0].partition(";")[0]

    async def request(_: int) -> None:
        session = run_now(sessions.open([cookie], HOST))
        assert session["visits"] == 12
        assert not run_now(sessions.commit(session, HOST))

    print(f"{'stateful, SQLite, in a thread of a WSGI app':<62} {asyncio.run(cost(request)):6.1f}")
    threads.close()


def main() -> None:
    """Measure against a writer of its own."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "state"
        command = [sys.executable, "-m", "edgewise.state.sqlite", str(directory)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            asyncio.run(measure(directory))
            blocking(directory)
            writer.communicate()


if __name__ == "__main__":
    main()
