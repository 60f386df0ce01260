"""The parts of a file on their way to a client, a piece at a time as it reads: by sendfile(2) where nothing encrypts.

What the page cache does not have is read by a thread first, so that a slow disk holds up nobody else.
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from io import FileIO
from typing import TYPE_CHECKING, NamedTuple

from edgewise.proxy import lifecycle, page_cache
from edgewise.proxy.interposed import Interposed
from edgewise.proxy.wire import FOREVER, WOULD_BLOCK

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

_PIECE = 262144
"""Bytes read and sent in one go where they go through this process."""
_MOMENT = 0.1
"""Seconds within which a file that is written to has its new size: it has its new time a little earlier."""
_TURN = 1 << 20
"""Bytes sent before others have their turn; the kernel is asked to send as many in one go."""
_probe = bytearray(1)


class Part(NamedTuple):
    """What goes out in order: bytes of our own, then those of the file from `start` to `end` (exclusive)."""

    lead: bytes
    start: int
    end: int


class FileSource:
    """Sends parts of one file. It closes itself, by its last reference, when a client leaves half-way."""

    __slots__ = ("_busy", "_doubted", "_exchange", "_file", "_left", "_parts", "_size", "_stamp")

    def __init__(self, exchange: Exchange, file: FileIO, stamp: int, size: int, parts: list[Part]) -> None:
        """`stamp` and `size` are the file's when its head was made: it must stay so."""
        self._exchange = exchange
        self._file = file
        self._stamp = stamp
        self._size = size
        self._parts = [part for part in parts if part.lead or part.start < part.end]
        self._left = _TURN
        """Bytes until the end of the turn."""
        self._busy = False
        """A thread reads from disk, or the file is about to be looked at again."""
        self._doubted = False
        """It had another time and the same size."""

    def begin(self, head: bytes) -> None:
        """Send the head, then content until the client's socket is full."""
        client = self._exchange.client
        client.source = self
        if client.send_head(head, b"", end=not self._parts):
            self.resume()

    def pause(self) -> None:
        """Nothing to stop: pieces are read only on `resume`."""

    def resume(self) -> None:
        """Send pieces until the client's socket is full, the turn is over, or all is out."""
        if self._busy:
            return
        self._left = _TURN
        client = self._exchange.client
        looked_at = client.tls or client.multiplexed or isinstance(client, Interposed)
        send = self._send_copied if looked_at else self._send_by_kernel
        if self._parts and not self._holds():
            return
        while self._parts:
            if not send():
                return
        self._end()

    def _holds(self) -> bool:
        """Does the file hold what was announced? One that grew still begins with it. False: this waits, or failed."""
        now = os.fstat(self._file.fileno())
        if now.st_size > self._size or (now.st_size == self._size and now.st_mtime_ns == self._stamp):
            return True
        if now.st_size == self._size and not self._doubted:
            self._doubted = self._busy = True
            self._leave_room()
            self._exchange.client.engine.loop.call_later(_MOMENT, self._look_again)
        else:
            lifecycle.fail(self._exchange, 500, "edge-file", "the file changed while it was sent")
        return False

    def _look_again(self) -> None:
        self._busy = False
        self._next_turn()

    def _end(self) -> None:
        client = self._exchange.client
        client.source = None
        self._leave_room()
        if client.flushed:
            lifecycle.finish(self._exchange)
        else:
            client.finishing = True

    def _advance(self, size: int) -> None:
        """`size` bytes of the first part are out, or kept for the client."""
        part = self._parts[0]
        self._exchange.response_bytes += size
        self._left -= size
        if part.start + size < part.end:
            self._parts[0] = part._replace(start=part.start + size)
        else:
            del self._parts[0]

    # ---- through this process: TLS and HTTP/2 ------------------------------------------------------------------------

    def _send_copied(self) -> bool:
        """Send a piece; False where this has to wait."""
        client, part = self._exchange.client, self._parts[0]
        lead = part.lead
        size = min(_PIECE, part.end - part.start)
        piece = client.engine.scratch[:size]
        if size:
            read = self._read(piece, part.start)
            if read <= 0:
                return False
            piece = piece[:read]
        self._parts[0] = part._replace(lead=b"")
        self._exchange.response_bytes += len(lead)
        self._advance(len(piece))
        taken = client.send(lead + bytes(piece) if lead else piece, end=not self._parts)
        if client.broken:
            return False
        if taken and self._left <= 0 and self._parts:
            client.engine.loop.call_soon(self._next_turn)
            return False
        return bool(taken or not self._parts)

    def _read(self, piece: memoryview, start: int) -> int:
        """Read what the page cache has; -1 where a thread reads it from disk first, or the file has ended."""
        try:
            read = page_cache.read(self._file.fileno(), piece, start)
        except BlockingIOError:
            self._fetch(start, len(piece))
            return -1
        if not read:
            lifecycle.fail(self._exchange, 500, "edge-file", "the file became shorter while it was sent")
            return -1
        return read

    def _next_turn(self) -> None:
        if self._current() and self._exchange.client.flushed:
            self.resume()

    # ---- by the kernel -----------------------------------------------------------------------------------------------

    def _send_by_kernel(self) -> bool:
        """Have the kernel send a piece; False where this has to wait."""
        client, part = self._exchange.client, self._parts[0]
        if part.lead:
            self._leave_room()
            self._parts[0] = part._replace(lead=b"")
            self._exchange.response_bytes += len(part.lead)
            taken: bool = client.send(part.lead)
            if part.start == part.end:
                del self._parts[0]
                return taken or not self._parts
            if not taken:
                return False
        part = self._parts[0]
        size = min(_TURN, part.end - part.start)
        if client.sock is None or client.broken:
            return False
        if self._is_cold(part.start + size - 1):
            self._fetch(part.start, size)
            return False
        try:
            sent = os.sendfile(client.fd, self._file.fileno(), part.start, size)
        except WOULD_BLOCK:
            self._await_room()
            return False
        except OSError:
            client.lost()
            return False
        if not sent:
            lifecycle.fail(self._exchange, 500, "edge-file", "the file became shorter while it was sent")
            return False
        self._advance(sent)
        client.wrote(sent)
        if self._parts and (sent < size or self._left <= 0):
            self._await_room()
            return False
        return True

    def _is_cold(self, position: int) -> bool:
        """Would reading this byte wait for the disk?"""
        try:
            os.preadv(self._file.fileno(), [_probe], position, os.RWF_NOWAIT)
        except BlockingIOError:
            return True
        except OSError:  # a file system that cannot tell
            return False
        return False

    def _await_room(self) -> None:
        """Go on when the client's socket has room; its reader's rate counts from the first time on."""
        client = self._exchange.client
        if not client.splicing:
            client.splicing = True
            client.begin_write()
            client.engine.add_writer(client.fd, self.resume)

    def _leave_room(self) -> None:
        client = self._exchange.client
        if client.splicing:
            client.splicing = False
            client.deadline = FOREVER
            client.engine.remove_writer(client.fd)

    # ---- from disk ---------------------------------------------------------------------------------------------------

    def _fetch(self, start: int, size: int) -> None:
        """Have a thread read a piece into the page cache, then go on."""
        self._busy = True
        self._leave_room()
        page_cache.fetch(self._exchange.client.engine.loop, self._file.fileno(), start, size, self._fetched)

    def _fetched(self, done: Future[bytes]) -> None:
        self._busy = False
        if not self._current():
            return
        if done.exception() is not None:
            lifecycle.fail(self._exchange, 500, "edge-file", f"the file cannot be read: {done.exception()}")
        elif self._exchange.client.flushed:
            self.resume()

    def _current(self) -> bool:
        """Is the client still there, and waiting for this?"""
        client = self._exchange.client
        return client.source is self and client.sock is not None
