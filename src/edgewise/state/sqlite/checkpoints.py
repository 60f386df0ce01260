"""Moving the logs into the files, beside the writer."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

from edgewise.state.sqlite.files import BUSY_MS, LOG_BYTES, SCHEMAS, database

_INTERVAL = 0.5


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
        while not self._stop.wait(_INTERVAL):
            for concern in SCHEMAS:
                with contextlib.suppress(OSError, sqlite3.Error):  # tried again in half a second
                    self._move(concern)

    def _move(self, concern: str) -> None:
        path = database(self._directory, concern)
        size = path.with_name(path.name + "-wal").stat().st_size
        if size < LOG_BYTES:
            return
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            _busy, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            connection.close()
        if moved < frames:
            with self._lock:
                self._behind.add(concern)

    def stop(self) -> None:
        """End after the step under way."""
        self._stop.set()
        self._thread.join()
