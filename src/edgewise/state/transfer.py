"""Moving state from one engine to another: what is copied, how it is verified, and what is left behind.

Copied are keys with the time they have left, blobs, and counters without a window. Left behind are windows (they begin
anew), held leases (they are taken anew, with greater tokens) and messages (their readers begin at the new engine's).

A key that was deleted since an earlier copy must not live on in the target, or sessions that were ended come back. So
a copy into an engine without keys leaves a mark there, as its last write. While that is the engine's last write, all
keys are copied ones, and the next copy removes those that are gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from edgewise.contracts.state import LEAST_TTL, Entry, StateEngine

_AT_ONCE = 256
_MARK = "state-copy/mark"
_MARK_TTL = 30 * 86400.0
_UNDER_WAY, _DONE = b"under way", b"done"
_SAME_TTL = 5.0
"""Seconds by which times to live may differ and still be taken for the same: some engines keep whole seconds, and while
a busy one answers, time goes on."""


class Portable(StateEngine, Protocol):
    """What an engine can do beside the contract so that its state can be moved."""

    async def get_all(self, keys: list[str]) -> list[Entry]:
        """Return the entries that there are of up to PAGE keys."""

    def scan(self) -> AsyncIterator[list[Entry]]:
        """Yield every entry, in pages."""

    def scan_blobs(self) -> AsyncIterator[list[Entry]]:
        """Yield every blob, in pages, as entries."""

    def scan_counters(self) -> AsyncIterator[list[tuple[str, int]]]:
        """Yield (name, value) of every counter without a window, in pages."""

    async def restore_counter(self, name: str, value: int) -> None:
        """Have a counter be at least `value`."""

    async def floors(self) -> tuple[int, int]:
        """Return the last revision and the last fencing token given."""

    async def raise_floors(self, revision: int, token: int) -> bool:
        """Have revisions and tokens go on above these; False where that is not possible."""


@dataclass
class Tally:
    """What became of one kind."""

    found: int = 0
    """In the engine copied from."""
    written: int = 0
    already: int = 0
    """Were there with the same value."""
    removed: int = 0
    """Copied earlier, and gone from the engine copied from since."""
    verified: int = 0
    missing: list[str] = field(default_factory=list)
    """The first keys that are not there, or not the same, after all."""


@dataclass
class Report:
    """What was copied."""

    keys: Tally = field(default_factory=Tally)
    blobs: Tally = field(default_factory=Tally)
    counters: Tally = field(default_factory=Tally)
    floors: bool = True
    """Revisions and fencing tokens go on above those of the engine copied from."""
    own: bool = True
    """The target had no keys but copied ones, so that those deleted since were removed."""

    @property
    def complete(self) -> bool:
        """Is everything there?"""
        return not (self.keys.missing or self.blobs.missing or self.counters.missing)


Progress = Callable[[str, int], None]
"""Told of (kind, how many so far) after each page."""


async def copy_state(source: Portable, target: Portable, progress: Progress = lambda kind, count: None) -> Report:
    """Copy and verify. May be run again, after an interruption too: what is there already is not written again.

    Where both engines hold a key with different values, the source's is written.
    """
    report = Report()
    mark = await target.get(_MARK)
    last, _token = await target.floors()
    report.own = await _is_own(target, mark, last)
    revision, token = await source.floors()
    report.floors = await target.raise_floors(revision, token)
    keys = _Keys(target, report.own)
    await _copy_entries(source.scan, keys, report.keys, lambda count: progress("keys", count))
    if mark is not None and report.own:
        await _remove_gone(source, target, last, report.keys)
    await keys.note(_DONE)
    await _copy_entries(source.scan_blobs, _Blobs(target), report.blobs, lambda count: progress("blobs", count))
    await _copy_counters(source, target, report.counters)
    return report


async def _is_own(target: Portable, mark: Entry | None, last: int) -> bool:
    """Are the target's keys all copied ones, by its last revision? An interrupted copy alone wrote after its mark."""
    if mark is None:
        return not await target.entries("", limit=1)
    return mark.value == _UNDER_WAY or last == mark.revision


async def _remove_gone(source: Portable, target: Portable, revision: int, tally: Tally) -> None:
    """Remove what an earlier copy wrote, up to a revision, where the source has it no more."""
    async for page in target.scan():
        copied = [entry for entry in page if entry.revision <= revision and entry.key != _MARK]
        there = {entry.key for entry in await source.get_all([entry.key for entry in copied])}
        for entry in copied:
            if entry.key not in there and await target.delete(entry.key, entry.revision):
                tally.removed += 1


class _Keys:
    """Keys of the target."""

    def __init__(self, engine: Portable, own: bool) -> None:
        """`own`: it has none but what was copied."""
        self._engine = engine
        self._own = own

    async def find(self, keys: list[str]) -> dict[str, Entry]:
        """Return what is there."""
        return {entry.key: entry for entry in await self._engine.get_all(keys)}

    def same(self, found: Entry, entry: Entry, *, lifetime: bool) -> bool:
        """Is an entry there as it should be?"""
        return found.value == entry.value and (not lifetime or _same_ttl(found.ttl, entry.ttl))

    async def write(self, entry: Entry) -> None:
        """Write one."""
        await self._engine.set(entry.key, entry.value, entry.ttl)

    async def note(self, state: bytes) -> None:
        """Mark what is there as copied."""
        if self._own:
            await self._engine.set(_MARK, state, _MARK_TTL)


class _Blobs:
    """Blobs of the target."""

    def __init__(self, engine: Portable) -> None:
        self._engine = engine

    async def find(self, keys: list[str]) -> dict[str, Entry]:
        """Return what is there."""
        blobs = [(key, await self._engine.get_blob(key)) for key in keys]
        return {key: Entry(key, data, 0, None) for key, data in blobs if data is not None}

    def same(self, found: Entry, entry: Entry, *, lifetime: bool) -> bool:
        """Is a blob there as it should be?"""
        return found.value == entry.value

    async def write(self, entry: Entry) -> None:
        """Write one."""
        await self._engine.put_blob(entry.key, entry.value, entry.ttl)

    async def note(self, state: bytes) -> None:
        """Do nothing: blobs are told apart by their keys."""


def _same_ttl(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _SAME_TTL


async def _copy_entries(
    scan: Callable[[], AsyncIterator[list[Entry]]],
    target: _Keys | _Blobs,
    tally: Tally,
    progress: Callable[[int], None],
) -> None:
    async for page in scan():
        read = time.monotonic()
        page = [entry for entry in page if entry.key != _MARK]
        tally.found += len(page)
        there = await target.find([entry.key for entry in page])
        wanted = []
        for entry in _aged(page, time.monotonic() - read):
            found = there.get(entry.key)
            if found is None or not target.same(found, entry, lifetime=True):
                wanted.append(entry)
        await _each(target.write, wanted, time.monotonic())
        await target.note(_UNDER_WAY)
        tally.written += len(wanted)
        tally.already += len(page) - len(wanted)
        progress(tally.found)
    async for page in scan():
        await _verify([entry for entry in page if entry.key != _MARK], target, tally)


async def _verify(page: list[Entry], target: _Keys | _Blobs, tally: Tally) -> None:
    lasting = [entry for entry in page if entry.ttl is None or entry.ttl > _SAME_TTL]
    there = await target.find([entry.key for entry in lasting])
    for entry in lasting:
        found = there.get(entry.key)
        if found is not None and target.same(found, entry, lifetime=False):
            tally.verified += 1
        elif len(tally.missing) < 10:
            tally.missing.append(entry.key)


async def _each(call: Callable[[Entry], Awaitable[None]], page: list[Entry], read: float) -> None:
    """Call for each entry that has not expired since it was `read`, some at once, with the time it has left by then."""
    for start in range(0, len(page), _AT_ONCE):
        passed = time.monotonic() - read
        await asyncio.gather(*(call(entry) for entry in _aged(page[start : start + _AT_ONCE], passed)))


def _aged(entries: list[Entry], passed: float) -> list[Entry]:
    aged = (entry if entry.ttl is None else entry._replace(ttl=entry.ttl - passed) for entry in entries)
    return [entry for entry in aged if entry.ttl is None or entry.ttl >= LEAST_TTL]


async def _copy_counters(source: Portable, target: Portable, tally: Tally) -> None:
    async for page in source.scan_counters():
        for name, value in page:
            tally.found += 1
            if await target.count(name) >= value:
                tally.already += 1
            else:
                await target.restore_counter(name, value)
                tally.written += 1
            if await target.count(name) >= value:
                tally.verified += 1
            else:
                tally.missing.append(name)
