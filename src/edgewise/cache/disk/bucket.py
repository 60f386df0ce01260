"""One bucket of a cache directory as its keeper sees it: all its files, what they take, what is to be removed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import time

from edgewise.cache.disk import layout
from edgewise.cache.disk.layout import BODY, ENTRY, TEMPORARY, Damaged, Head

ABANDONED = 600.0
"""Seconds after its last change at which a file that belongs to nothing is nobody's any more."""
Compare = Callable[[Head], tuple[int, float] | None]
"""Returns the epoch and `fresh_until` that an entry has after a comparison with all purges; None where it is gone."""


class Object:
    """The files of one hash."""

    __slots__ = ("bodies", "changed", "entry", "used")

    def __init__(self) -> None:
        self.entry = 0
        """Bytes of its entry; 0: there is none."""
        self.used = 0.0
        """When it was used last, in seconds since the epoch."""
        self.bodies: dict[str, int] = {}
        """Name of a file of content -> its bytes; of one that is coming or going there may be two."""
        self.changed = 0.0
        """When the newest of those was."""

    @property
    def size(self) -> int:
        """Bytes of disk."""
        return self.entry + sum(self.bodies.values())


class Bucket:
    """What was in a bucket when it was read. Files of other names are not looked at, and never removed."""

    def __init__(self, directory: Path, number: int) -> None:
        """Read the names. Raises OSError where there is a bucket that cannot be read."""
        self._path = layout.bucket_path(directory, number)
        self.objects: dict[str, Object] = {}
        """By the name that their entry has, or should have."""
        self._temporary = 0
        old = time() - ABANDONED
        for file in layout.files(directory, number):
            with suppress(FileNotFoundError):
                if file.is_file(follow_symlinks=False):
                    self._take(file.name, file.stat(follow_symlinks=False), old)
        for found in list(self.objects.values()):
            if not found.entry and found.changed < old:
                for name in list(found.bodies):
                    self._remove_body(found, name)

    def _take(self, name: str, status: os.stat_result, old: float) -> None:
        size = layout.on_disk(status.st_size)
        if ENTRY.fullmatch(name):
            found = self._object(name)
            found.entry, found.used = max(size, 1), status.st_mtime
        elif BODY.fullmatch(name):
            found = self._object(name.partition(".")[0])
            found.bodies[name] = size
            found.changed = max(found.changed, status.st_mtime)
        elif TEMPORARY.fullmatch(name) and not (status.st_mtime < old and self._unlink(name)):
            self._temporary += size

    def _object(self, name: str) -> Object:
        return self.objects.setdefault(name, Object())

    @property
    def size(self) -> int:
        """Bytes of disk that all its files take."""
        return self._temporary + sum(found.size for found in self.objects.values())

    @property
    def entries(self) -> int:
        """How many entries there are."""
        return sum(found.entry > 0 for found in self.objects.values())

    def heads(self) -> list[Head]:
        """Return the heads of all entries that can be read."""
        found = []
        for name, each in self.objects.items():
            if each.entry:
                with suppress(OSError, Damaged):
                    found.append(layout.read_head(self._path / name))
        return found

    def compare(self, compare: Compare, *, stamp: bool) -> None:
        """Compare every entry with the purges: remove what is gone or damaged, and content that no entry names.

        `stamp`: note in those that stay that they were compared.
        """
        old = time() - ABANDONED
        for name in list(self.objects):
            found = self.objects[name]
            if not found.entry:
                continue
            with suppress(OSError):
                try:
                    body = self._compared(name, compare, stamp=stamp)
                except Damaged:
                    body = None
                if body is None:
                    self.remove(name)
                elif found.changed < old:
                    for each in [each for each in found.bodies if each != body]:
                        self._remove_body(found, each)

    def _compared(self, name: str, compare: Compare, *, stamp: bool) -> str | None:
        """Return the name of the file of an entry's content, "" for none; None where the entry is gone.

        Raises OSError and Damaged.
        """
        descriptor = os.open(self._path / name, (os.O_RDWR if stamp else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            head = layout.read_head_of(descriptor)
            if not head.metadata.status:
                return ""
            stamped = compare(head)
            if stamped is None:
                return None
            if stamp and stamped != (head.epoch, head.fresh_until):
                status = os.fstat(descriptor)
                layout.restamp(descriptor, *stamped)
                os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))  # that tells when it was used
        finally:
            os.close(descriptor)
        return head.metadata.file

    def remove(self, name: str) -> int:
        """Remove an object; return the bytes of disk that it gave back."""
        found = self.objects[name]
        before = found.size
        if found.entry and self._unlink(name):
            found.entry = 0
        for each in list(found.bodies):
            self._remove_body(found, each)
        if not found.size:
            del self.objects[name]
        return before - found.size

    def _remove_body(self, found: Object, name: str) -> None:
        if self._unlink(name):
            del found.bodies[name]

    def _unlink(self, name: str) -> bool:
        """Remove a file; False where the disk does not let go of it."""
        try:
            os.unlink(self._path / name)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True
