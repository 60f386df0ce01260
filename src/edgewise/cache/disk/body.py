"""The content of a large object while it comes: written to a file that whoever waits reads from."""

from __future__ import annotations

import os
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING

from edgewise.cache.disk import layout
from edgewise.cache.disk.files import Files, write_all

if TYPE_CHECKING:
    from edgewise.cache.disk.writer import Writer
    from edgewise.cache.stored import Stored


class BodyWriter:
    """A file without a name, until `commit` gives it one; what was written is read back at any time, also after that.

    Making one raises OSError where the disk takes no file.
    """

    def __init__(self, files: Files, writer: Writer, key: bytes) -> None:
        self._files = files
        self._writer = writer
        self._hash = layout.hash_of(key)
        descriptor, self._path = files.create(self._hash)
        self._file = FileIO(descriptor, "r+")
        self._broken = False
        self.length = 0
        """Bytes written."""

    def write(self, data: bytes | memoryview) -> bool:
        """Add content; False where the disk does not take it: then it takes no more of it."""
        if not self._broken:
            try:
                write_all(self._file.fileno(), data, self.length)
            except OSError as error:
                self._broken = True
                self._writer.failed(error)
            else:
                self.length += len(data)
        return not self._broken

    def read(self, start: int, end: int) -> bytes:
        """Return what was written from `start` to `end`, less where it is not written yet. Raises OSError."""
        return os.pread(self._file.fileno(), min(end, self.length) - start, start)

    def commit(self, stored: Stored) -> bool:
        """Give the file its name, and `stored` the file for its content; False where it cannot be."""
        if self._broken:
            self.drop()
            return False
        name = f"{self._hash}.{os.urandom(8).hex()}"
        try:
            self._files.place(self._path, name, self.length)
        except OSError as error:
            self._writer.failed(error)
            self.drop()
            return False
        stored.file, stored.body = name, b""
        stored.measure(self.length)
        return True

    def drop(self) -> None:
        """Remove what was written; whoever reads it goes on."""
        self._broken = True
        self._writer.do(partial(_unlink, self._path))


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
