"""Reads straight from the files: what the writer acknowledged to anyone is in every read that begins after it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgewise.contracts.state import EngineStatus, Entry, Message, ReplayGap, StateUnavailable
from edgewise.state.clock import SteadyClock, since_boot
from edgewise.state.sqlite.changes import Changes, SqliteSnapshot, slot_of
from edgewise.state.sqlite.files import SCHEMAS, database, open_for_reading
from edgewise.state.sqlite.wire import Space

_ALIVE = "(expires IS NULL OR expires > ?)"
_GET = "SELECT value, revision, expires FROM entries WHERE key = ?"
_ENTRIES = (
    "SELECT key, value, revision, expires FROM entries "
    f"WHERE key >= ? AND key < ? AND key > ? AND {_ALIVE} ORDER BY key LIMIT ?"
)


class Reader:
    """Connections of one thread, opened when first needed. Methods raise StateUnavailable where they cannot read."""

    def __init__(self, directory: Path, steady: Callable[[], float] = since_boot) -> None:
        self._directory = directory
        self._steady = steady
        self._files: dict[str, sqlite3.Connection] = {}
        self._clock: SteadyClock | None = None
        self._changes = Changes(directory, steady)

    def _run(self, concern: str, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        try:
            return self._file(concern).execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._lost(error) from error

    def _file(self, concern: str) -> sqlite3.Connection:
        found = self._files.get(concern)
        if found is None:
            found = self._files[concern] = open_for_reading(self._directory, concern)
        return found

    def _lost(self, error: sqlite3.Error) -> StateUnavailable:
        self.close()
        if not database(self._directory, "keys").exists():
            return StateUnavailable(f"there is no state in {self._directory}: does edgewise run with it?")
        return StateUnavailable(f"state in {self._directory} cannot be read: {error}")

    def now(self) -> int:
        """Return the writer's time in milliseconds."""
        if self._clock is None:
            rows = self._run("keys", "SELECT value FROM meta WHERE name = 'offset'")
            if not rows:
                raise StateUnavailable(f"state in {self._directory} is only being made")
            self._clock = SteadyClock(float(rows[0][0]), self._steady)
        return self._clock.ms()

    def ready(self) -> bool:
        """Has a writer made the files?"""
        try:
            self.now()
        except StateUnavailable:
            return False
        return True

    def get(self, space: Space, key: str) -> Entry | None:
        """Return an entry."""
        now = self.now()
        try:
            row = self._file(space).execute(_GET, (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._lost(error) from error
        if row is None:
            return None
        value, revision, expires = row
        if expires is None:
            return Entry(key, value, revision, None)
        return Entry(key, value, revision, (expires - now) / 1000) if expires > now else None

    def snapshot(self, key: str) -> SqliteSnapshot:
        """Return a key's entry with what tells whether it still is what `get` would return."""
        slot = slot_of(key)
        read = self._steady()
        count = self._changes.count(slot)
        return SqliteSnapshot(self._changes, slot, count, read, self.get("keys", key))

    def entries(self, space: Space, prefix: str, after: str, limit: int) -> list[Entry]:
        """Return entries by prefix in the order of their keys. Keys are ASCII, so DEL is above each of them."""
        now = self.now()
        rows = self._run(space, _ENTRIES, (prefix, prefix + "\x7f", after, now, limit))
        return [_entry(row, now) for row in rows]

    def count(self, name: str, window: int | None) -> int:
        """Return a counter in its present window (milliseconds)."""
        number = 0 if window is None else self.now() // window
        rows = self._run("counters", "SELECT value FROM counters WHERE name = ? AND window = ?", (name, number))
        return int(rows[0][0]) if rows else 0

    def counters(self, after: str, limit: int) -> list[tuple[str, int]]:
        """Return (name, value) of counters without a window, in the order of names."""
        sql = "SELECT name, value FROM counters WHERE name > ? AND window = 0 ORDER BY name LIMIT ?"
        return self._run("counters", sql, (after, limit))

    def floors(self) -> tuple[int, int]:
        """Return the last revision and the last fencing token."""
        found = [
            self._run(concern, "SELECT value FROM meta WHERE name = ?", (name,))
            for concern, name in (("keys", "revision"), ("leases", "token"))
        ]
        return int(found[0][0][0]) if found[0] else 0, int(found[1][0][0]) if found[1] else 0

    def last(self, topic: str) -> int:
        """Return the cursor of a topic's last message."""
        rows = self._run("topics", "SELECT last FROM topics WHERE topic = ?", (topic,))
        return int(rows[0][0]) if rows else 0

    def messages(self, topic: str, after: int, limit: int) -> list[Message]:
        """Return messages after a cursor. Raises ReplayGap."""
        sql = "SELECT cursor, payload FROM messages WHERE topic = ? AND cursor > ? ORDER BY cursor LIMIT ?"
        rows = self._run("topics", sql, (topic, after, limit))
        if not rows or rows[0][0] != after + 1:
            self._check_gap(topic, after, bool(rows))
        return [Message(*row) for row in rows]

    def _check_gap(self, topic: str, after: int, later: bool) -> None:
        """Raise ReplayGap where messages after the cursor were removed; one just published is no gap."""
        found = self._run("topics", "SELECT last, trimmed FROM topics WHERE topic = ?", (topic,))
        last, trimmed = found[0] if found else (0, 0)
        if after > last or after < trimmed or later:
            raise ReplayGap(f"{topic}: {after} is not among the messages {trimmed + 1} to {last} that are kept")

    def status(self) -> EngineStatus:
        """Return how much there is. Counts every key: not for each request."""
        keys = self._run("keys", "SELECT count(*) FROM entries")[0][0]
        paths = [database(self._directory, concern) for concern in SCHEMAS]
        size = sum(os.stat(path).st_size for path in paths if path.exists())
        return EngineStatus("sqlite", sqlite3.sqlite_version, int(keys), size)

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        for connection in self._files.values():
            connection.close()
        self._files.clear()
        self._clock = None


def _entry(row: tuple[str, bytes, int, int | None], now: int) -> Entry:
    key, value, revision, expires = row
    return Entry(key, value, revision, None if expires is None else (expires - now) / 1000)
