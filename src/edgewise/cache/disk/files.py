"""The files of a cache directory as a worker makes and removes them, and how much disk that took and gave back."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from threading import Lock

from edgewise.cache.disk import layout
from edgewise.cache.disk.layout import Damaged


class Files:
    """Names, makes, places and removes files. Of several threads at once."""

    def __init__(self, directory: Path) -> None:
        self._root = f"{directory}/{layout.VERSION}"
        self._lock = Lock()
        self.written = 0
        """Bytes of disk that files took."""
        self.removed = 0
        """Bytes of disk that files gave back which were replaced or removed."""
        self.added = 0
        """Entries made that replaced none."""
        self.lost = 0
        """Entries removed."""

    def path(self, name: str) -> str:
        """Return where a file of this name is."""
        return f"{self._root}/{name[:3]}/{name}"

    def entry(self, key: bytes) -> str:
        """Return where the entry of a key is."""
        return self.path(layout.hash_of(key))

    def size(self, name: str) -> int:
        """Return the bytes of a file, -1 where it is not there."""
        try:
            return os.stat(self.path(name)).st_size
        except OSError:
            return -1

    def create(self, name: str) -> tuple[int, str]:
        """Open an empty file that is to get a name, and return where it is until then. Raises OSError."""
        path = f"{self.path(name)}.{token_hex(8)}.tmp"
        try:
            descriptor = _create(path)
        except FileNotFoundError:
            _make(os.path.dirname(path))
            descriptor = _create(path)
        return descriptor, path

    def place(self, path: str, name: str, size: int, before: int = -1) -> None:
        """Give a file of `size` bytes its name, in place of one of `before` bytes, -1: of none. Raises OSError."""
        os.rename(path, self.path(name))
        with self._lock:
            self.written += layout.on_disk(size)
            if before >= 0:
                self.removed += layout.on_disk(before)
            elif layout.ENTRY.fullmatch(name):
                self.added += 1

    def remove(self, name: str, status: os.stat_result | None = None) -> None:
        """Remove a file, with `status` only if it is still the one of that status; nothing where it cannot be."""
        path = self.path(name)
        with suppress(OSError):
            found = os.stat(path)
            if status is not None and (found.st_ino, found.st_dev) != (status.st_ino, status.st_dev):
                return
            os.unlink(path)
            with self._lock:
                self.removed += layout.on_disk(found.st_size)
                self.lost += bool(layout.ENTRY.fullmatch(name))

    def forget(self, key: bytes) -> None:
        """Remove what is stored under a key, with its content."""
        name = layout.hash_of(key)
        head = self.head(name)
        self.remove(name)
        if head is not None and head.metadata.file:
            self.remove(head.metadata.file)

    def head(self, name: str) -> layout.Head | None:
        """Return the head of an entry; None where there is none, or a damaged one."""
        try:
            return layout.read_head(self.path(name))
        except (OSError, Damaged):
            return None


def _make(directory: str) -> None:
    """Make a directory and those above it that are missing, for nobody else to look into. Raises OSError."""
    parent = os.path.dirname(directory)
    if parent and not os.path.isdir(parent):
        _make(parent)
    with suppress(FileExistsError):
        os.mkdir(directory, 0o700)


def _create(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of the data at `offset`, or raise OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
