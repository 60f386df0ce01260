"""Entries, purges and leases in the state engine, and the process's copies of them.

Keys of a namespace NS, each digest of 40 hexadecimal digits:

    cache/NS/e/DIGEST   an entry: a `Record`, or nothing where it was deleted a while ago
    cache/NS/t/DIGEST   a mark: its revision says when the tag was purged last
    cache/NS/all        the mark of the whole namespace
    cache-namespaces/NS says that there is one, for those who purge a tag in all of them: seconds for which a process
                        goes on with what it read, the most of all that were there

A computation reads the marks of its tags before it begins, and its entry keeps the greatest revision that it found.
Revisions grow, so an entry is valid as long as no mark of its tags has a greater one: a purge is one write, whatever is
stored, and what was begun before it cannot become valid by being stored after it.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
import zlib
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import msgspec

from edgewise.contracts.state import VALUE_BYTES, Entry, Lease, Snapshot, Snapshots, StateUnavailable
from edgewise.contrib.cache.keys import digest
from edgewise.contrib.cache.memory import Copy, Mark, Memory, Timed, revision_of
from edgewise.sessions.store import KeyValues

log = logging.getLogger("edgewise.cache")
NAMESPACES = "cache-namespaces/"
LONGEST = 30 * 86400.0
"""Seconds that an entry with tags lives at most."""
_MARK = LONGEST + 86400.0
"""Seconds after which a mark is forgotten: by then nothing is left that it could speak of."""
LONGEST_WORK = 600.0
"""Seconds that a computation may take for its value to be kept."""
_REMEMBERED = 60.0
"""Seconds beyond that for which a deletion is remembered, so that no such value is kept after it."""
MOST_TAGS = 64
MOST_DATA = 4 << 20
"""Bytes of a value at most, before it is deflated."""
_LONG = 16 << 10
"""Bytes from which on a value is deflated."""
_FASTEST = 1
_MOST_SEEN = 512
_SEEN_APART = 0.02
"""Revisions that are remembered with their times, and seconds between two of them."""
AWAY = 1.0
"""Seconds for which an engine that did not answer is not asked for entries."""


class Record(msgspec.Struct, array_like=True):
    """An entry's value in the engine."""

    stale: float
    cost: float
    since: int
    tags: list[str]
    data: bytes
    deflated: bool = False
    names: list[str] = []
    """Of tags, for who collects them (`contrib.tags`)."""


class Begun(NamedTuple):
    """What was there when a computation began."""

    revision: int
    """Of its entry, 0 for none."""
    since: int
    at: float
    """Monotonic seconds."""


class Engine(KeyValues, Protocol):
    """The part of `contracts.state.StateEngine` that the cache stands on; `Snapshots` where it can."""

    async def acquire(self, name: str, owner: str, ttl: float) -> Lease | None:
        """Take a lease that nobody holds."""

    async def release(self, lease: Lease) -> None:
        """Give a lease back."""


class Store:
    """One namespace on one engine. Keys and tags are digests.

    `find`, `begin`, `put`, `lease` and `release` make do without an engine that does not answer; the others raise
    StateUnavailable.
    """

    def __init__(
        self,
        engine: Engine,
        memory: Memory,
        namespace: str,
        copy_age: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._memory = memory
        self._prefix = f"cache/{namespace}/"
        self._name = NAMESPACES + namespace
        self._named: Snapshot | None = None
        self._copy_age = copy_age
        self._clock = clock
        self._away_until = 0.0
        self._seen: deque[tuple[float, int]] = deque([(-math.inf, 0)], _MOST_SEEN)
        """When revisions were known to be there, and which; both grow."""
        self._newest = self._seen[0]
        self._owner = uuid.uuid4().hex

    async def _look(self, key: str) -> Snapshot:
        if isinstance(self._engine, Snapshots):
            snapshot = self._engine.snapshot(key)
            if snapshot is not None:
                return snapshot
        purges, read = self._memory.purges, self._clock()
        entry = await self._engine.get(key)
        return Timed(self._memory, purges, entry, read, read + self._copy_age, self._clock)

    def away(self) -> bool:
        """Did the engine fail to answer a moment ago?"""
        return self._clock() < self._away_until

    def _lost(self, error: StateUnavailable) -> None:
        self._away_until = self._clock() + AWAY
        log.warning("the cache does without its store for %g s: %s", AWAY, error)

    async def find(self, key: str) -> Copy | None:
        """Return what is valid, stale or not."""
        copy = self._memory.copies.get(key)
        if copy is not None and copy.left() > 0:
            copy.visited = True
            return copy
        if self.away():
            return None
        try:
            return await self._judge(key, await self._look(f"{self._prefix}e/{key}"))
        except StateUnavailable as error:
            self._lost(error)
            return None

    async def _judge(self, key: str, snapshot: Snapshot) -> Copy | None:
        """Return what was read, and keep it, where it is valid."""
        record = _record(snapshot.entry)
        if record is None:
            self._memory.drop(key)
            return None
        marks = []
        for name in ["all", *(f"t/{tag}" for tag in record.tags)]:
            mark, revision = await self._mark(name)
            if revision > record.since:
                self._memory.drop(key)
                return None
            marks.append(mark)
        names = tuple(record.names)
        copy = Copy(key, snapshot, tuple(marks), record.since, record.stale, record.cost, record.data, names)
        self._memory.keep(copy)
        return copy

    async def _mark(self, name: str, anew: bool = False) -> tuple[Mark, int]:
        """Return a mark and its revision, read now unless what was read is known to hold."""
        key = self._prefix + name
        mark = self._memory.mark(key)
        if mark is None:
            snapshot = await self._look(key)
            self._see(revision_of(snapshot))
            return self._memory.share(Mark(key, snapshot)), revision_of(snapshot)
        snapshot = mark.snapshot
        if anew or snapshot.left() <= 0:
            snapshot = mark.snapshot = await self._look(key)
            self._see(revision_of(snapshot))
        return mark, revision_of(snapshot)

    async def begin(self, key: str, tags: Iterable[str]) -> Begun | None:
        """Return what a computation must know of the time before it, to be kept; None: it cannot be."""
        if self.away():
            return None
        try:
            return await self.begin_write(key, tags)
        except StateUnavailable as error:
            self._lost(error)
            return None

    async def begin_write(self, key: str, tags: Iterable[str]) -> Begun:
        """See `begin`; raises StateUnavailable."""
        at = self._clock()
        if self._named is None or self._named.left() <= 0:
            await self._list()
        entry = await self._engine.get(f"{self._prefix}e/{key}")
        revision = 0 if entry is None else entry.revision
        since = max(revision, self.seen(at))
        for name in ["all", *(f"t/{tag}" for tag in {*tags, *_tags(entry)})]:
            since = max(since, (await self._mark(name, anew=True))[1])
        return Begun(revision, since, at)

    def _see(self, revision: int) -> None:
        """Note that a revision is there."""
        if revision <= self._newest[1]:
            return
        newest = self._newest = (self._clock(), revision)
        if newest[0] >= self._seen[-1][0] + _SEEN_APART:
            self._seen.append(newest)

    def seen(self, at: float) -> int:
        """Return a revision that was there at a moment (monotonic seconds), the greatest that is known; 0: none is.

        What was read from then on may be kept with it: nothing that was purged at a later one can pass for valid.
        """
        newest, known = self._newest, list(self._seen)
        if newest[0] <= at:
            return newest[1]
        return known[bisect_right(known, at, key=lambda each: each[0]) - 1][1] if known[0][0] <= at else 0

    async def _list(self) -> None:
        """Have the namespace known before anything is computed that a purge could concern; again if that was lost."""
        self._named = await self._look(self._name)
        entry, age = self._named.entry, self._copy_age if isinstance(self._named, Timed) else 0.0
        if entry is None or _seconds(entry.value) < age:
            self._named = None
            await self._engine.set(self._name, b"%g" % age)

    async def put(self, key: str, begun: Begun, record: Record, ttl: float | None) -> bool:
        """Keep what was computed, unless the entry was written or deleted since it was begun; False: it is not kept."""
        if self._clock() - begun.at > LONGEST_WORK:
            return False
        name, value = f"{self._prefix}e/{key}", packed(record)
        try:
            written = await self._engine.compare_and_set(name, value, begun.revision, ttl)
            if written is None and begun.revision and await self._engine.get(name) is None:
                written = await self._engine.compare_and_set(name, value, 0, ttl)  # it ended by itself meanwhile
        except StateUnavailable as error:
            self._lost(error)
            return False
        if written is not None:
            if written <= record.since:  # the engine lost everything and counts anew: later purges would be lower
                self._seen.clear()
                self._seen.append((-math.inf, 0))
                self._newest = (-math.inf, 0)
                await self.forget(key, written)
                written = None
            else:
                self._see(written)
        self._memory.drop(key)
        return written is not None

    async def forget(self, key: str, revision: int) -> None:
        """Delete what must not have been kept, where the engine answers."""
        try:
            await self._engine.delete(f"{self._prefix}e/{key}", revision)
        except StateUnavailable as error:
            self._lost(error)

    async def write(self, key: str, record: Record, ttl: float | None) -> None:
        """Keep, whatever is there."""
        await self._engine.set(f"{self._prefix}e/{key}", packed(record), ttl)
        self._memory.drop(key)

    async def replace(self, key: str, record: Record, revision: int, ttl: float | None) -> bool:
        """Keep where the entry is at `revision`, 0 for none; False: it is not."""
        name = f"{self._prefix}e/{key}"
        written = await self._engine.compare_and_set(name, packed(record), revision, ttl)
        self._memory.drop(key)
        return written is not None

    async def touch(self, key: str, ttl: float) -> bool:
        """Give an entry another time to live; False where there is none."""
        touched = await self._engine.touch(f"{self._prefix}e/{key}", ttl)
        self._memory.drop(key)
        return touched

    async def entry(self, key: str) -> tuple[Copy | None, Entry | None]:
        """Return what is valid as the engine has it, and the entry that was read, which may no longer be valid."""
        snapshot = await self._look(f"{self._prefix}e/{key}")
        return await self._judge(key, snapshot), snapshot.entry

    async def remove(self, key: str, revision: int) -> bool:
        """Delete an entry that is at `revision`; a computation that is under way may bring it back."""
        removed = await self._engine.delete(f"{self._prefix}e/{key}", revision)
        self._memory.drop(key)
        return removed

    async def delete(self, key: str) -> None:
        """Delete, and let no computation be kept that is under way."""
        await self._engine.set(f"{self._prefix}e/{key}", b"", LONGEST_WORK + _REMEMBERED)
        self._memory.drop(key)

    async def purge(self, tags: Iterable[str]) -> None:
        """Let nothing be valid that has one of the tags and was begun before now."""
        for tag in tags:
            self._see(await self._engine.set(f"{self._prefix}t/{tag}", b"", _MARK))
        self._memory.purges += 1

    async def purge_all(self) -> None:
        """Let nothing be valid that was begun before now; what is there goes when its time is over."""
        self._see(await self._engine.set(f"{self._prefix}all", b""))
        self._memory.purges += 1

    async def clear(self) -> None:
        """Let nothing be valid that was begun before now, then remove it."""
        await self.purge_all()
        prefix, after = f"{self._prefix}e/", ""
        while page := await self._engine.entries(prefix, after):
            for entry in page:
                await self._engine.delete(entry.key, entry.revision)
            after = page[-1].key

    async def lease(self, key: str, seconds: float) -> Lease | None:
        """Take the right to compute; None: another process has it, or the engine is away, as `away` tells."""
        try:
            return await self._engine.acquire(f"{self._prefix}{key}", self._owner, seconds)
        except StateUnavailable as error:
            self._lost(error)
            return None

    async def release(self, lease: Lease) -> None:
        """Give the right back; it ends by itself where that fails."""
        try:
            await self._engine.release(lease)
        except StateUnavailable as error:
            self._lost(error)


async def namespaces(engine: KeyValues) -> dict[str, float]:
    """Return the names of all that keep anything in an engine, and the seconds for which a process goes on with what it
    read after a purge. Raises StateUnavailable."""
    found: dict[str, float] = {}
    after = ""
    while page := await engine.entries(NAMESPACES, after):
        found |= {entry.key.removeprefix(NAMESPACES): _seconds(entry.value) for entry in page}
        after = page[-1].key
    return found


def _seconds(value: bytes) -> float:
    """Return the seconds that a namespace's entry says; 0 for what is none."""
    try:
        return float(value)
    except ValueError:
        return 0.0


def packed(record: Record) -> bytes:
    """Return a record in bytes, deflated where it is long. Raises ValueError for one that is too large even so."""
    if _LONG < len(record.data) <= MOST_DATA:
        deflated = zlib.compress(record.data, _FASTEST)
        if len(deflated) < len(record.data):
            record = msgspec.structs.replace(record, data=deflated, deflated=True)
    value = msgspec.msgpack.encode(record)
    if len(value) > VALUE_BYTES:
        raise ValueError(f"{len(value)} bytes are more than the {VALUE_BYTES} that an entry may have")
    return value


def _record(entry: Entry | None) -> Record | None:
    """Return the record of an entry; None where it was deleted, or is of another version of edgewise."""
    if entry is None or not entry.value:
        return None
    try:
        record = msgspec.msgpack.decode(entry.value, type=Record)
        if record.deflated:
            inflating = zlib.decompressobj()
            record.data = inflating.decompress(record.data, MOST_DATA)
            if not inflating.eof:
                return None
    except (msgspec.MsgspecError, zlib.error):
        return None
    return record


def _tags(entry: Entry | None) -> list[str]:
    """Return the digests of tags that an entry has, valid or not: what is computed in its place may have them again."""
    if entry is None or not entry.value:
        return []
    try:
        return msgspec.msgpack.decode(entry.value, type=Record).tags
    except msgspec.MsgspecError:
        return []


def tag_digests(tags: Iterable[str]) -> list[str]:
    """Return what stands for tags. Raises ValueError for more than an entry may have."""
    found = [digest("tag", tag) for tag in tags]
    if len(found) > MOST_TAGS:
        raise ValueError(f"{len(found)} tags are more than the {MOST_TAGS} that an entry may have")
    return found
