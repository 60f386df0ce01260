"""Moving state from one engine to another: what is copied, how it is verified, and what is left behind.

Copied are keys with the time they have left, blobs, and counters without a window. Left behind are windows (they begin
anew), held leases (they are taken anew, with greater tokens) and messages (their readers begin at the new engine's).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from edgewise.contracts.state import LEAST_TTL, Entry, StateEngine

_AT_ONCE = 64
_SAME_TTL = 5.0
"""Seconds by which times to live may differ and still be taken for the same: some engines keep whole seconds, and while
a busy one answers, time goes on."""


class Portable(StateEngine, Protocol):
    """What an engine can do beside the contract so that its state can be moved."""

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
    revision, token = await source.floors()
    report.floors = await target.raise_floors(revision, token)
    await _copy_entries(source.scan, _Keys(target), report.keys, lambda count: progress("keys", count))
    await _copy_entries(source.scan_blobs, _Blobs(target), report.blobs, lambda count: progress("blobs", count))
    await _copy_counters(source, target, report.counters)
    return report


class _Keys:
    def __init__(self, engine: Portable) -> None:
        self._engine = engine

    async def same(self, entry: Entry, *, lifetime: bool) -> bool:
        found = await self._engine.get(entry.key)
        return found is not None and found.value == entry.value and (not lifetime or _same_ttl(found.ttl, entry.ttl))

    async def write(self, entry: Entry) -> None:
        await self._engine.set(entry.key, entry.value, entry.ttl)


class _Blobs:
    def __init__(self, engine: Portable) -> None:
        self._engine = engine

    async def same(self, entry: Entry, *, lifetime: bool) -> bool:
        return await self._engine.get_blob(entry.key) == entry.value

    async def write(self, entry: Entry) -> None:
        await self._engine.put_blob(entry.key, entry.value, entry.ttl)


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
    async def copy(entry: Entry) -> None:
        if await target.same(entry, lifetime=True):
            tally.already += 1
        else:
            await target.write(entry)
            tally.written += 1

    async def verify(entry: Entry) -> None:
        if await target.same(entry, lifetime=False):
            tally.verified += 1
        elif len(tally.missing) < 10:
            tally.missing.append(entry.key)

    async for page in scan():
        tally.found += len(page)
        await _each(copy, page, time.monotonic())
        progress(tally.found)
    async for page in scan():
        lasting = [entry for entry in page if entry.ttl is None or entry.ttl > _SAME_TTL]
        await _each(verify, lasting, time.monotonic())


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
