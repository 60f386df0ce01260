"""Purges: which stored responses are no longer to be used, told by numbers and not by walking through the store.

Each purge has an epoch. An object carries the epoch at which its request went out, so a purge that came later applies
to it, however late its fill ended. It is compared with the purges since its last comparison when it is next found.
"""

from __future__ import annotations

import re
from enum import StrEnum
from math import inf
from typing import NamedTuple

from edgewise.cache.cookies import name_pattern
from edgewise.cache.tags import split_ids, tag_id

MOST_MARKS = 65_536
"""Purges remembered; with more, the store is swept and they are forgotten."""
_MOST_PATTERNS = 64
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


_NEVER = _Mark(0, 0, inf)


class Purges:
    """All purges that objects in the store, and fills under way, may not have been compared with."""

    __slots__ = ("_lengths", "_marks", "_patterns", "epoch", "floor")

    def __init__(self) -> None:
        self.epoch = 0
        """Of the last purge; a fill keeps it from when its request goes out."""
        self.floor = 0
        """Purges up to here may be forgotten: a fill that began before is not stored."""
        self._marks: dict[tuple[Kind, bytes], _Mark] = {}
        self._lengths: dict[int, int] = {}
        """Length of a prefix -> the last purge by one of that length."""
        self._patterns: dict[bytes, re.Pattern[bytes]] = {}

    def __len__(self) -> int:
        return len(self._marks)

    @property
    def full(self) -> bool:
        """Is it time to sweep the store and forget?"""
        return len(self._marks) >= MOST_MARKS or len(self._patterns) >= _MOST_PATTERNS

    def apply(self, purge: Purge, now: float) -> int:
        """Take a purge at `now` (seconds since the epoch); return its epoch."""
        self.epoch += 1
        value = tag_id(purge.value) if purge.kind == Kind.TAG else purge.value
        before = self._marks.get((purge.kind, value), _NEVER)
        mark = before._replace(soft=self.epoch, at=now) if purge.soft else before._replace(hard=self.epoch)
        self._marks[(purge.kind, value)] = mark
        if purge.kind == Kind.PREFIX:
            self._lengths[len(value)] = self.epoch
        elif purge.kind == Kind.PATTERN:
            self._patterns[value] = name_pattern((value,))
        return self.epoch

    def until(self, url: bytes, tags: bytes, since: int) -> float:
        """Return until when an object may be fresh, by the purges after the epoch `since`: GONE, a time, infinity.

        Costs a look-up a tag and a length of prefixes, and a match a pattern, however many objects or purges there are.
        """
        if since >= self.epoch:
            return inf
        host = url.partition(b"/")[0]
        subjects = [(Kind.ALL, b""), (Kind.URL, url), (Kind.HOST, host), (Kind.HOST, _PORT.sub(b"", host))]
        subjects += [(Kind.TAG, tag) for tag in split_ids(tags)]
        subjects += [(Kind.PREFIX, url[:length]) for length, last in self._lengths.items() if last > since]
        subjects += [(Kind.PATTERN, value) for value, pattern in self._patterns.items() if pattern.fullmatch(url)]
        marks = self._marks
        return min(marks[subject].until(since) if subject in marks else inf for subject in subjects)

    def forget(self, epoch: int) -> None:
        """Forget the purges up to `epoch`: every object there is was compared with them."""
        self.floor = max(self.floor, epoch)
        self._marks = {key: mark for key, mark in self._marks.items() if max(mark.hard, mark.soft) > epoch}
        self._lengths = {length: last for length, last in self._lengths.items() if last > epoch}
        self._patterns = {
            value: found for value, found in self._patterns.items() if (Kind.PATTERN, value) in self._marks
        }
