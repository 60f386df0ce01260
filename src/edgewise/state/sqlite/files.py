"""The files of the embedded engine, one for each concern, and how they are opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

_ENTRIES = """
CREATE TABLE IF NOT EXISTS entries (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL, revision INTEGER NOT NULL, expires INTEGER
);
CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires) WHERE expires IS NOT NULL;
"""
_META = "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
SCHEMAS = {
    "keys": _META + _ENTRIES,
    "blobs": _META + _ENTRIES,
    "counters": """
CREATE TABLE IF NOT EXISTS counters (
  name TEXT PRIMARY KEY, value INTEGER NOT NULL, window INTEGER NOT NULL, expires INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS counters_by_expiry ON counters (expires) WHERE expires IS NOT NULL;
""",
    "topics": """
CREATE TABLE IF NOT EXISTS topics (
  topic TEXT PRIMARY KEY, last INTEGER NOT NULL, trimmed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
  topic TEXT, cursor INTEGER, payload BLOB NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (topic, cursor)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS messages_by_expiry ON messages (expires);
""",
    "leases": _META
    + """
CREATE TABLE IF NOT EXISTS leases (
  name TEXT PRIMARY KEY, owner TEXT NOT NULL, token INTEGER NOT NULL, expires INTEGER NOT NULL
) WITHOUT ROWID;
""",
}
"""Times are Unix milliseconds of the writer's steady clock."""
SOCKET = "writer.sock"
LOCK = "writer.lock"
BUSY_MS = 1000


def database(directory: Path, concern: str) -> Path:
    """Return the file of a concern."""
    return directory / f"{concern}.sqlite"


def open_for_writing(directory: Path, concern: str, *, full: bool) -> sqlite3.Connection:
    """Open, and make where it is missing, the file of a concern. For the writer alone. Raises sqlite3.Error.

    `full`: each commit survives a loss of power, not only the end of a process.
    """
    connection = sqlite3.connect(database(directory, concern), isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA cache_size = -16384")
    connection.executescript(SCHEMAS[concern])
    return connection


def open_for_reading(directory: Path, concern: str) -> sqlite3.Connection:
    """Open a file that the writer made, to read only. Raises sqlite3.Error.

    Not `mode=ro`: after a crash of every process that had the file open, the first to open it has to recover the log.
    """
    path = quote(str(database(directory, concern)))
    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cache_size = -4096")
    return connection
