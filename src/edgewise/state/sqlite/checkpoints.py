"""Moving the logs into the files, beside the writer."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

from edgewise.state.sqlite.files import BUSY_MS, SCHEMAS, database

_OFTEN, _SELDOM = 0.02, 0.25
"""Seconds between two moves while much is written, and else. A commit waits while the disk takes what was moved, so
little at a time: at a move each half second the longest wait was 57 ms, at one each 20 ms it was 11."""
_MUCH = 64
"""Pages of a log that are worth the haste."""
_LONG = 20_000
"""Pages of a log (80 MB) from which the writer is asked to move the rest, so that the log can begin anew."""


class Checkpoints:
    """A thread that does what takes long (it waits for the disk); the writer commits meanwhile.

    While it works the writer appends, so under unbroken load something is always left and the log would only grow:
    `behind` then names the files whose little rest the writer moves between two batches.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._behind: set[str] = set()
        self._moved: dict[str, int] = {}
        """Pages in each log at the last look: the log stays as it is until the next write."""
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        """Begin."""
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
                with contextlib.suppress(sqlite3.Error):  # tried again soon
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
        _busy, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if frames - moved > _LONG:
            with self._lock:
                self._behind.add(concern)
        much = bool(frames > _MUCH and self._moved.get(concern) != frames)
        self._moved[concern] = frames
        return much

    def stop(self) -> None:
        """End after the step under way."""
        self._stop.set()
        self._thread.join()
