"""The writer's side of the files: requests become statements, a batch of them one transaction a file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgewise.contracts.state import TOPIC_AGE, TOPIC_MESSAGES
from edgewise.state.clock import SteadyClock, boot_id, since_boot
from edgewise.state.sqlite import wire
from edgewise.state.sqlite.changes import Announcements, slot_of
from edgewise.state.sqlite.files import SCHEMAS, open_for_writing

_SWEPT = 16
"""Rows removed by one statement of a sweep."""
_SWEEPS = {
    concern: f"DELETE FROM {table} WHERE {key} IN "
    f"(SELECT {key} FROM {table} WHERE expires <= ? ORDER BY expires LIMIT {_SWEPT})"
    for concern, table, key in (
        ("keys", "entries", "id"),
        ("blobs", "entries", "id"),
        ("counters", "counters", "name"),
        ("leases", "leases", "name"),
    )
}
_WRITE = """INSERT INTO entries (key, value, revision, expires) VALUES (?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision, expires = excluded.expires"""
_ALIVE = "(expires IS NULL OR expires > ?)"


class Tables:
    """Every file, open for writing. `apply` requests, then `commit`, then tell their results."""

    def __init__(
        self,
        directory: Path,
        *,
        full: bool = False,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = since_boot,
    ) -> None:
        """Open the files. `full`: keys survive a loss of power. Raises sqlite3.Error or OSError."""
        self._files = {
            concern: open_for_writing(directory, concern, full=full or concern == "leases") for concern in SCHEMAS
        }
        self._announcements = Announcements(directory)
        self._slots: set[int] = set()
        """Of the keys that the batch writes."""
        self._dirty: set[str] = set()
        self._failed: dict[str, str] = {}
        self._revision = self._number("keys", "revision")
        self._token = self._number("leases", "token")
        self.clock = self._steady_clock(wall, steady)
        self._now = self.clock.ms()
        self.grown: set[str] = set()
        """Topics that the batch appended to."""
        self._actions: dict[type, tuple[str, Callable[[Any], Any]]] = {
            wire.Touch: ("keys", self._touch),
            wire.Add: ("counters", self._add),
            wire.Restore: ("counters", self._restore),
            wire.Publish: ("topics", self._publish),
            wire.Acquire: ("leases", self._acquire),
            wire.Renew: ("leases", self._renew),
            wire.Release: ("leases", self._release),
            wire.Raise: ("keys", self._raise),
            wire.Set: ("", self._set),
            wire.Delete: ("", self._delete),
        }

    def _number(self, concern: str, name: str) -> int:
        row = self._files[concern].execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _steady_clock(self, wall: Callable[[], float], steady: Callable[[], float]) -> SteadyClock:
        """Go on with the clock of this boot, else begin one: every process of this boot reads the same time."""
        meta = dict(self._files["keys"].execute("SELECT name, value FROM meta WHERE name IN ('boot', 'offset')"))
        boot = boot_id()
        offset = float(meta["offset"]) if boot and meta.get("boot") == boot else wall() - steady()
        rows = (("boot", boot), ("offset", offset))
        self._files["keys"].executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
        return SteadyClock(offset, steady)

    def begin(self) -> None:
        """Begin a batch: all of its requests see the same time."""
        self._now = self.clock.ms()

    def apply(self, request: wire.AnyRequest) -> tuple[str, Any]:
        """Carry a request out; return the concern it belongs to and its result, which counts once committed."""
        concern, action = self._actions[type(request)]
        if not concern:
            assert isinstance(request, wire.Set | wire.Delete)
            concern = request.space
        if concern in self._failed:
            return concern, None
        try:
            if concern not in self._dirty:
                self._files[concern].execute("BEGIN IMMEDIATE")
                self._dirty.add(concern)
            return concern, action(request)
        except sqlite3.Error as error:
            self._fail(concern, error)
            return concern, None

    def _fail(self, concern: str, error: sqlite3.Error) -> None:
        self._failed[concern] = f"{concern}: {error}"
        self._dirty.discard(concern)
        if self._files[concern].in_transaction:
            self._files[concern].rollback()

    def commit(self) -> dict[str, str]:
        """End the batch; return why by concern, where nothing of it was written."""
        slots, self._slots = self._slots, set()
        self._announcements.begin(slots)
        for concern in sorted(self._dirty):
            connection = self._files[concern]
            try:
                if concern == "keys":
                    connection.execute("INSERT OR REPLACE INTO meta VALUES ('revision', ?)", (self._revision,))
                elif concern == "leases":
                    connection.execute("INSERT OR REPLACE INTO meta VALUES ('token', ?)", (self._token,))
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._fail(concern, error)
        self._announcements.end(slots)
        self._dirty.clear()
        failed, self._failed = self._failed, {}
        return failed

    def _set(self, request: wire.Set) -> int | None:
        connection = self._files[request.space]
        if request.revision is not None:
            found = connection.execute(
                f"SELECT revision FROM entries WHERE key = ? AND {_ALIVE}", (request.key, self._now)
            ).fetchone()
            if (found[0] if found else 0) != request.revision:
                return None
        self._revision += 1
        expires = None if request.ttl is None else self._now + request.ttl
        self._writes(request)
        connection.execute(_WRITE, (request.key, request.value, self._revision, expires))
        return self._revision

    def _writes(self, request: wire.Set | wire.Delete) -> None:
        if request.space == "keys":
            self._slots.add(slot_of(request.key))

    def _touch(self, request: wire.Touch) -> bool:
        self._slots.add(slot_of(request.key))
        done = self._files["keys"].execute(
            f"UPDATE entries SET expires = ? WHERE key = ? AND {_ALIVE}",
            (self._now + request.ttl, request.key, self._now),
        )
        return done.rowcount > 0

    def _delete(self, request: wire.Delete) -> bool:
        sql = f"DELETE FROM entries WHERE key = ? AND {_ALIVE}"
        values: list[str | int] = [request.key, self._now]
        if request.revision is not None:
            sql += " AND revision = ?"
            values.append(request.revision)
        self._writes(request)
        return self._files[request.space].execute(sql, values).rowcount > 0

    def _window(self, window: int | None) -> tuple[int, int | None]:
        """Return the number of the window under way and when it ends; (0, None) without a window."""
        if window is None:
            return 0, None
        number = self._now // window
        return number, (number + 1) * window

    def _add(self, request: wire.Add) -> tuple[int, int | None]:
        number, ends = self._window(request.window)
        connection = self._files["counters"]
        found = connection.execute(
            "UPDATE counters SET value = value + ? WHERE name = ? AND window = ? RETURNING value",
            (request.amount, request.name, number),
        ).fetchone()
        left = None if ends is None else ends - self._now
        if found is not None:
            return found[0], left
        values = (request.name, request.amount, number, ends)
        connection.execute("INSERT OR REPLACE INTO counters VALUES (?, ?, ?, ?)", values)
        return request.amount, left

    def _restore(self, request: wire.Restore) -> int:
        present, _left = self._add(wire.Add(0, request.name, 0, request.window))
        if request.value > present:
            present, _left = self._add(wire.Add(0, request.name, request.value - present, request.window))
        return present

    def _publish(self, request: wire.Publish) -> int:
        connection = self._files["topics"]
        cursor: int = connection.execute(
            "INSERT INTO topics VALUES (?, 1, 0) ON CONFLICT (topic) DO UPDATE SET last = last + 1 RETURNING last",
            (request.topic,),
        ).fetchone()[0]
        expires = self._now + int(TOPIC_AGE * 1000)
        connection.execute(
            "INSERT INTO messages VALUES (?, ?, ?, ?)", (request.topic, cursor, request.payload, expires)
        )
        if cursor > TOPIC_MESSAGES:
            self._trim(request.topic, cursor - TOPIC_MESSAGES)
        self.grown.add(request.topic)
        return cursor

    def _trim(self, topic: str, cursor: int) -> None:
        """Remove a topic's messages up to a cursor."""
        connection = self._files["topics"]
        connection.execute("DELETE FROM messages WHERE topic = ? AND cursor <= ?", (topic, cursor))
        connection.execute("UPDATE topics SET trimmed = max(trimmed, ?) WHERE topic = ?", (cursor, topic))

    def _acquire(self, request: wire.Acquire) -> int | None:
        connection = self._files["leases"]
        held = connection.execute(
            "SELECT 1 FROM leases WHERE name = ? AND expires > ?", (request.name, self._now)
        ).fetchone()
        if held is not None:
            return None
        self._token += 1
        values = (request.name, request.owner, self._token, self._now + request.ttl)
        connection.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", values)
        return self._token

    def _renew(self, request: wire.Renew) -> bool:
        done = self._files["leases"].execute(
            "UPDATE leases SET expires = ? WHERE name = ? AND token = ? AND expires > ?",
            (self._now + request.ttl, request.name, request.token, self._now),
        )
        return done.rowcount > 0

    def _release(self, request: wire.Release) -> bool:
        done = self._files["leases"].execute(
            "DELETE FROM leases WHERE name = ? AND token = ?", (request.name, request.token)
        )
        return done.rowcount > 0

    def _raise(self, request: wire.Raise) -> None:
        self._revision = max(self._revision, request.revision)
        if request.token > self._token:
            self._token = request.token
            self._files["leases"].execute("INSERT OR REPLACE INTO meta VALUES ('token', ?)", (self._token,))

    def sweep(self, seconds: float) -> bool:
        """Remove what expired, for about `seconds` at most; return whether there is more. Between batches only."""
        self.begin()
        until = time.monotonic() + seconds
        for concern, sql in _SWEEPS.items():
            removed = _SWEPT
            while removed == _SWEPT:
                removed = self._files[concern].execute(sql, (self._now,)).rowcount
                if removed and time.monotonic() > until:
                    return True
        return self._sweep_messages()

    def _sweep_messages(self) -> bool:
        connection = self._files["topics"]
        old = connection.execute(
            f"SELECT topic, cursor FROM messages WHERE expires <= ? ORDER BY expires LIMIT {_SWEPT}", (self._now,)
        ).fetchall()
        if old:
            connection.execute("BEGIN IMMEDIATE")
            for topic, cursor in old:
                self._trim(topic, cursor)
            connection.execute("COMMIT")
        return len(old) == _SWEPT

    def checkpoint(self, concern: str) -> None:
        """Move what is left in a file's log into the file."""
        self._files[concern].execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close the files; what is not committed is forgotten."""
        for connection in self._files.values():
            connection.close()
        self._announcements.close()
