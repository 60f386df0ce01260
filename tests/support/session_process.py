"""A process with sessions, as one of an app's: does what its standard input says. `python session_process.py URL`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

from edgewise.contracts.state import StateUnavailable
from edgewise.sessions import Sessions, SessionSettings, StateSettings
from edgewise.state.opening import Options, open_engine

HOST = "shop.example"
COOKIE = "__Host-session"


class SessionProcess:
    """One such process, seen from a test."""

    def __init__(self, url: str, **settings: Any) -> None:
        command = [sys.executable, str(Path(__file__)), url, json.dumps(settings)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have something done; return what came of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return cast("dict[str, Any]", json.loads(self._process.stdout.readline()))

    def read(self, cookie: str) -> dict[str, Any]:
        """Return the data of a session, {} for none."""
        return cast("dict[str, Any]", self.ask("read", cookie=cookie)["data"])

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.communicate()


async def _do(sessions: Sessions, asked: dict[str, Any]) -> dict[str, Any]:
    cookie = asked.get("cookie", "")
    if asked["do"] == "revoke":
        await sessions.revoke(asked["user"])
        return {}
    if asked["do"] == "count":
        return await _count(sessions, cookie, asked["file"], asked["seconds"])
    if asked["do"] == "watch":
        return await _watch(sessions, cookie, asked["file"], asked["seconds"])
    known = sessions.store.recall(cookie.partition("=")[2]) if cookie else None  # type: ignore[attr-defined]
    session = await sessions.open([cookie], HOST)
    if asked["do"] == "read":
        return {"data": dict(session), "user": session.user, "copied": known is not None}
    if asked["do"] == "login":
        session.login(asked["user"])
    elif asked["do"] == "logout":
        session.logout()
    session.update(asked.get("data", {}))
    fields = await sessions.commit(session, HOST)
    return {"cookie": fields[0].partition(";")[0] if fields else cookie}


async def _count(sessions: Sessions, cookie: str, file: str, seconds: float) -> dict[str, Any]:
    """Count up in a session; write each number that was acknowledged into a file, before the next is begun."""
    number = 0
    until = time.monotonic() + seconds
    with open(file, "r+b", buffering=0) as acknowledged:
        while time.monotonic() < until:
            try:
                session = await sessions.open([cookie], HOST)
                session["n"] = number = session["n"] + 1
                await sessions.commit(session, HOST)
            except StateUnavailable:  # it may have been written, or not
                continue
            acknowledged.seek(0)
            acknowledged.write(b"%012d" % number)
    return {"n": number}


async def _watch(sessions: Sessions, cookie: str, file: str, seconds: float) -> dict[str, Any]:
    """Read a session again and again; tell how often it was older than what had been acknowledged before the read."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    reads = old = copied = 0
    with open(file, "rb", buffering=0) as acknowledged:
        while loop.time() < until:
            acknowledged.seek(0)
            least = int(acknowledged.read(12))
            copied += sessions.store.recall(cookie.partition("=")[2]) is not None  # type: ignore[attr-defined]
            session = await sessions.open([cookie], HOST)
            old += session["n"] < least
            reads += 1
    return {"reads": reads, "old": old, "copied": copied}


async def _serve(url: str, settings: dict[str, Any]) -> None:
    engine = await open_engine(url, Options(patience=15.0))
    sessions = Sessions(SessionSettings(state=StateSettings(url=url), **settings), engine)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await _do(sessions, json.loads(line))), flush=True)
    await engine.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], json.loads(sys.argv[2])))
