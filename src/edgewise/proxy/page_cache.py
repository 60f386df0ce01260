"""Reads of files: at once what the page cache has, by a thread what it has not, so that a slow disk holds up nobody."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_threads = ThreadPoolExecutor(4, "files")


def read(descriptor: int, piece: memoryview, start: int) -> int:
    """Read from `start` on; return how many bytes were read. Raises BlockingIOError where that would wait, OSError."""
    try:
        return os.preadv(descriptor, [piece], start, os.RWF_NOWAIT)
    except BlockingIOError:
        raise
    except OSError:  # a file system that cannot tell
        return os.preadv(descriptor, [piece], start)


def fetch(
    loop: AbstractEventLoop, descriptor: int, start: int, size: int, done: Callable[[Future[bytes]], None]
) -> None:
    """Have a thread read into the page cache; `done` is called on the loop, also where that failed."""
    reading = _threads.submit(os.pread, descriptor, size, start)
    reading.add_done_callback(lambda ended: loop.call_soon_threadsafe(done, ended))
