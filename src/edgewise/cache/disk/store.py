"""The disk store as one worker sees it: finds entries by name, has them written in a thread, heeds numbered purges.

Workers of a machine share a directory and nothing else. What one finds there it verifies: an entry that is damaged, or
whose content is not there, is a miss and is removed.
"""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from time import time

from edgewise.cache.disk import layout
from edgewise.cache.disk.body import BodyWriter
from edgewise.cache.disk.files import Files
from edgewise.cache.disk.layout import Damaged, Head
from edgewise.cache.disk.writer import Writer
from edgewise.cache.memory import recency
from edgewise.cache.purges import GONE, Purges
from edgewise.cache.request import CacheRequest
from edgewise.cache.stored import Stored

_MOST_ENTRY = layout.HEADER + layout.MOST_META + layout.INLINE
_TOUCHED = 60.0
"""Seconds by which the time of an entry's last use may be behind."""


class DiskStore:
    """Finds, keeps and discards objects. Called from one thread; touches no disk before something is asked for.

    A fill takes `epoch` before its request goes out and gives it back to `put`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.purges = Purges()
        """As the supervisor of this machine's workers numbers them."""
        self.pending = 0
        """Purges that have no number yet, or are not known yet: as long as there are any, nothing is found."""
        self.files = Files(directory)
        self._writer = Writer(self.files)

    @property
    def epoch(self) -> int:
        """The epoch for a fill that begins now."""
        return self.purges.epoch

    # ---- finding -----------------------------------------------------------------------------------------------------

    def find(self, request: CacheRequest) -> Stored | None:
        """Return the response stored for this request, of several the latest; None: none."""
        found = self._read(request.key)
        if found is None:
            return None
        head, content = found
        if head.metadata.status:
            return self._usable(head, content)
        variants = [self.get(request.variant(names)) for names in head.metadata.names]
        return max((each for each in variants if each is not None), key=recency, default=None)

    def get(self, key: bytes) -> Stored | None:
        """Return the response stored under exactly this key; None: none."""
        found = self._read(key)
        return None if found is None or not found[0].metadata.status else self._usable(*found)

    def under(self, key: bytes) -> list[Stored]:
        """Return all that is stored under a request's key, variants included, without content."""
        head = self._head(key)
        if head is None:
            return []
        heads = [head] if head.metadata.status else map(self._head, head.metadata.variants)
        held = [self._usable(each, b"") for each in heads if each is not None]
        return [stored for stored in held if stored is not None]

    def _head(self, key: bytes) -> Head | None:
        head = None if self.pending else self.files.head(layout.hash_of(key))
        return head if head is not None and head.metadata.key == key else None

    def _read(self, key: bytes) -> tuple[Head, bytes] | None:
        """Return the entry of a key, verified, and note its use; a damaged one is removed."""
        if self.pending:
            return None
        name = layout.hash_of(key)
        try:
            descriptor = os.open(self.files.path(name), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            head, content = layout.decode_whole(os.read(descriptor, min(status.st_size, _MOST_ENTRY) + 1))
            if head.metadata.key != key:
                raise Damaged("of another key")
            if time() - status.st_mtime > _TOUCHED:
                os.utime(descriptor)
        except Damaged:
            self.files.remove(name, status)
            return None
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return head, content

    def _usable(self, head: Head, content: bytes) -> Stored | None:
        """Return what an entry holds, as the purges since then leave it; None where it is gone, and removed."""
        said = head.metadata
        until = self._until(said.url, said.tags, head.epoch)
        if until == GONE or (said.file and self.files.size(said.file) != said.length):
            self.files.remove(layout.hash_of(said.key))
            self._writer.remove(said.file)
            return None
        stored = layout.restore(head, content)
        stored.fresh_until = min(stored.fresh_until, until)
        stored.looked = time()
        return stored

    def _until(self, url: bytes, tags: bytes, since: int) -> float:
        """Return until when a response may be fresh that was compared with the purges up to `since`; GONE: no more."""
        return self.purges.until(url, tags, since) if since >= self.purges.floor else GONE

    # ---- keeping -----------------------------------------------------------------------------------------------------

    def put(self, stored: Stored, epoch: int) -> bool:
        """Have a response written whose request went out at `epoch`; False where it was purged since, or is not to be.

        Where the disk is full, too slow, or has a later one already, it is only not stored.
        """
        stored.looked = time()
        until = self._until(stored.url, stored.tags, epoch)
        if until != GONE and len(stored.body) <= layout.INLINE:
            stored.fresh_until = min(stored.fresh_until, until)
            if self._writer.put(stored, epoch):
                return True
        self._writer.abandon(stored)
        return False

    def discard(self, stored: Stored) -> None:
        """Remove a response: it is not found any more on return, unless another worker has stored a later one."""
        self._writer.discard(stored)

    def touch(self, stored: Stored) -> None:
        """Note that a response is in use, though it was not read from here."""
        self._writer.touch(stored)

    def flush(self, seconds: float) -> bool:
        """Wait until what was put so far is written; False where that takes longer."""
        return self._writer.flush(seconds)

    # ---- large objects -----------------------------------------------------------------------------------------------

    def begin_body(self, stored: Stored) -> BodyWriter | None:
        """Return where the content of a response is written while it comes; None where the disk takes nothing."""
        try:
            return BodyWriter(self.files, self._writer, stored.key)
        except OSError as error:
            self._writer.failed(error)
            return None

    def open_body(self, stored: Stored) -> FileIO | None:
        """Return the file of a response's content; None where it is not there any more."""
        try:
            file = FileIO(self.files.path(stored.file))
        except OSError:
            return None
        if os.fstat(file.fileno()).st_size != stored.length:
            file.close()
            return None
        return file
