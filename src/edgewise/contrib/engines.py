"""Opens the state engine of an app: on its event loop, or for threads that have none."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from edgewise.contracts.state import PAGE, Entry, Lease, Snapshot, StateEngine
from edgewise.sessions import StateSettings
from edgewise.state.blocking import BlockingState
from edgewise.state.opening import Options, embedded_directory, open_engine, url_from_environment
from edgewise.state.sqlite.reader import Reader

Result = TypeVar("Result")
_LOOK_AGAIN = 0.02


def _options(settings: StateSettings) -> Options:
    return Options(
        patience=settings.patience,
        replicas=settings.replicas,
        local_copy=settings.local_copy,
        allow_eviction=settings.allow_eviction,
    )


async def open_state(settings: StateSettings) -> StateEngine:
    """Return a client of the engine on the running event loop. Raises StateError or StateUnavailable.

    The files of an embedded engine, which an app that starts together with edgewise may be ahead of, are waited for as
    long as a call would be; where they do not come, calls say so.
    """
    url = settings.url or url_from_environment()
    engine = await open_engine(url, _options(settings))
    directory = embedded_directory(url)
    if directory is not None:
        reader = Reader(directory)
        deadline = time.monotonic() + settings.patience
        while not reader.ready() and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_AGAIN)
        reader.close()
    return engine


def run_now(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine that never waits, as those of sessions on a `BlockingState`."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine that should not wait does")


class ThreadState:
    """What sessions and the cache need of an engine, for threads without an event loop: calls wait, in that thread.

    What the embedded engine keeps is read in the calling thread: the way to the engine's loop and back would cost some
    ten times more.
    """

    def __init__(self, settings: StateSettings) -> None:
        self._settings = settings
        self._url = settings.url or url_from_environment()
        self._state = BlockingState(self._url, _options(settings))
        self._local = threading.local()

    def _reader(self) -> Reader | None:
        """Return what this thread reads the embedded engine with; None for other engines."""
        if getattr(self._local, "pid", 0) != os.getpid():
            directory = embedded_directory(self._url)
            self._local.reader = None if directory is None else self._opened(directory)
            self._local.pid = os.getpid()
        reader: Reader | None = self._local.reader
        return reader

    def _opened(self, directory: Path) -> Reader:
        """Return a reader of the files, once they are made; see `open_state`."""
        reader = Reader(directory)
        deadline = time.monotonic() + self._settings.patience
        while not reader.ready() and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN)
        return reader

    async def get(self, key: str, *, stale: bool = False) -> Entry | None:
        """Return an entry."""
        reader = self._reader()
        return self._state.get(key, stale=stale) if reader is None else reader.get("keys", key)

    def snapshot(self, key: str) -> Snapshot | None:
        """Read the embedded engine, and be able to tell later, in any thread, whether that still holds."""
        reader = self._reader()
        return None if reader is None else reader.snapshot(key)

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Write."""
        return self._state.set(key, value, ttl)

    async def compare_and_set(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int | None:
        """Write where the key is at `revision`."""
        return self._state.compare_and_set(key, value, revision, ttl)

    async def touch(self, key: str, ttl: float) -> bool:
        """Give an entry another time to live."""
        return self._state.touch(key, ttl)

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete."""
        return self._state.delete(key, revision)

    async def entries(self, prefix: str, after: str = "", limit: int = PAGE) -> list[Entry]:
        """Return entries by prefix."""
        return self._state.entries(prefix, after, limit)

    async def acquire(self, name: str, owner: str, ttl: float) -> Lease | None:
        """Take a lease that nobody holds."""
        return self._state.acquire(name, owner, ttl)

    async def release(self, lease: Lease) -> None:
        """Give a lease back."""
        self._state.release(lease)

    def close(self) -> None:
        """Disconnect; the next call begins anew."""
        self._state.close()
