"""Moving the logs into the files, beside the writer."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path

from edgewise.state.sqlite.files import BUSY_MS, SCHEMAS, database

_OFTEN, _SELDOM = 0.02, 0.25
"""Seconds between two moves while much is written, and else. A commit waits while the disk takes what was moved, so
little at a time: at a move each half second the longest wait was 57 ms, at one each 20 ms it was 11."""
_MUCH = 64
"""Pages of a log that are worth the haste."""
_LONG = 20_000
"""Pages of a log (80 MB) from which the writer is asked to move the rest, so that the log can begin anew."""
_AGAIN = 1.0
"""Seconds until the writer is asked again, where a reader kept it from doing so."""


class Checkpoints:
    """A thread that does what takes long (it waits for the disk); the writer commits meanwhile.

    While it works the writer appends, so under unbroken load something is always left and the log would only grow:
    `behind` then names the files whose little rest the writer moves between two batches. SQLite syncs a file only with
    that rest, so what was moved before is synced here first: the writer would else wait for all of it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._behind: set[str] = set()
        self.finishing = False
        """Is a log about to be finished? Then the writer writes only what it is asked to."""
        self._asked: dict[str, float] = {}
        """When the writer was asked to finish a file."""
        self._descriptors: dict[str, int] = {}
        """Files to sync. Closed last of all: closing one ends the locks that SQLite has on it in this process."""
        self._moved: dict[str, int] = {}
        """Pages in each log at the last look: the log stays as it is until the next write."""
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        """Begin."""
        for concern in SCHEMAS:
            self._descriptors[concern] = os.open(database(self._directory, concern), os.O_RDWR | os.O_CLOEXEC)
        self._thread.start()

    def behind(self) -> set[str]:
        """Return the files for the writer to finish, each once."""
        if not self._behind:
            return set()
        with self._lock:
            behind, self._behind = self._behind, set()
        return behind

    def _run(self) -> None:
        connections: dict[str, sqlite3.Connection] = {}
        pause = _SELDOM
        while not self._stop.wait(pause):
            pause = _SELDOM
            for concern in SCHEMAS:
                with contextlib.suppress(sqlite3.Error, OSError):  # tried again soon
                    if concern not in connections:
                        connections[concern] = self._open(concern)
                    if self._move(concern, connections[concern]):
                        pause = _OFTEN
        for connection in connections.values():
            connection.close()

    def _open(self, concern: str) -> sqlite3.Connection:
        connection = sqlite3.connect(database(self._directory, concern), isolation_level=None)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        return connection

    def _move(self, concern: str, connection: sqlite3.Connection) -> bool:
        """Move a file's log; return whether much was in it. A log that was moved already is not touched."""
        frames = self._passed(connection)
        if frames > _LONG and time.monotonic() > self._asked.get(concern, 0.0) + _AGAIN:
            self._asked[concern] = time.monotonic()
            self._have_finished(concern, connection)
        much = bool(frames > _MUCH and self._moved.get(concern) != frames)
        self._moved[concern] = frames
        return much

    def _have_finished(self, concern: str, connection: sqlite3.Connection) -> None:
        """Leave as little as possible of a long log, and have the writer move that."""
        self.finishing = True
        try:
            os.fdatasync(self._descriptors[concern])
            self._passed(connection)
            os.fdatasync(self._descriptors[concern])
        except (OSError, sqlite3.Error):
            self.finishing = False
            raise
        with self._lock:
            self._behind.add(concern)

    def _passed(self, connection: sqlite3.Connection) -> int:
        """Move what is in a log by now; return the pages in it."""
        _busy, frames, _moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return int(frames)

    def stop(self) -> None:
        """End after the step under way."""
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        """Let go of the files, after all others have."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
