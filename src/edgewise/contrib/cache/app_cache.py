"""The cache of an app, for its threads and its event loops."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from edgewise.contracts.state import StateEngine, StateUnavailable
from edgewise.contrib.cache.filling import MISSING, Filling, Wanted, renewal_due, value_of
from edgewise.contrib.cache.flights import Flights, TaskWaiting, ThreadWaiting
from edgewise.contrib.cache.keys import digest
from edgewise.contrib.cache.memory import Copy, Memory
from edgewise.contrib.cache.store import AWAY, LONGEST, Begun, Record, Store, tag_digests
from edgewise.contrib.cache.values import Codec, Pickled, Plain
from edgewise.contrib.engines import ThreadState, open_state, run_now
from edgewise.sessions import StateSettings

T = TypeVar("T")
log = logging.getLogger("edgewise.cache")
MOST_RENEWALS = 8
"""Values that the threads of a process renew at a time in the background."""
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


Recalled = tuple[Any, Copy | None]
"""A value, MISSING where there is none, and its copy where it is to be renewed."""
NOTHING: Recalled = (MISSING, None)


class OfLoop(NamedTuple):
    """What belongs to one event loop."""

    engine: StateEngine
    store: Store
    filling: Filling
    waiting: TaskWaiting


class AppCache:
    """Values of an app, in a process's own memory over the state engine that all its processes share.

    Methods that begin with `a` are for event loops, the others for threads. `get`, `get_many` and `get_or_compute` do
    without an engine that does not answer; what writes or purges raises StateUnavailable then.
    """

    def __init__(
        self,
        *,
        state: StateSettings | None = None,
        namespace: str = "app",
        memory: int = 32 << 20,
        copy_age: float = 1.0,
        pickle_secrets: Sequence[str] = (),
    ) -> None:
        """`memory` in bytes for each process; `copy_age`: seconds that a process goes on with what it read where the
        engine cannot tell that it changed (NATS, Redis). With `pickle_secrets` values are pickled and signed.
        """
        if not _NAMESPACE.fullmatch(namespace):
            raise ValueError(f'{namespace!r} is not a namespace: 1 to 40 of a-z, 0-9 and "-"')
        if not 0 <= copy_age <= 3600 or memory < 0:
            raise ValueError("copy_age is 0 s to an hour, memory not negative")
        self._settings = state or StateSettings()
        self._namespace = namespace
        self._memory_bytes = memory
        self._copy_age = copy_age
        self.codec: Codec = Pickled(pickle_secrets) if pickle_secrets else Plain()
        self._begin()
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _begin_anew(reference()))

    def _begin(self) -> None:
        """Begin with nothing; also in a forked process, as threads that held locks are not there."""
        self.memory = Memory(self._memory_bytes)
        self._flights = Flights()
        self._lock = threading.Lock()
        self._renewals = threading.BoundedSemaphore(MOST_RENEWALS)
        self._of_threads: tuple[ThreadState, Store, Filling] | None = None
        self._of_loops: dict[asyncio.AbstractEventLoop, asyncio.Task[OfLoop]] = {}
        self._unopened_until = 0.0

    def _threads(self) -> tuple[ThreadState, Store, Filling]:
        if self._of_threads is None:
            with self._lock:
                if self._of_threads is None:
                    engine = ThreadState(self._settings)
                    _living.add(self)
                    store = Store(engine, self.memory, self._namespace, self._copy_age)
                    self._of_threads = engine, store, Filling(store, self._flights, ThreadWaiting())
        return self._of_threads

    @property
    def store(self) -> Store:
        """The store, for threads; its coroutines are run by `contrib.engines.run_now`. Raises StateError."""
        return self._threads()[1]

    async def _loop(self) -> OfLoop:
        loop = asyncio.get_running_loop()
        opening = self._of_loops.get(loop)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception() is not None)):
            for ended in [each for each in list(self._of_loops) if each.is_closed()]:
                self._of_loops.pop(ended, None)
            opening = self._of_loops[loop] = loop.create_task(self._open())
            _living.add(self)
        return await asyncio.shield(opening)

    async def _loop_if_open(self) -> OfLoop | None:
        """Return what belongs to this loop; None while its engine does not answer so that it could be opened."""
        if time.monotonic() < self._unopened_until:
            return None
        try:
            return await self._loop()
        except StateUnavailable as error:
            self._unopened_until = time.monotonic() + AWAY
            log.warning("the cache does without its store for %g s: %s", AWAY, error)
            return None

    async def _open(self) -> OfLoop:
        engine = await open_state(self._settings)
        store = Store(engine, self.memory, self._namespace, self._copy_age)
        waiting = TaskWaiting()
        return OfLoop(engine, store, Filling(store, self._flights, waiting), waiting)

    def close(self) -> None:
        """Disconnect what the threads use; the next call begins anew."""
        with self._lock:
            held, self._of_threads = self._of_threads, None
        self._leave_if_closed()
        if held is not None:
            held[0].close()

    async def aclose(self) -> None:
        """Disconnect what this event loop uses."""
        opening = self._of_loops.pop(asyncio.get_running_loop(), None)
        self._leave_if_closed()
        if opening is not None:
            await (await opening).engine.close()

    def _leave_if_closed(self) -> None:
        """Purges of all layers need not come here any more, where nothing is open."""
        if self._of_threads is None and all(loop.is_closed() for loop in list(self._of_loops)):
            _living.discard(self)

    # What was computed, or is.

    def recall(self, key: str, codec: Codec) -> Recalled:
        """Return what memory has of a digest: its value, and its copy where it is to be renewed."""
        copy = self.memory.copies.get(key)
        if copy is None:
            return NOTHING
        left = copy.left()
        if left <= 0:
            return NOTHING
        copy.visited = True
        return value_of(copy, codec), copy if renewal_due(copy, left, time.monotonic()) else None

    def compute(self, wanted: Wanted, recalled: Recalled = NOTHING) -> Any:
        """Return a value, kept or made now; what is due is renewed in a thread."""
        value, due = recalled
        if value is MISSING:
            _engine, store, filling = self._threads()
            value, due = _judged(run_now(store.find(wanted.key)), wanted.codec)
            if value is MISSING:
                return run_now(filling.get(wanted))
        if due is not None:
            self._renew(wanted, due)
        return value

    def _renew(self, wanted: Wanted, copy: Copy) -> None:
        if not self._renewals.acquire(blocking=False):
            return
        copy.renew_at = time.monotonic() + wanted.lease
        filling, renewals, context = self._threads()[2], self._renewals, contextvars.copy_context()

        def work() -> None:
            try:
                context.run(run_now, filling.renew(wanted, copy))
            finally:
                renewals.release()

        threading.Thread(target=work, name="edgewise-cache-renewal", daemon=True).start()

    async def acompute(self, wanted: Wanted, recalled: Recalled = NOTHING) -> Any:
        """Return a value, kept or made now; what is due is renewed in a task."""
        value, due = recalled
        of_loop = await self._loop_if_open()
        if of_loop is None:
            return await wanted.compute() if value is MISSING else value
        if value is MISSING:
            value, due = _judged(await of_loop.store.find(wanted.key), wanted.codec)
            if value is MISSING:
                return await of_loop.filling.get(wanted)
        if due is not None:
            due.renew_at = time.monotonic() + wanted.lease
            of_loop.waiting.begin(of_loop.filling.renew(wanted, due))
        return value

    # Keys of one's own.

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, `default` where there is none."""
        return self._value(run_now(self.store.find(key_digest(key))), default)

    async def aget(self, key: str, default: Any = None) -> Any:
        """See `get`."""
        of_loop = await self._loop_if_open()
        return default if of_loop is None else self._value(await of_loop.store.find(key_digest(key)), default)

    def _value(self, copy: Copy | None, default: Any) -> Any:
        value = MISSING if copy is None else value_of(copy, self.codec)
        return default if value is MISSING else value

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those keys that have one."""
        found = {key: self.get(key, MISSING) for key in keys}
        return {key: value for key, value in found.items() if value is not MISSING}

    async def aget_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """See `get_many`."""
        names = list(keys)
        values = await asyncio.gather(*(self.aget(key, MISSING) for key in names))
        return {key: value for key, value in zip(names, values, strict=True) if value is not MISSING}

    def set(self, key: str, value: Any, ttl: float, *, tags: Iterable[str] = ()) -> None:
        """Keep a value for `ttl` seconds. Raises TypeError or ValueError for what cannot be kept.

        It counts as computed now: what takes a while, and may be purged meanwhile, is for `get_or_compute`.
        """
        run_now(self._set(self.store, key_digest(key), value, ttl, list(tags)))

    async def aset(self, key: str, value: Any, ttl: float, *, tags: Iterable[str] = ()) -> None:
        """See `set`."""
        await self._set((await self._loop()).store, key_digest(key), value, ttl, list(tags))

    async def _set(self, store: Store, key: str, value: Any, ttl: float, names: list[str]) -> None:
        data = self.codec.encode(key, value)
        tags = tag_digests(names)
        begun: Begun = await store.begin_write(key, tags)
        await store.write(key, Record(0.0, 0.0, begun.since, tags, data, names=names), check_times(ttl))

    def get_or_compute(
        self,
        key: str,
        function: Callable[[], T],
        ttl: float,
        *,
        tags: Iterable[str] = (),
        stale: float = 0.0,
        lease: float = 10.0,
    ) -> T:
        """Return the value of a key; where there is none, what the function returns, called once at a time."""

        async def compute() -> T:
            return function()

        wanted = self._wanted(key, compute, ttl, tags, stale, lease)
        value: T = self.compute(wanted, self.recall(wanted.key, self.codec))
        return value

    async def aget_or_compute(
        self,
        key: str,
        function: Callable[[], Awaitable[T]],
        ttl: float,
        *,
        tags: Iterable[str] = (),
        stale: float = 0.0,
        lease: float = 10.0,
    ) -> T:
        """See `get_or_compute`."""
        wanted = self._wanted(key, function, ttl, tags, stale, lease)
        value: T = await self.acompute(wanted, self.recall(wanted.key, self.codec))
        return value

    def _wanted(
        self,
        key: str,
        compute: Callable[[], Awaitable[Any]],
        ttl: float,
        tags: Iterable[str],
        stale: float,
        lease: float,
    ) -> Wanted:
        check_times(ttl, stale, lease)
        names = tuple(tags)
        return Wanted(key_digest(key), compute, self.codec, ttl, tuple(tag_digests(names)), stale, lease, names)

    # Invalidation, of digests and of names.

    def forget(self, key: str) -> None:
        """Delete what a digest stands for; a computation that is under way is not kept."""
        run_now(self.store.delete(key))

    async def aforget(self, key: str) -> None:
        """See `forget`."""
        await (await self._loop()).store.delete(key)

    def delete(self, key: str) -> None:
        """Delete a key; a computation of it that is under way is not kept."""
        self.forget(key_digest(key))

    async def adelete(self, key: str) -> None:
        """See `delete`."""
        await self.aforget(key_digest(key))

    def purge_tags(self, tags: Iterable[str]) -> None:
        """Let nothing be used that has one of the tags and was begun before this returns."""
        self.purge_digests(tag_digests(tags))

    def purge_tags_in_turn(self, tags: Iterable[str]) -> None:
        """See `purge_tags`; for any number of them."""
        self.purge_digests([digest("tag", tag) for tag in tags])

    async def apurge_tags(self, tags: Iterable[str]) -> None:
        """See `purge_tags`."""
        await self.apurge_digests(tag_digests(tags))

    def purge_digests(self, tags: Iterable[str]) -> None:
        """See `purge_tags`."""
        run_now(self.store.purge(tags))

    async def apurge_digests(self, tags: Iterable[str]) -> None:
        """See `purge_tags`."""
        await (await self._loop()).store.purge(tags)

    def clear(self) -> None:
        """Let nothing of the namespace be used that was begun before this returns."""
        run_now(self.store.clear())

    async def aclear(self) -> None:
        """See `clear`."""
        await (await self._loop()).store.clear()


_living: weakref.WeakSet[AppCache] = weakref.WeakSet()


def living_caches() -> list[AppCache]:
    """Return the caches of this process that were used and not closed since."""
    return list(_living)


def _begin_anew(cache: AppCache | None) -> None:
    if cache is not None:
        cache._begin()


def key_digest(key: str) -> str:
    """Return what stands for a key of one's own."""
    return digest("own", key)


def check_times(ttl: float, stale: float = 0.0, lease: float = 10.0) -> float:
    """Return `ttl`. Raises ValueError for times out of their bounds, in seconds."""
    if not 0.001 <= ttl <= LONGEST or not 0 <= stale <= LONGEST or not ttl + stale <= LONGEST:
        raise ValueError("ttl is 1 ms to 30 days, with the stale time that follows it")
    if not 1 <= lease <= 600:
        raise ValueError("lease is a second to 10 minutes")
    return ttl


def _judged(copy: Copy | None, codec: Codec) -> Recalled:
    """Return what was just found, as `AppCache.recall` does; its entry tells how long it lives on."""
    if copy is None:
        return NOTHING
    entry = copy.snapshot.entry
    left = float("inf") if entry is None or entry.ttl is None else entry.ttl
    return value_of(copy, codec), copy if renewal_due(copy, left, time.monotonic()) else None
