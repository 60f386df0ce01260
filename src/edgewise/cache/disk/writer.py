"""The thread that writes entries, so that nobody waits for the disk: what it has no room for is only not stored."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Event, Lock, Thread
from time import monotonic

from edgewise.cache.disk import layout
from edgewise.cache.disk.files import Files, write_all
from edgewise.cache.disk.layout import Head, Metadata
from edgewise.cache.memory import MOST_VARIANTS, MOST_VARY
from edgewise.cache.stored import Stored

log = logging.getLogger("edgewise.cache")
MOST_WAITING = 33_554_432
"""Bytes of objects that wait to be written."""
_QUIET = 60.0
"""Seconds between two words about a disk that takes nothing."""


class _Job:
    """An object that is to be written."""

    __slots__ = ("cancelled", "epoch", "size", "stored")

    def __init__(self, stored: Stored, epoch: int) -> None:
        self.stored = stored
        self.epoch = epoch
        self.size = stored.size
        self.cancelled = False


class Writer:
    """Writes and removes files in a thread, which begins with the first of them."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: Thread | None = None
        self._lock = Lock()
        """Held while an entry is given its name: one that was discarded meanwhile does not get it."""
        self._jobs: dict[bytes, _Job] = {}
        """Key -> the latest object of this key that is to be written."""
        self._waiting = 0
        self._complained = -_QUIET

    # ---- what the store asks for -------------------------------------------------------------------------------------

    def put(self, stored: Stored, epoch: int) -> bool:
        """Have an object written; False where too much waits already."""
        job = _Job(stored, epoch)
        with self._lock:
            if self._waiting + job.size > MOST_WAITING:
                return False
            self._waiting += job.size
            if stored.key in self._jobs:
                self._jobs[stored.key].cancelled = True
            self._jobs[stored.key] = job
        self.do(partial(self._store, job))
        return True

    def discard(self, stored: Stored) -> None:
        """Remove an object, written or about to be: it is not found any more on return, though a later one may be."""
        name = layout.hash_of(stored.key)
        with self._lock:
            if stored.key in self._jobs:
                self._jobs[stored.key].cancelled = True
            head = self._files.head(name)
            if head is None or head.metadata.received <= stored.received:
                self._files.remove(name)
        self.remove(stored.file)

    def remove(self, file: str) -> None:
        """Remove the file of an object's content, where it has one."""
        if file:
            self.do(partial(self._files.remove, file))

    def abandon(self, stored: Stored) -> None:
        """Remove the content of an object that is not to be written, unless the entry that is there has the same."""
        if stored.file:
            self.do(partial(self._abandon, stored))

    def touch(self, stored: Stored) -> None:
        """Note that an object is in use, and so what leads to it."""
        self.do(partial(self._touch, (stored.key, stored.primary)))

    def do(self, work: Callable[[], None]) -> None:
        """Do some work on files after what was asked for before."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="edgewise-cache-writer", daemon=True)
            self._thread.start()
        self._queue.put(work)

    def flush(self, seconds: float) -> bool:
        """Wait for what was asked for so far; False where it takes longer."""
        if self._thread is None:
            return True
        done = Event()
        self._queue.put(done.set)
        return done.wait(seconds)

    # ---- in the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            work = self._queue.get()
            try:
                work()
            except OSError as error:
                self.failed(error)
            except Exception:
                log.exception("cache: a file was not written")

    def failed(self, error: OSError) -> None:
        """Say that the disk takes nothing, now and then."""
        if monotonic() - self._complained >= _QUIET:
            self._complained = monotonic()
            # As text: whoever keeps log records would keep the open file of the one who failed.
            log.error("cache: an answer is not kept on disk: %s", str(error))

    def _store(self, job: _Job) -> None:
        kept = False
        try:
            kept = not job.cancelled and self._write(job)
        finally:
            with self._lock:
                self._waiting -= job.size
                if self._jobs.get(job.stored.key) is job:
                    del self._jobs[job.stored.key]
            if job.stored.file and not kept:
                self._abandon(job.stored)

    def _abandon(self, stored: Stored) -> None:
        head = self._files.head(layout.hash_of(stored.key))
        if head is None or head.metadata.file != stored.file:
            self._files.remove(stored.file)

    def _write(self, job: _Job) -> bool:
        """Write an entry; False where another worker stored a later one, or its content is gone."""
        stored, name = job.stored, layout.hash_of(job.stored.key)
        if stored.file and self._files.size(stored.file) != stored.length:
            return False
        size = self._files.size(name)
        before = None if size < 0 else self._files.head(name)
        if before is not None and before.metadata.received > stored.received and before.epoch >= job.epoch:
            return False
        if not self._place(name, layout.describe(stored, job.epoch), stored.body, size, job):
            return False
        if before is not None and before.metadata.file not in ("", stored.file):
            self._files.remove(before.metadata.file)
        if stored.vary:
            self._register(stored)
        return True

    def _place(self, name: str, head: Head, content: bytes, before: int, job: _Job | None = None) -> bool:
        """Write an entry under a temporary name and give it its own; False where the job was cancelled meanwhile.

        `before`: bytes of the one that is there, -1: there is none.
        """
        data = layout.encode(head) + content
        descriptor, path = self._files.create(name)
        try:
            try:
                write_all(descriptor, data, 0)
            finally:
                os.close(descriptor)
            with self._lock:
                if job is not None and job.cancelled:
                    os.unlink(path)
                    return False
                self._files.place(path, name, len(data), before)
        except OSError:
            with suppress(OSError):
                os.unlink(path)
            raise
        return True

    def _register(self, stored: Stored) -> None:
        """Note under the key of its request that there is this variant; the oldest of too many goes."""
        name = layout.hash_of(stored.primary)
        size = self._files.size(name)
        head = None if size < 0 else self._files.head(name)
        said = head.metadata if head is not None else Metadata(stored.primary)
        if said.names[:1] == (stored.vary,) and stored.key in said.variants:
            return
        names = (stored.vary, *(each for each in said.names if each != stored.vary))[:MOST_VARY]
        variants = [key for key in said.variants if key != stored.key]
        for key in variants[: 1 - MOST_VARIANTS]:
            self._files.forget(key)
        listed = (*variants[1 - MOST_VARIANTS :], stored.key)
        self._place(name, Head(0, 0.0, Metadata(stored.primary, names=names, variants=listed)), b"", size)
        if said.file:
            self._files.remove(said.file)

    def _touch(self, keys: tuple[bytes, ...]) -> None:
        for key in dict.fromkeys(keys):
            with suppress(OSError):
                os.utime(self._files.entry(key))
