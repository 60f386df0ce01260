"""One computation at a time of each key in a process, whichever of its threads and tasks ask."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class Flight:
    """A computation that is under way."""

    __slots__ = ("_lock", "_wakers", "done", "leader", "shared")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], None]] = []
        self.done = False
        self.leader: object = None
        """The thread or task that computes."""
        self.shared = False
        """Once done: is what came of it in the store, for those who waited to look at?"""

    def when_done(self, waker: Callable[[], None]) -> None:
        """Have a function called, in any thread, once the computation ends."""
        with self._lock:
            if not self.done:
                self._wakers.append(waker)
                return
        waker()

    def finish(self, shared: bool) -> None:
        """Wake those who wait."""
        with self._lock:
            self.shared = shared
            self.done = True
            wakers, self._wakers = self._wakers, []
        for waker in wakers:
            waker()


class Flights:
    """The computations of this process by their keys."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}

    def join(self, key: str) -> tuple[Flight, bool]:
        """Return the flight of a key, and whether it was begun by this call: who did must `finish` it."""
        with self._lock:
            found = self._flights.get(key)
            if found is not None:
                return found, False
            flight = self._flights[key] = Flight()
            return flight, True

    def finish(self, key: str, flight: Flight, shared: bool) -> None:
        """End a flight."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
        flight.finish(shared)


class Waiting(Protocol):
    """What differs between threads and tasks."""

    def me(self) -> object:
        """Return who runs."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def wait(self, flight: Flight, seconds: float) -> None:
        """Wait for the end of a flight, so many seconds at most."""

    async def finish(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do work that goes on when who asked for it leaves."""


class ThreadWaiting:
    """For coroutines that are run by `contrib.engines.run_now`: the thread waits."""

    def me(self) -> object:
        """See `Waiting`."""
        return threading.get_ident()

    async def sleep(self, seconds: float) -> None:
        """See `Waiting`."""
        time.sleep(seconds)

    async def wait(self, flight: Flight, seconds: float) -> None:
        """See `Waiting`."""
        ended = threading.Event()
        flight.when_done(ended.set)
        ended.wait(seconds)

    async def finish(self, work: Coroutine[Any, Any, Result]) -> Result:
        """See `Waiting`; nobody can make a thread leave."""
        return await work


class TaskWaiting:
    """For tasks of an event loop."""

    def __init__(self) -> None:
        self._working: set[asyncio.Task[Any]] = set()

    def me(self) -> object:
        """See `Waiting`."""
        return asyncio.current_task()

    async def sleep(self, seconds: float) -> None:
        """See `Waiting`."""
        await asyncio.sleep(seconds)

    async def wait(self, flight: Flight, seconds: float) -> None:
        """See `Waiting`."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits there
                loop.call_soon_threadsafe(ended.set)

        flight.when_done(wake)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), seconds)

    async def finish(self, work: Coroutine[Any, Any, Result]) -> Result:
        """See `Waiting`: a task whose request was cancelled does not take along what others wait for."""
        return await asyncio.shield(self.begin(work))

    def begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Begin work in a task of its own."""
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever still waits; else nobody asks for it
