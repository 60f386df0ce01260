"""The answer that a stored response gives to a request: whole, a part of it, or 304 (RFC 9111 section 4.3.2)."""

from __future__ import annotations

from typing import NamedTuple

from edgewise.cache.freshness import timestamp
from edgewise.cache.request import CacheRequest
from edgewise.cache.stored import Stored
from edgewise.http.dates import format_date
from edgewise.http.preconditions import Conditions, outcome, range_applies
from edgewise.http.ranges import content_range, parse_range
from edgewise.http.statuses import status_line

_NOT_IN_304 = (b"content-type", b"content-encoding", b"content-language", b"content-range")


class Hit(NamedTuple):
    """An answer from the cache."""

    status: int
    head: bytes
    """Without the empty line at its end, so that fields can be added."""
    start: int
    """Of the content to send; all of it is left out where the request was HEAD."""
    end: int


def answer(stored: Stored, request: CacheRequest, now: float, status: bytes = b"", length: int | None = None) -> Hit:
    """Return the answer; `status`: a Cache-Status line to add. Age is always added (RFC 9111 section 4).

    `length` of the content where it is still on its way, -1 where nobody knows it: then no range is cut out.
    """
    size = stored.length if length is None else length
    asked = request.said.conditions
    if asked is not None and stored.status == 200:
        if outcome(asked, stored.etag or b"", _modified(stored)):
            return _not_modified(stored, now, status)
        if request.said.ranged and size >= 0 and _range_applies(stored, asked):
            spans = parse_range(asked.range, size)
            if spans is not None and not spans:
                return _unsatisfiable(size, now, status)
            if spans is not None and len(spans) == 1:
                return _part(stored, spans[0], size, now, status)
    head = b"%b%b%b" % (stored.head, stored.age_lines(now), status)
    return Hit(stored.status, head, 0, size)


def _modified(stored: Stored) -> int:
    """Return its last change as far as it is known: without Last-Modified, its date (RFC 9111 section 4.3.2)."""
    modified = None if stored.modified is None else timestamp(stored.modified)
    return int(stored.date) if modified is None else modified


def _range_applies(stored: Stored, asked: Conditions) -> bool:
    """A date without an entity tag is strong where a second passed before the answer (RFC 9110 section 8.8.2.2)."""
    modified = _modified(stored)
    if asked.if_range and stored.etag is None and (stored.modified is None or stored.date - modified < 1):
        return False
    return range_applies(asked, stored.etag or b"", modified)


# ---- heads -----------------------------------------------------------------------------------------------------------


def _not_modified(stored: Stored, now: float, status: bytes) -> Hit:
    lines = b"".join(field.line for field in stored.shown if field.name not in _NOT_IN_304)
    return Hit(304, b"%b%b%b%b" % (status_line(304), lines, stored.age_lines(now), status), 0, 0)


def _part(stored: Stored, span: tuple[int, int], size: int, now: float, status: bytes) -> Hit:
    start, end = span
    place = content_range(start, end, size)
    length = b"Content-Range: %b\r\nContent-Length: %d\r\n" % (place, end - start)
    head = b"%b%b%b%b%b" % (status_line(206), stored.told, length, stored.age_lines(now), status)
    return Hit(206, head, start, end)


def _unsatisfiable(size: int, now: float, status: bytes) -> Hit:
    length = b"Content-Range: bytes */%d\r\nContent-Length: 0\r\n" % size
    return Hit(416, b"%bDate: %b\r\n%b%b" % (status_line(416), format_date(now), length, status), 0, 0)
