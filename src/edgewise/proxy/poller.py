"""Readiness of the engine's sockets: one epoll of its own, itself watched by the event loop.

An epoll descriptor can be polled like any other, so the loop wakes once for a batch of ready sockets. Compared with the
loop's own readers this saves half a microsecond a wake-up, most of the cost of a registration, and half a kilobyte a
connection (figures in docs/architecture.md).
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

_IN = select.EPOLLIN
_OUT = select.EPOLLOUT
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
_WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
_BATCH = 64
"""Sockets served in one wake-up, before the loop looks at its timers and other handles again."""

Callback = Callable[[], object]
Failed = Callable[[int, Callback, Exception], None]
"""Is told the descriptor whose callback raised, and what."""


class Poller:
    """Calls a reader or a writer while its descriptor is ready (level-triggered)."""

    __slots__ = ("_busy", "_dirty", "_epoll", "_failed", "_fresh", "_loop", "_readers", "_writers")

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Failed) -> None:
        """`failed` ends what the callback worked for, else its event would come again and again."""
        self._failed = failed
        self._epoll = select.epoll()
        self._fresh: set[int] = set()
        """Descriptors registered since the present batch began."""
        self._readers: dict[int, Callback] = {}
        self._writers: dict[int, Callback] = {}
        self._busy = False
        self._dirty: list[Callback] = []
        """What is to be done when the present batch is served."""
        self._loop = loop
        loop.add_reader(self._epoll.fileno(), self._wake)

    def _wake(self) -> None:
        """Serve a batch. An event for a descriptor that was closed and used anew within the batch is stale: skipped."""
        readers, writers, fresh = self._readers, self._writers, self._fresh
        fresh.clear()
        self._busy = True
        try:
            for fd, events in self._epoll.poll(0, _BATCH):
                if fresh and fd in fresh:
                    continue
                if events & _READABLE:
                    reader = readers.get(fd)
                    if reader is not None:
                        try:
                            reader()
                        except Exception as error:
                            self._failed(fd, reader, error)
                            continue
                if events & _WRITABLE:
                    writer = writers.get(fd)
                    if writer is not None:
                        try:
                            writer()
                        except Exception as error:
                            self._failed(fd, writer, error)
        finally:
            self._busy = False
            if self._dirty:
                self._flush()

    def after_batch(self, callback: Callback) -> None:
        """Call `callback` once when the present batch is served; soon, where none is being served."""
        self._dirty.append(callback)
        if not self._busy and len(self._dirty) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        left = iter(dirty)
        try:
            for callback in left:
                callback()
        finally:
            for callback in left:  # one failed: the others must not wait for ever
                self.after_batch(callback)

    def add_reader(self, fd: int, callback: Callback) -> None:
        """Call `callback` while `fd` is readable, in place of the reader it has. Raises OSError for a closed one."""
        if fd not in self._readers:
            self._watch(fd, _IN | _OUT if fd in self._writers else _IN, known=fd in self._writers)
        self._readers[fd] = callback

    def add_writer(self, fd: int, callback: Callback) -> None:
        """Call `callback` while `fd` is writable, in place of the writer it has."""
        if fd not in self._writers:
            self._watch(fd, _IN | _OUT if fd in self._readers else _OUT, known=fd in self._readers)
        self._writers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        """Watch `fd` for reading no more; nothing happens where it was not."""
        if self._readers.pop(fd, None) is not None:
            self._unwatch(fd, _OUT if fd in self._writers else 0)

    def remove_writer(self, fd: int) -> None:
        """Watch `fd` for writing no more; nothing happens where it was not."""
        if self._writers.pop(fd, None) is not None:
            self._unwatch(fd, _IN if fd in self._readers else 0)

    def _watch(self, fd: int, mask: int, *, known: bool) -> None:
        if known:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
            self._fresh.add(fd)

    def _unwatch(self, fd: int, mask: int) -> None:
        if mask:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.unregister(fd)
