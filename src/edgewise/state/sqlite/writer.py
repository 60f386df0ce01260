"""The one process that writes: a plain loop that gathers requests, commits them together, then answers."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import selectors
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgewise.state.clock import since_boot
from edgewise.state.sqlite import wire
from edgewise.state.sqlite.checkpoints import Checkpoints
from edgewise.state.sqlite.files import LOCK, SOCKET
from edgewise.state.sqlite.tables import Tables

log = logging.getLogger("edgewise.state")
_READ = 256 << 10
_MOST_BATCH = 2000
"""Requests of one transaction at most: about 20 ms of work."""
_MOST_UNREAD = 32 << 20
"""Bytes of replies a client may leave unread before it is disconnected."""
_SWEEP = 0.0005
"""Seconds after which removing what expired goes on after the next batch."""
_PAUSE = 0.005
"""Seconds between two sweeps while there is more to remove: some 3,000 entries a second. Removing as fast as could be
takes all that the disk can do, since keys are spread over the whole file, and then commits wait for it, up to 50 ms."""
_REST = 10
"""Times as long as a sweep took that the next one waits at least: one that took long met a busy disk."""
_IDLE = 1.0
"""Seconds between two sweeps else."""


class WriterError(Exception):
    """The writer cannot start; the text says why."""


class DirectoryTakenError(WriterError):
    """Another writer has the directory."""


class _Client:
    """One connection."""

    __slots__ = ("frames", "replies", "sock", "unsent", "waiting")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.frames = wire.Frames()
        self.waiting: list[wire.AnyRequest] = []
        """Requests to carry out, oldest first."""
        self.replies: list[wire.Reply] = []
        self.unsent = bytearray()


class Writer:
    """Owns the files of one directory. `run` serves until `stop`.

    Raises WriterError: another writer has the directory (DirectoryTakenError), or it cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        *,
        full: bool = False,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = since_boot,
    ) -> None:
        self.directory = directory
        self._clients: dict[int, _Client] = {}
        self._stopping = False
        self._more_to_sweep = True
        self._next_sweep = 0.0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(directory)
            self._tables = Tables(directory, full=full, wall=wall, steady=steady)
            self._listening = _listen(directory / SOCKET)
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise WriterError(f"cannot keep state in {directory}: {reason}") from error
        self._checkpoints = Checkpoints(directory)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, lambda: None)

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Run `callback` when `descriptor` is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def stop(self) -> None:
        """Have `run` return. From any thread."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake_writer.send(b".")

    def run(self) -> None:
        """Serve, then close everything."""
        self._checkpoints.start()
        try:
            while not self._stopping:
                self._round()
        finally:
            self._checkpoints.stop()
            for client in list(self._clients.values()):
                self._drop(client)
            self._selector.close()
            for sock in (self._listening, self._wake_reader, self._wake_writer):
                sock.close()
            self._tables.close()
            self._checkpoints.close()
            os.close(self._lock)

    def _round(self) -> None:
        """Take what arrived, commit it, answer; then housekeeping."""
        waiting = any(client.waiting for client in self._clients.values())
        pause = 0.0 if waiting else max(0.0, self._next_sweep - time.monotonic())
        for key, events in self._selector.select(pause):
            if isinstance(key.data, _Client):
                if events & selectors.EVENT_WRITE:
                    self._send(key.data)
                if events & selectors.EVENT_READ:
                    self._receive(key.data)
            else:
                key.data()
        self._work()
        with contextlib.suppress(sqlite3.Error):  # a full disk: told to those who write
            if time.monotonic() >= self._next_sweep and not self._checkpoints.finishing:
                self._sweep()
            for concern in self._checkpoints.behind():
                self._tables.checkpoint(concern)
                self._checkpoints.finishing = False

    def _sweep(self) -> None:
        began = time.monotonic()
        more = False
        try:
            more = self._tables.sweep(_SWEEP)
        finally:
            now = time.monotonic()
            self._next_sweep = now + (max(_PAUSE, _REST * (now - began)) if more else _IDLE)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            sock, _address = self._listening.accept()
            sock.setblocking(False)
            client = _Client(sock)
            self._clients[sock.fileno()] = client
            self._selector.register(sock, selectors.EVENT_READ, client)

    def _receive(self, client: _Client) -> None:
        try:
            data = client.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        try:
            for body in client.frames.feed(data):
                client.waiting += wire.requests(body)
        except (wire.FrameError, msgspec.MsgspecError) as error:
            log.error("a client of the state sent what is no request, so it is disconnected: %s", error)
            self._drop(client)

    def _work(self) -> None:
        """Carry out a batch of requests in the order in which each client sent them, and tell the results."""
        done: list[tuple[_Client, int, str, Any]] = []
        tables = self._tables
        tables.begin()
        busy = [client for client in self._clients.values() if client.waiting]
        share = max(1, _MOST_BATCH // len(busy)) if busy else 0
        for client in busy:
            batch, client.waiting = client.waiting[:share], client.waiting[share:]
            for request in batch:
                concern, result = tables.apply(request)
                done.append((client, request.id, concern, result))
        failed = tables.commit() if done else {}
        for concern, reason in failed.items():
            log.error("state was not written: %s: %s", concern, reason)
        for client, number, concern, result in done:
            client.replies.append((number, failed.get(concern, ""), result))
        self._answer()

    def _answer(self) -> None:
        grown, self._tables.grown = sorted(self._tables.grown), set()
        for client in list(self._clients.values()):
            if grown:
                client.replies.append((0, "", grown))
            if client.replies:
                replies, client.replies = client.replies, []
                client.unsent += wire.frame(replies)
                self._send(client)

    def _send(self, client: _Client) -> None:
        try:
            sent = client.sock.send(client.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(client)
            return
        del client.unsent[:sent]
        if len(client.unsent) > _MOST_UNREAD:
            self._drop(client)
            return
        events = selectors.EVENT_READ | selectors.EVENT_WRITE if client.unsent else selectors.EVENT_READ
        if self._selector.get_key(client.sock).events != events:
            self._selector.modify(client.sock, events, client)

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.sock.fileno(), None) is not None:
            client.waiting = []
            self._selector.unregister(client.sock)
            client.sock.close()


def _lock(directory: Path) -> int:
    """Take the directory for this process. Raises DirectoryTakenError or OSError."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DirectoryTakenError(f"another edgewise keeps its state in {directory}") from None
    return descriptor


def _listen(path: Path) -> socket.socket:
    """Listen where an earlier writer did; the lock is held, so what is left there is a dead one's."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(1024)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
