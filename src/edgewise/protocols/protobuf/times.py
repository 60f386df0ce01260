"""Timestamps and durations as JSON has them (RFC 3339; seconds with an `s` behind)."""

from __future__ import annotations

import re
from datetime import date, time
from time import gmtime
from typing import Final

from edgewise.protocols.protobuf.errors import InvalidValue, MalformedMessage

_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_EPOCH = date(1970, 1, 1).toordinal()
_FIRST: Final = -62135596800
"""0001-01-01T00:00:00Z."""
_LAST: Final = 253402300799
"""9999-12-31T23:59:59Z."""
_LONGEST: Final = 315576000000
"""Seconds of a duration: some 10,000 years."""
_NANOS: Final = 1_000_000_000


def read_timestamp(text: str) -> tuple[int, int]:
    """Return Unix seconds and nanoseconds. Raises InvalidValue."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise InvalidValue("not a time as RFC 3339 has it")
    year, month, day, hours, minutes, second = match.group(1, 2, 3, 4, 5, 6)
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
        clock = time(int(hours), int(minutes), int(second))
    except ValueError:
        raise InvalidValue("no such time") from None
    seconds = days * 86400 + clock.hour * 3600 + clock.minute * 60 + clock.second
    if match[8]:
        seconds += _offset(match)
    if not _FIRST <= seconds <= _LAST:
        raise InvalidValue("time out of range")
    return seconds, _nanos(match[7])


def _offset(match: re.Match[str]) -> int:
    """Return the seconds by which UTC is ahead of a local time."""
    hours, minutes = int(match[9]), int(match[10])
    if hours > 23 or minutes > 59:
        raise InvalidValue("no such offset")
    return (1 if match[8] == "-" else -1) * (hours * 3600 + minutes * 60)


def write_timestamp(seconds: int, nanos: int) -> str:
    """Return the text of a time. Raises MalformedMessage where it has none."""
    if not (_FIRST <= seconds <= _LAST and 0 <= nanos < _NANOS):
        raise MalformedMessage("a time out of range")
    year, month, day, hour, minute, second, *_ = gmtime(seconds)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{_fraction(nanos)}Z"


def read_duration(text: str) -> tuple[int, int]:
    """Return seconds and nanoseconds, both of one sign. Raises InvalidValue."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidValue("not a duration such as 1.5s")
    seconds, nanos = int(match[2]), _nanos(match[3])
    if seconds > _LONGEST:
        raise InvalidValue("duration out of range")
    return (-seconds, -nanos) if match[1] else (seconds, nanos)


def write_duration(seconds: int, nanos: int) -> str:
    """Return the text of a duration. Raises MalformedMessage where it has none."""
    if abs(seconds) > _LONGEST or abs(nanos) >= _NANOS or seconds * nanos < 0:
        raise MalformedMessage("a duration out of range")
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}{_fraction(abs(nanos))}s"


def _nanos(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


def _fraction(nanos: int) -> str:
    """Return none, three, six or nine digits, as they are needed."""
    if not nanos:
        return ""
    digits = f"{nanos:09}"
    if digits.endswith("000000"):
        return "." + digits[:3]
    return "." + (digits[:6] if digits.endswith("000") else digits)
