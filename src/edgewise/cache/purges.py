"""Purges: which stored responses are no longer to be used, told by numbers and not by walking through the store.

Each purge has an epoch. An object carries the epoch at which its request went out, so a purge that came later applies
to it, however late its fill ended. It is compared with the purges since its last comparison when it is next found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from math import inf
from typing import NamedTuple

from edgewise.cache.cookies import name_pattern
from edgewise.cache.tags import split_ids, tag_id

MOST_MARKS = 65_536
"""Values whose purges are remembered; before there are more, the store is swept and they are forgotten."""
MOST_PATTERNS = 512
"""The same for patterns, each of which an object has to be matched with."""
_PORT = re.compile(rb":[0-9]++$")
GONE = 0.0


class Kind(StrEnum):
    """What a purge goes by."""

    URL = "url"
    """`host[:port]/path[?query]` (`Keys.url`): all variants, by either scheme."""
    PREFIX = "prefix"
    """The beginning of one."""
    HOST = "host"
    """With any port, or with the one given."""
    TAG = "tag"
    """Of Surrogate-Key, Cache-Tag or Cache-Groups."""
    PATTERN = "pattern"
    """A URL in which `*` stands for anything."""
    ALL = "all"


class Purge(NamedTuple):
    """One purge."""

    kind: Kind
    value: bytes = b""
    soft: bool = False
    """Stale, to be validated, in place of gone."""


class Mark(NamedTuple):
    """A purge that is remembered."""

    number: int
    """Its epoch."""
    kind: Kind
    value: bytes
    """Of a tag, its id."""
    soft_at: float | None
    """When it was (seconds since the epoch), for a soft one; None: a hard one."""


class _Mark(NamedTuple):
    """The last purges of one value."""

    hard: int
    soft: int
    at: float
    """When the soft one was."""

    def until(self, since: int) -> float:
        """Return GONE, the time since when it is stale, or infinity, by what came after the epoch `since`."""
        if self.hard > since:
            return GONE
        return self.at if self.soft > since else inf

    def with_purge(self, number: int, soft_at: float | None) -> _Mark:
        """Return the mark after another purge of its value, a soft one where it has a time."""
        if soft_at is None:
            return self._replace(hard=max(self.hard, number))
        return self._replace(soft=number, at=soft_at) if number > self.soft else self


_NEVER = _Mark(0, 0, inf)


class Purges:
    """All purges that objects in the store, and fills under way, may not have been compared with."""

    __slots__ = ("_lengths", "_marks", "_patterns", "epoch", "floor", "tagged")

    def __init__(self) -> None:
        self.epoch = 0
        """Of the last purge; a fill keeps it from when its request goes out."""
        self.floor = 0
        """Purges up to here may be forgotten: a fill that began before is not stored."""
        self.tagged = 0
        """The last purge by a tag."""
        self._marks: dict[Kind, dict[bytes, _Mark]] = {kind: {} for kind in Kind}
        self._lengths: dict[int, int] = {}
        """Length of a prefix -> the last purge by one of that length."""
        self._patterns: dict[bytes, tuple[re.Pattern[bytes], int]] = {}
        """Pattern -> compiled, and the last purge by it."""

    def __len__(self) -> int:
        return sum(map(len, self._marks.values()))

    @property
    def room(self) -> int:
        """How many purges are remembered before some have to be forgotten."""
        return min(MOST_MARKS - len(self), MOST_PATTERNS - len(self._patterns))

    @property
    def crowded(self) -> bool:
        """Is it time to sweep the store and forget?"""
        return 2 * len(self) >= MOST_MARKS or 2 * len(self._patterns) >= MOST_PATTERNS

    def apply(self, purge: Purge, now: float, epoch: int | None = None) -> int:
        """Take a purge at `now` (seconds since the epoch); return its epoch.

        `epoch`: its number, where somebody else numbers them; purges may then come twice, and in any order.
        """
        number = self.epoch + 1 if epoch is None else epoch
        value = tag_id(purge.value) if purge.kind == Kind.TAG else purge.value
        self.restore(Mark(number, purge.kind, value, now if purge.soft else None))
        return number

    def marks(self) -> Iterator[Mark]:
        """Yield what is remembered, in no order."""
        for kind, marks in self._marks.items():
            for value, mark in marks.items():
                if mark.hard:
                    yield Mark(mark.hard, kind, value, None)
                if mark.soft > mark.hard:
                    yield Mark(mark.soft, kind, value, mark.at)

    def restore(self, mark: Mark) -> None:
        """Take what `marks` told, of these or other purges; twice, and in any order."""
        number, kind, value, soft_at = mark
        self.epoch = max(self.epoch, number)
        marks = self._marks[kind]
        marks[value] = marks.get(value, _NEVER).with_purge(number, soft_at)
        if kind == Kind.TAG:
            self.tagged = max(self.tagged, number)
        elif kind == Kind.PREFIX:
            self._lengths[len(value)] = max(self._lengths.get(len(value), 0), number)
        elif kind == Kind.PATTERN:
            pattern, last = self._patterns.get(value) or (name_pattern((value,)), 0)
            self._patterns[value] = (pattern, max(last, number))

    def until(self, url: bytes, tags: bytes, since: int) -> float:
        """Return until when an object may be fresh, by the purges after the epoch `since`: GONE, a time, infinity.

        Costs a look-up a tag and a length of prefixes, and a match a pattern, however many objects or purges there are.
        """
        if since >= self.epoch:
            return inf
        of = self._marks
        found = [of[Kind.ALL].get(b""), of[Kind.URL].get(url)]
        if hosts := of[Kind.HOST]:
            host = url.partition(b"/")[0]
            found += (hosts.get(host), hosts.get(_PORT.sub(b"", host)))
        if marks := of[Kind.TAG]:
            found += map(marks.get, split_ids(tags))
        if prefixes := of[Kind.PREFIX]:
            found += [prefixes.get(url[:length]) for length, last in self._lengths.items() if last > since]
        if patterns := of[Kind.PATTERN]:
            later = [(value, pattern) for value, (pattern, last) in self._patterns.items() if last > since]
            found += [patterns[value] for value, pattern in later if pattern.fullmatch(url)]
        return min((mark.until(since) for mark in found if mark is not None), default=inf)

    def forget(self, epoch: int) -> None:
        """Forget the purges up to `epoch`: every object there is was compared with them."""
        self.floor = max(self.floor, epoch)
        self.epoch = max(self.epoch, epoch)
        for kind, marks in self._marks.items():
            self._marks[kind] = {key: mark for key, mark in marks.items() if max(mark.hard, mark.soft) > epoch}
        self._lengths = {length: last for length, last in self._lengths.items() if last > epoch}
        self._patterns = {value: found for value, found in self._patterns.items() if found[1] > epoch}
