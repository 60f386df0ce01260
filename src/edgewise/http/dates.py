"""Dates of HTTP fields: written as IMF-fixdate, read in the three forms of RFC 9110 section 5.6.7."""

from __future__ import annotations

import re
import time
from calendar import timegm
from datetime import UTC, datetime

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_LONG_DAY = rb"(?P<name>Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_TIME = rb"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_MONTH = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"
_DAY = rb"(?P<name>" + b"|".join(_DAYS) + rb")"
_FORMS = (
    re.compile(_DAY + rb", (?P<day>[0-9]{2}) " + _MONTH + rb" (?P<year>[0-9]{4}) " + _TIME + rb" GMT"),
    re.compile(_LONG_DAY + rb", (?P<day>[0-9]{2})-" + _MONTH + rb"-(?P<year>[0-9]{2}) " + _TIME + rb" GMT"),
    re.compile(_DAY + rb" " + _MONTH + rb" (?P<day>[0-9]{2}| [0-9]) " + _TIME + rb" (?P<year>[0-9]{4})"),
)

_last: tuple[int, bytes] = (-1, b"")


def format_date(seconds: float) -> bytes:
    """Return the IMF-fixdate of `seconds` since the epoch; the last second's is kept, so asking for now is cheap."""
    global _last
    whole = int(seconds)
    second, text = _last
    if second != whole:
        year, month, day, hour, minute, sec, weekday, _, _ = time.gmtime(whole)
        date = (_DAYS[weekday], day, _MONTHS[month - 1], year, hour, minute, sec)
        text = b"%b, %02d %b %04d %02d:%02d:%02d GMT" % date
        _last = (whole, text)
    return text


def parse_date(value: bytes) -> int | None:
    """Return `value` as seconds since the epoch, or None where it is no valid date.

    A day of the week that does not fit the date is refused. Years of two digits that would lie more than 50 years ahead
    belong to the century before (RFC 9110 section 5.6.7). A leap second counts as the first of the next minute.
    """
    for form in _FORMS:
        match = form.fullmatch(value)
        if match is not None:
            return _seconds(match)
    return None


def _seconds(match: re.Match[bytes]) -> int | None:
    year = int(match["year"])
    if len(match["year"]) == 2:
        year = _full_year(year)
    second = int(match["second"])
    if second > 60:
        return None
    month = _MONTHS.index(match["month"]) + 1
    try:
        moment = datetime(year, month, int(match["day"]), int(match["hour"]), int(match["minute"]), tzinfo=UTC)
    except ValueError:
        return None
    if _DAYS[moment.weekday()] != match["name"][:3]:
        return None
    return timegm(moment.timetuple()) + second


def _full_year(short: int) -> int:
    this_year = time.gmtime().tm_year
    year = this_year - this_year % 100 + short
    return year - 100 if year > this_year + 50 else year
