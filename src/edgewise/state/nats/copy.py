"""The node's own copy of the keys, in a SQLite file that one process keeps up to date and the others read."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
from pathlib import Path

from edgewise.contracts.state import Entry, StateUnavailable
from edgewise.state.clock import since_boot
from edgewise.state.nats.connection import Connection, Refused, Stored
from edgewise.state.nats.following import follow
from edgewise.state.nats.streams import KEYS, ROOTS
from edgewise.state.nats.values import TOMBSTONE_TTL, expires, key_of
from edgewise.state.sqlite.files import open_for_writing
from edgewise.state.sqlite.reader import Reader

log = logging.getLogger("edgewise.state")
_LOCK = "copy.lock"
_WRITE = "INSERT OR REPLACE INTO entries (key, value, revision, expires) VALUES (?, ?, ?, ?)"
_COMMIT_AFTER = 500
_COMMIT_WITHIN = 0.05
"""Changes, and seconds, after which what was copied is committed."""
_LOOK_AGAIN = 2.0
_SWEEP = """DELETE FROM entries WHERE id IN
(SELECT id FROM entries WHERE expires <= ? ORDER BY expires LIMIT 500)"""


class CopyReader:
    """Reads the copy."""

    def __init__(self, directory: Path) -> None:
        self._reader = Reader(directory)

    def get(self, key: str) -> Entry | None:
        """Return an entry as it was when the node last heard from NATS. Raises StateUnavailable without a copy."""
        return self._reader.get("keys", key)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


async def keep_copy(connection: Connection, directory: Path) -> None:
    """Copy every change of the keys, for as long as this runs; while another process does so, wait for its end."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while not _locked(lock):
            await asyncio.sleep(_LOOK_AGAIN)
        copy = _Copy(connection, directory)
        try:
            await copy.run()
        finally:
            copy.close()
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Copy:
    """The file, open for writing."""

    def __init__(self, connection: Connection, directory: Path) -> None:
        self._connection = connection
        self._file = open_for_writing(directory, "keys", full=False)
        self._file.execute("PRAGMA wal_autocheckpoint = 1000")
        self._uncommitted = 0

    async def run(self) -> None:
        """Copy without end."""
        async for stored in follow(self._connection, KEYS, f"{ROOTS[KEYS]}.>", self._begin, latest=True):
            self._take(stored)

    def _number(self, name: str) -> int:
        row = self._file.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    async def _begin(self) -> int:
        """Return the position to go on after; empty the copy where what changed since cannot be known any more."""
        self._commit()
        try:
            state = await self._connection.stream_state(KEYS)
            await self._connection.read_clock(KEYS)
        except Refused as refused:  # the stream is gone, or only being made
            raise StateUnavailable(str(refused)) from refused
        now = self._connection.now()
        known = self._file.execute("SELECT value FROM meta WHERE name = 'stream'").fetchone()
        position = self._number("position")
        late = now - self._number("heard") > TOMBSTONE_TTL / 2
        anew = position > 0 and (not known or known[0] != state["created"] or position > state["last_seq"] or late)
        self._file.execute("BEGIN IMMEDIATE")
        if anew:
            log.info("the copy of the keys begins anew")
            self._file.execute("DELETE FROM entries")
            self._note("position", 0)
        self._note("stream", state["created"])
        self._note("offset", now - since_boot())
        self._note("heard", int(now))
        self._file.execute("COMMIT")
        return 0 if anew else position

    def _note(self, name: str, value: object) -> None:
        self._file.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def _take(self, stored: Stored) -> None:
        if not self._uncommitted:
            self._file.execute("BEGIN IMMEDIATE")
            asyncio.get_running_loop().call_later(_COMMIT_WITHIN, self._commit)
        key, until = key_of(KEYS, stored), expires(stored)
        if until is not None and until <= self._connection.now():
            self._file.execute("DELETE FROM entries WHERE key = ?", (key,))
        else:
            milliseconds = None if until is None else int(until * 1000)
            self._file.execute(_WRITE, (key, stored.data, stored.sequence, milliseconds))
        self._note("position", stored.sequence)
        self._note("heard", int(stored.at))
        self._uncommitted += 1
        if self._uncommitted >= _COMMIT_AFTER:
            self._commit()

    def _commit(self) -> None:
        if self._uncommitted:
            self._uncommitted = 0
            self._file.execute(_SWEEP, (int(self._connection.now() * 1000),))
            self._file.execute("COMMIT")

    def close(self) -> None:
        """Commit and close."""
        try:
            self._commit()
        except sqlite3.Error as error:
            log.error("the copy of the keys: %s", error)
        self._file.close()
