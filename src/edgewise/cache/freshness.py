"""How long a response is fresh, and how old it is (RFC 9111 section 4.2)."""

from __future__ import annotations

from typing import NamedTuple

from edgewise.cache.directives import MOST_SECONDS, Directives, parse_seconds
from edgewise.cache.settings import CacheSettings
from edgewise.http.dates import parse_date
from edgewise.http.head import Field
from edgewise.protocols.memo import Memo

HEURISTICALLY_CACHEABLE = frozenset((200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501))
"""Statuses that may be stored without a word about freshness (RFC 9110 section 15.1)."""


class Lifetime(NamedTuple):
    """How long a response is fresh from its birth on."""

    seconds: float
    explicit: bool
    """The response says so itself."""
    known: bool = True
    """The response or the configuration says so, or a heuristic can; else nothing makes it storable."""


NONE = Lifetime(0.0, explicit=False, known=False)


def lifetime(
    status: int, lines: tuple[Field, ...], said: Directives, settings: CacheSettings, received: float
) -> Lifetime:
    """Return the freshness lifetime for a shared cache (RFC 9111 section 4.2.1); `received`: seconds since the epoch.

    In this order: s-maxage, max-age, Expires (not beside a targeted field), the configured time, a heuristic.
    """
    if said.s_maxage is not None:
        return Lifetime(said.s_maxage, explicit=True)
    if said.max_age is not None:
        return Lifetime(said.max_age, explicit=True)
    if not said.targeted and (expires := _values(lines, b"expires")):
        return Lifetime(_until_expiry(expires, date_of(lines, received)), explicit=True)
    configured = settings.status_ttl.get(status)
    if configured is not None:
        return Lifetime(configured, explicit=False)
    if status not in HEURISTICALLY_CACHEABLE and not said.public:
        return NONE
    if settings.default_ttl:
        return Lifetime(settings.default_ttl, explicit=False)
    return _heuristic(lines, settings, received)


def birth(lines: tuple[Field, ...], asked: float, received: float) -> float:
    """Return when a response was generated or last validated: its current age is the time since then, in seconds.

    RFC 9111 section 4.2.3; `asked` and `received`: when the request went out and the head came, since the epoch.
    """
    delay = max(0.0, received - asked)
    apparent_age = max(0.0, received - date_of(lines, received))
    return received - max(apparent_age, age_of(lines) + delay)


def date_of(lines: tuple[Field, ...], received: float) -> float:
    """Return Date; where it is missing, double or no date, the time of receipt (RFC 9110 section 6.6.1)."""
    dates = _values(lines, b"date")
    date = timestamp(dates[0]) if len(dates) == 1 else None
    return received if date is None else date


def age_of(lines: tuple[Field, ...]) -> int:
    """Return Age, of a list the first member; 0 where it is missing or no number (RFC 9111 section 5.1)."""
    ages = _values(lines, b"age")
    if not ages:
        return 0
    return parse_seconds(ages[0].partition(b",")[0].strip(b" \t")) or 0


def _timestamp(value: bytes) -> int | None:
    date = parse_date(value)
    return parse_date(value.title().replace(b"Gmt", b"GMT")) if date is None else date


_DATES: Memo[int | None] = Memo(_timestamp, entries=128, longest=40)
"""Most responses of a second have the same Date."""


def timestamp(value: bytes) -> int | None:
    """Return a date in seconds since the epoch, None where it is none; caches pay no heed to case (section 4.2)."""
    return _DATES[value]


def _until_expiry(expires: list[bytes], date: float) -> float:
    """A date that is none, such as "0", is in the past; so are two that differ (RFC 9111 section 5.3)."""
    end = timestamp(expires[0]) if len(set(expires)) == 1 else None
    return 0.0 if end is None else min(max(0.0, end - date), MOST_SECONDS)


def _heuristic(lines: tuple[Field, ...], settings: CacheSettings, received: float) -> Lifetime:
    modified = _values(lines, b"last-modified")
    since = timestamp(modified[0]) if len(modified) == 1 else None
    if since is None:
        return NONE
    unchanged = max(0.0, date_of(lines, received) - since)
    return Lifetime(min(unchanged * settings.heuristic_share, settings.heuristic_most), explicit=False)


def _values(lines: tuple[Field, ...], name: bytes) -> list[bytes]:
    return [value for found, value, _ in lines if found == name]
