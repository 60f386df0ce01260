"""Tags of what a value or an answer was made of: their names for rows of a database, and who collects them meanwhile.

    product:7    one row, by its primary key; what was read by key has this tag, and `product:*`
    product      any set of rows: what came of any other query has this tag alone
    product:*    every single row

A row that is inserted, changed or deleted purges `product:7` and `product`; a statement of which it is not known whose
rows it changed purges `product` and `product:*`. docs/database-caching.md has the whole scheme.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import re
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from hashlib import sha256

MOST = 64
"""Tags that are collected; with more of them, those of single rows become those of their tables."""
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DIGITS = 32


def row_tag(table: str, *key: object) -> str:
    """Return the tag of one row; several values of a key in the order of its columns."""
    return ":".join([_part(table), *map(_part, key)])


def table_tag(table: str) -> str:
    """Return the tag of what depends on a set of rows."""
    return _part(table)


def rows_tag(table: str) -> str:
    """Return the tag that everything has which depends on single rows."""
    return f"{_part(table)}:*"


def change_tags(table: str, *key: object) -> list[str]:
    """Return what a change of a row makes invalid; without a key, a change of rows that are not known."""
    return [row_tag(table, *key) if key else rows_tag(table), table_tag(table)]


def bounded(tags: Iterable[str], most: int = 1000) -> list[str]:
    """Return what a transaction changed; of very many rows, that any row of their tables may have changed."""
    found = set(tags)
    if len(found) <= most:
        return sorted(found)
    tables = {tag.partition(":")[0] for tag in found if ":" in tag}
    return sorted({tag for tag in found if ":" not in tag} | {f"{table}:*" for table in tables})


def _part(value: object) -> str:
    """Return a value in characters that every field of tags may carry; what has others is hashed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)
    if _PLAIN.fullmatch(text):
        return text
    return "~" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


class Unit:
    """A transaction in which something was written; what was read in it is nobody else's before it is committed."""

    __slots__ = ("committed",)

    def __init__(self) -> None:
        self.committed = False


class Collected:
    """What was used since the collection began; from any thread or task that has its context."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._whole: set[str] = set()
        """Tables whose rows are no longer told apart."""
        self._units: set[Unit] = set()
        self.tags: set[str] = set()
        self.overflowed = False
        """Were there more tags than are kept? Then a purge may pass by what is being made."""
        self.read_at = math.inf
        """Monotonic seconds as of which the oldest of it was read; infinity for nothing older than its reading."""

    @property
    def shareable(self) -> bool:
        """May what is made of it be kept for others: all tags are known, and nothing of it may yet be rolled back."""
        return not self.overflowed and all(unit.committed for unit in list(self._units))

    def add(self, tags: Iterable[str]) -> None:
        """Note tags."""
        with self._lock:
            self.tags.update(tag for tag in tags if ":" not in tag or tag.partition(":")[0] not in self._whole)
            if len(self.tags) > self._most:
                self._collapse()

    def collapse(self) -> None:
        """Name tables in place of single rows."""
        with self._lock:
            for table in [tag[:-2] for tag in self.tags if tag.endswith(":*")]:
                self._merge(table)

    def _collapse(self) -> None:
        tables = {tag[:-2]: 0 for tag in self.tags if tag.endswith(":*")}
        for tag in self.tags:
            table, colon, _ = tag.partition(":")
            if colon and table in tables:
                tables[table] += 1
        for table in sorted(tables, key=lambda table: tables[table], reverse=True):
            self._merge(table)
            if len(self.tags) <= self._most:
                return
        self.overflowed = True
        self.tags = set(list(self.tags)[: self._most])

    def _merge(self, table: str) -> None:
        self._whole.add(table)
        self.tags = {tag for tag in self.tags if not tag.startswith(f"{table}:")} | {table}

    def depend(self, unit: Unit) -> None:
        """Note that something was read in a transaction that wrote."""
        with self._lock:
            self._units.add(unit)

    def age(self, read_at: float) -> None:
        """Note that something is as of a moment, in monotonic seconds."""
        self.read_at = min(self.read_at, read_at)

    def take(self, other: Collected) -> None:
        """Note all that another collection has."""
        self.add(list(other.tags))
        self.age(other.read_at)
        with self._lock:
            self._units |= other._units
            self.overflowed = self.overflowed or other.overflowed


_current: ContextVar[Collected | None] = ContextVar("edgewise_tags", default=None)


def collected() -> Collected | None:
    """Return the collection of what runs; None where nobody collects."""
    return _current.get()


def record(*tags: str) -> None:
    """Note tags of what is used, where somebody collects them."""
    found = _current.get()
    if found is not None:
        found.add(tags)


@contextlib.contextmanager
def collecting(most: int = MOST) -> Iterator[Collected]:
    """Collect for the body alone; who collected before learns of nothing (`Collected.take` would tell)."""
    found = Collected(most)
    before = _current.set(found)
    try:
        yield found
    finally:
        _current.reset(before)
