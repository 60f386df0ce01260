"""Objects kept in slices: which part of one a server is asked for, and whether what it sent belongs to the rest.

A slice is a stored response of its own, with status 206. What is stored under the object's own key has its fields, its
freshness and its length, and no content. Parts are combined only where a strong validator, the same in all of them,
says that they are of the same content (RFC 9110 section 15.3.7.3, RFC 9111 section 3.4).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from edgewise.cache.directives import joined
from edgewise.cache.freshness import timestamp
from edgewise.cache.recent import remember
from edgewise.cache.request import CacheRequest
from edgewise.cache.settings import CacheSettings
from edgewise.cache.stored import Stored
from edgewise.cache.storing import Refusal, describe, judge
from edgewise.contracts.cache import Part
from edgewise.http.head import CHUNKED, UNTIL_CLOSE, Field, ResponseHead
from edgewise.http.ranges import content_range

_PLACE = re.compile(rb"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.IGNORECASE)
_FIRST = re.compile(rb"bytes=[ \t]*([0-9]{1,18})-[0-9]{0,18}[ \t]*", re.IGNORECASE)
"""One range that says where it begins."""
_VALIDATORS = (b"etag", b"last-modified")
_SECONDS = 120.0
"""Time for which it is remembered how to ask for an object."""
_MOST_DROPPED = 65_536
"""Slices that are dropped at once where their object has changed; others give way to what is used."""
UNFIT = Refusal("not in slices")
"""It cannot be kept in slices, though perhaps whole."""


class Place(NamedTuple):
    """Where the content of a 206 belongs: bytes `start` to `end` (exclusive) of `total`."""

    start: int
    end: int
    total: int


class Sliced(NamedTuple):
    """What a 206 is the beginning of."""

    stored: Stored
    """The object."""
    part: Stored
    """The slice, without its content."""


class Slicing:
    """Which objects of one route are asked for in slices."""

    __slots__ = ("_changed", "_from_start", "_settings", "_size", "_whole")

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._size = settings.slice
        self._whole: dict[bytes, float] = {}
        """Key -> time until which it is asked for whole."""
        self._from_start: dict[bytes, float] = {}
        """Key -> time until which its first slice is asked for, whatever the client wants: it may be shorter."""
        self._changed: dict[bytes, float] = {}
        """Key -> time until which it may not change once more, or is not for slices."""

    def first(self, request: CacheRequest, now: float) -> Part | None:
        """Return the slice to ask for where it is not known what there is; None: ask for the whole."""
        if not self._size or self._whole.get(request.key, 0.0) > now:
            return None
        number = 0
        if request.said.ranged and self._from_start.get(request.key, 0.0) <= now:
            asked = request.said.conditions
            begins = None if asked is None else _FIRST.fullmatch(asked.range)
            number = 0 if begins is None else int(begins[1]) // self._size
        return Part(number, self._size)

    def ask_whole(self, request: CacheRequest, now: float) -> None:
        """What a server sent cannot be kept in slices: ask for the whole next time."""
        remember(self._whole, request.key, now + _SECONDS)

    def unsatisfied(self, request: CacheRequest, part: Part, now: float) -> None:
        """There is no such slice: begin with the first; where that is missing, there are no bytes at all."""
        remember(self._from_start if part.number else self._whole, request.key, now + _SECONDS)

    def changed(self, request: CacheRequest, now: float) -> None:
        """Two parts were of different contents. One that does so again, as with servers that disagree, is asked for
        whole."""
        if self._changed.get(request.key, 0.0) > now:
            self.ask_whole(request, now)
        remember(self._changed, request.key, now + _SECONDS)

    def judge(
        self, request: CacheRequest, part: Part, response: ResponseHead, asked: float, received: float
    ) -> Sliced | ResponseHead | Refusal:
        """Decide about a 206 that is the first one sees of an object: what it begins, or the whole where that is all
        there is; UNFIT where it is not what was asked for, or cannot be combined."""
        place = place_of(response)
        if place is None or (place.start, place.end) != bounds(part.number, part.size, place.total):
            return UNFIT
        whole = as_whole(response)
        if place.end - place.start == place.total:
            return whole
        # How long it is does not matter: only its slices have to fit in.
        stored = judge(request, whole._replace(body=CHUNKED), self._settings, asked, received)
        if isinstance(stored, Refusal):
            return stored
        if not is_combinable(stored):
            return UNFIT
        stored.slice = part.size
        stored.measure(place.total)
        return Sliced(stored, _slice(stored, part.number, stored, place))

    def slice_of(
        self, request: CacheRequest, part: Part, response: ResponseHead, asked: float, received: float
    ) -> tuple[Stored | None, str]:
        """Return the slice of a known object that a 206 is, and why it must not be stored, "" where it may.

        None: it is no part of that object.
        """
        stored, place = part.of, place_of(response)
        assert isinstance(stored, Stored)
        if place is None:
            return None, ""
        whole = as_whole(response)
        described = describe(request, whole, self._settings, asked, received)
        found = _slice(stored, part.number, described, place)
        if not fits(stored, part.number, found):
            return None, ""
        judged = judge(request, whole._replace(body=CHUNKED), self._settings, asked, received)
        return found, judged.reason if isinstance(judged, Refusal) else ""


def bounds(number: int, size: int, total: int) -> tuple[int, int]:
    """Return where a slice begins and ends (exclusive)."""
    return number * size, min((number + 1) * size, total)


def count(stored: Stored) -> int:
    """Return how many slices an object has, as far as it is worth looking for them one by one."""
    return min(-(-stored.length // stored.slice), _MOST_DROPPED) if stored.slice else 0


def asked_range(part: Part) -> bytes:
    """Return the value of Range that asks for a slice: all of it, whatever the length of the object."""
    return b"bytes=%d-%d" % (part.number * part.size, (part.number + 1) * part.size - 1)


def slice_key(stored: Stored, number: int) -> bytes:
    """Return the key of a slice; nothing else in a key has a space behind its first line."""
    return b"%b\nslice %d/%d" % (stored.key, number, stored.slice)


def place_of(response: ResponseHead) -> Place | None:
    """Return where the content of a 206 belongs; None where that is not said, or not possible."""
    value = joined(response.fields, b"content-range")
    match = None if value is None or response.status != 206 else _PLACE.fullmatch(value)
    if match is None:
        return None
    first, last, total = map(int, match.groups())
    if not first <= last < total or response.body not in (last + 1 - first, CHUNKED, UNTIL_CLOSE):
        return None
    return Place(first, last + 1, total)


def as_whole(response: ResponseHead) -> ResponseHead:
    """Return the head that a 200 would have had (RFC 9110 section 15.3.7)."""
    fields = tuple(field for field in response.fields if field.name != b"content-range")
    return response._replace(status=200, reason=b"OK", fields=fields)


def is_combinable(stored: Stored) -> bool:
    """Has it a strong validator? A date is one where a second passed before the answer (RFC 9110 section 8.8.2.2)."""
    if joined(stored.fields, b"etag") is not None:
        return stored.etag is not None and not stored.etag.startswith(b"W/")
    modified = None if stored.modified is None else timestamp(stored.modified)
    return modified is not None and stored.date - modified >= 1


def same_content(one: Stored, other: Stored) -> bool:
    """Are the slices of one object good for another?"""
    ours, theirs = [(each.etag, each.modified, each.length, each.slice) for each in (one, other)]
    return ours == theirs


def fits(stored: Stored, number: int, part: Stored) -> bool:
    """Is this the slice of that number of an object, as it is now?"""
    if (part.etag, part.modified) != (stored.etag, stored.modified):
        return False
    start, end = bounds(number, stored.slice, stored.length)
    return joined(part.fields, b"content-range") == content_range(start, end, stored.length)


def _slice(stored: Stored, number: int, described: Stored, place: Place) -> Stored:
    """Return a slice of an object as it is stored, without content; `described`: what the fields beside it say."""
    value = content_range(*place)
    kept = tuple(field for field in described.fields if field.name in _VALIDATORS)
    fields = (*kept, Field(b"content-range", value, b"Content-Range: %b\r\n" % value))
    part = Stored(206, b"Partial Content", fields)
    part.key = part.primary = slice_key(stored, number)
    part.url, part.tags = stored.url, stored.tags
    part.received, part.date, part.born = described.received, described.date, described.born
    part.fresh_until = described.fresh_until
    part.length = place.end - place.start
    return part
