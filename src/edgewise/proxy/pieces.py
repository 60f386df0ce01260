"""Content that clients read piece by piece: in memory or in a file, whole or while it comes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import Future
from io import FileIO
from typing import TYPE_CHECKING, Protocol

from edgewise.proxy import page_cache
from edgewise.proxy.wire import Buffer

if TYPE_CHECKING:
    from edgewise.contracts.cache import Body
    from edgewise.proxy.engine import Engine

_PIECE = 262144
"""Bytes given to a client at once: what it does not take is copied."""
_NOTHING = memoryview(b"")


class Pieces(Protocol):
    """What a reader reads."""

    size: int
    """Bytes that came so far, where it is not known how many there will be."""
    whole: bool
    """Does no more come?"""

    def piece(self, start: int, end: int) -> Buffer:
        """Return some of the bytes from `start` on, not beyond `end`; empty where they have not come yet."""


class Content:
    """Content in pieces, more of which may come; those that everybody has can be dropped.

    Its beginning may be in a file, all that comes then goes there.
    """

    __slots__ = ("_body", "_dropped", "_ends", "_pieces", "_written", "size", "whole")

    def __init__(self, content: bytes | None = None) -> None:
        self._body: Body | None = None
        self._written = 0
        """Bytes that are in the file."""
        self._pieces: list[bytes] = []
        """What comes behind them."""
        self._ends: list[int] = []
        self._dropped = 0
        self.size = 0
        """Bytes that came so far."""
        self.whole = False
        """Does no more come?"""
        if content is not None:
            self.add(content)
            self.whole = True

    def add(self, piece: bytes) -> bool:
        """Take what came; False where the file did not take it, nor will take any more of it."""
        if not piece:
            return True
        self.size += len(piece)
        if self._body is not None and self._written + len(piece) == self.size and self._body.write(piece):
            self._written = self.size
            return True
        self._pieces.append(piece)
        self._ends.append(self.size)
        return self._body is None

    def move(self, body: Body) -> bool:
        """Move what came, none of which was dropped, into a file, as what comes later; False as with `add`."""
        pieces, self._pieces, self._ends = self._pieces, [], []
        self._body, self.size = body, 0
        taken = [self.add(piece) for piece in pieces]
        return all(taken)

    def piece(self, start: int, end: int) -> Buffer:
        """Return some of the bytes from `start` on, not beyond `end`; empty where they have not come yet.

        Raises OSError where the file cannot be read.
        """
        if start < self._written:
            assert self._body is not None
            return self._body.read(start, min(end, start + _PIECE))
        index = bisect_right(self._ends, start)
        if index == len(self._ends):
            return _NOTHING
        begins = self._ends[index] - len(self._pieces[index])
        return memoryview(self._pieces[index])[start - begins : min(end - begins, start - begins + _PIECE)]

    def drop(self, before: int) -> None:
        """Forget the pieces that end before an offset; nobody asks for them any more."""
        while self._dropped < len(self._ends) and self._ends[self._dropped] <= before:
            self._pieces[self._dropped] = b""
            self._dropped += 1

    def joined(self) -> bytes:
        """Return all of it, where none is in a file."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


class FilePieces:
    """Content that is in a file. What the page cache does not have is read by a thread first."""

    __slots__ = ("_engine", "_error", "_file", "_more", "_reading", "size", "whole")

    def __init__(self, file: FileIO, size: int, engine: Engine, more: Callable[[], None]) -> None:
        """`more` is called once a piece can be had that could not. A piece is gone when the engine reads anew."""
        self._file = file
        self._engine = engine
        self._more = more
        self._reading = False
        self._error: BaseException | None = None
        self.size = size
        self.whole = True

    def piece(self, start: int, end: int) -> Buffer:
        """Return some of the bytes from `start` on, not beyond `end`; empty where a thread has to read them.

        Raises OSError where the file cannot be read, or has become shorter.
        """
        if self._error is not None:
            raise OSError(str(self._error))
        size = min(end - start, _PIECE)
        piece = self._engine.scratch[:size]
        try:
            read = page_cache.read(self._file.fileno(), piece, start)
        except BlockingIOError:
            if not self._reading:
                self._reading = True
                page_cache.fetch(self._engine.loop, self._file.fileno(), start, size, self._fetched)
            return _NOTHING
        if not read:
            raise OSError(f"{self._file.name!r} ends before its content")
        return piece[:read]

    def _fetched(self, done: Future[bytes]) -> None:
        self._reading = False
        self._error = done.exception()
        self._more()
