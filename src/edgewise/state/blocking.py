"""State for code without an event loop: the threads of a WSGI app, scripts."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from edgewise.contracts.state import Count, EngineStatus, Entry, Lease, Message, StateEngine, StateUnavailable
from edgewise.state.opening import Options, open_engine, url_from_environment

Result = TypeVar("Result")
_START = 10.0
_CLOSE = 2.0


class BlockingState:
    """The calls of `contracts.state.StateEngine` from any thread, each waiting for its result.

    One engine on an event loop of its own, in a thread begun at the first call, and begun anew in a forked process (app
    servers fork after they imported the app). `url` None: what edgewise told the app it runs.
    """

    def __init__(self, url: str | None = None, options: Options | None = None) -> None:
        self.url = url or url_from_environment()
        self._options = options or Options()
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: StateEngine | None = None

    def _run(self, method: str, *arguments: Any, **named: Any) -> Any:
        loop, engine = self._started()
        call: Coroutine[Any, Any, Any] = getattr(engine, method)(*arguments, **named)
        return asyncio.run_coroutine_threadsafe(call, loop).result()

    def _started(self) -> tuple[asyncio.AbstractEventLoop, StateEngine]:
        if self._pid != os.getpid() or self._loop is None or self._engine is None:
            with self._lock if self._pid in (0, os.getpid()) else self._new_lock():
                if self._pid != os.getpid() or self._loop is None or self._engine is None:
                    self._start()
        assert self._loop is not None
        assert self._engine is not None
        return self._loop, self._engine

    def _new_lock(self) -> threading.Lock:
        """In a fork: the lock may be held by a thread that does not exist here."""
        self._lock = threading.Lock()
        return self._lock

    def _start(self) -> None:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="edgewise-state", daemon=True).start()
        try:
            opening = asyncio.run_coroutine_threadsafe(open_engine(self.url, self._options), loop)
            self._engine = opening.result(self._options.patience + _START)
        except BaseException:
            loop.call_soon_threadsafe(loop.stop)
            raise
        self._loop = loop
        self._pid = os.getpid()

    def get(self, key: str, *, stale: bool = False) -> Entry | None:
        """Return the entry; None where there is none."""
        entry: Entry | None = self._run("get", key, stale=stale)
        return entry

    def set(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Write; return the new revision."""
        return int(self._run("set", key, value, ttl))

    def compare_and_set(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int | None:
        """Write where the key is at `revision`, 0 for a new one; None: it is not."""
        written: int | None = self._run("compare_and_set", key, value, revision, ttl)
        return written

    def touch(self, key: str, ttl: float) -> bool:
        """Change the time to live."""
        return bool(self._run("touch", key, ttl))

    def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete; False: nothing was deleted."""
        return bool(self._run("delete", key, revision))

    def entries(self, prefix: str, after: str = "", limit: int = 1000) -> list[Entry]:
        """Return entries by prefix in the order of keys."""
        found: list[Entry] = self._run("entries", prefix, after, limit)
        return found

    def add(self, name: str, amount: int = 1, window: float | None = None) -> Count:
        """Add to a counter."""
        count: Count = self._run("add", name, amount, window)
        return count

    def count(self, name: str, window: float | None = None) -> int:
        """Return a counter."""
        return int(self._run("count", name, window))

    def publish(self, topic: str, payload: bytes) -> int:
        """Append to a topic; return the cursor."""
        return int(self._run("publish", topic, payload))

    def messages(self, topic: str, after: int, limit: int = 1000) -> list[Message]:
        """Return messages after a cursor. Raises ReplayGap."""
        found: list[Message] = self._run("messages", topic, after, limit)
        return found

    def last(self, topic: str) -> int:
        """Return a topic's last cursor."""
        return int(self._run("last", topic))

    def acquire(self, name: str, owner: str, ttl: float) -> Lease | None:
        """Take a lease that nobody holds."""
        lease: Lease | None = self._run("acquire", name, owner, ttl)
        return lease

    def renew(self, lease: Lease, ttl: float) -> Lease | None:
        """Hold on to a lease; None: it was lost."""
        renewed: Lease | None = self._run("renew", lease, ttl)
        return renewed

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        self._run("release", lease)

    def put_blob(self, key: str, data: bytes, ttl: float | None = None) -> None:
        """Keep a blob."""
        self._run("put_blob", key, data, ttl)

    def get_blob(self, key: str) -> bytes | None:
        """Return a blob."""
        data: bytes | None = self._run("get_blob", key)
        return data

    def delete_blob(self, key: str) -> bool:
        """Delete a blob."""
        return bool(self._run("delete_blob", key))

    def status(self) -> EngineStatus:
        """Return how the engine is doing."""
        status: EngineStatus = self._run("status")
        return status

    def close(self) -> None:
        """Let go of everything; a later call begins anew."""
        loop, engine, self._loop, self._engine = self._loop, self._engine, None, None
        if loop is None or engine is None or self._pid != os.getpid():
            return
        try:
            asyncio.run_coroutine_threadsafe(engine.close(), loop).result(_CLOSE)
        except (TimeoutError, StateUnavailable):
            pass
        finally:
            loop.call_soon_threadsafe(loop.stop)
