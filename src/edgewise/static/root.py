"""A directory whose files are opened, and nothing that lies outside it, symbolic links included.

What is judged is what was opened: a handle that gives no access (O_PATH) is made first, the kernel says where it lies,
and only then it is opened for reading. Whoever moves directories and links about meanwhile gains nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from itertools import islice
from typing import NamedTuple

_VALID = 1.0
"""Seconds after which the root itself is looked up again: a deployment may have put another in its place."""
_MOST_ENTRIES = 10_000
"""Entries of a directory listed at most."""
_NO_SUCH = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO)


class Opened(NamedTuple):
    """What was found below a root."""

    file: FileIO | None
    """Open for reading; None for a directory."""
    stat: os.stat_result


class Entry(NamedTuple):
    """One entry of a directory."""

    name: bytes
    directory: bool
    size: int
    modified: float


class Root:
    """A directory, and what is below it. Names are relative to it and have no `..`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self._prefix = b""
        """Where the directory lies, without links, with a slash at its end."""
        self._until = 0.0

    def open(self, name: bytes, now: float) -> Opened | None:
        """Open a file, or find a directory; None where there is none or it lies outside. `now`: monotonic seconds.

        Raises OSError where it cannot be read, or the root is not there.
        """
        with self._found(name, now) as handle:
            if handle < 0:
                return None
            found = os.fstat(handle)
            if stat.S_ISDIR(found.st_mode):
                return Opened(None, found)
            if not stat.S_ISREG(found.st_mode):
                return None
            file = FileIO(os.open(_link(handle), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
            return Opened(file, os.fstat(file.fileno()))

    def entries(self, name: bytes, now: float) -> list[Entry]:
        """Return the files and directories in a directory, at most 10,000 of them. Raises OSError."""
        with self._found(name, now) as handle:
            if handle < 0:
                return []
            directory = os.open(_link(handle), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with os.scandir(directory) as found:
                    made = [self._entry(name, os.fsencode(entry.name), now) for entry in islice(found, _MOST_ENTRIES)]
            finally:
                os.close(directory)
        return [entry for entry in made if entry is not None]

    def _entry(self, directory: bytes, name: bytes, now: float) -> Entry | None:
        """Return what is listed of an entry; None for what would not be opened."""
        try:
            with self._found(directory + b"/" + name, now) as handle:
                if handle < 0:
                    return None
                found = os.fstat(handle)
        except OSError:
            return None
        if stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode):
            return Entry(name, stat.S_ISDIR(found.st_mode), found.st_size, found.st_mtime)
        return None

    @contextmanager
    def _found(self, name: bytes, now: float) -> Iterator[int]:
        """Give a handle to what has this name; -1 where nothing below the root has it."""
        self._look_up(now)
        try:
            handle = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno not in _NO_SUCH:
                raise
            yield -1
            return
        try:
            place = os.readlink(_link(handle)) + b"/"
            yield handle if place.startswith(self._prefix) else -1
        finally:
            os.close(handle)

    def _look_up(self, now: float) -> None:
        if now < self._until:
            return
        descriptor = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._forget()
        self._descriptor = descriptor
        self._prefix = os.readlink(_link(descriptor)).rstrip(b"/") + b"/"
        self._until = now + _VALID

    def _forget(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self._forget()


def _link(descriptor: int) -> bytes:
    return b"/proc/self/fd/%d" % descriptor
