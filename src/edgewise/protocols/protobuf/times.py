"""Timestamps and durations as JSON has them (RFC 3339; seconds with an `s` behind)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from edgewise.protocols.protobuf.errors import InvalidValue, MalformedMessage

_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise InvalidValue("no such time") from None
    seconds = int((moment - _EPOCH).total_seconds())
    if match[8]:
        hours, minutes = int(match[9]), int(match[10])
        if hours > 23 or minutes > 59:
            raise InvalidValue("no such offset")
        offset = hours * 3600 + minutes * 60
        seconds += offset if match[8] == "-" else -offset
    if not _FIRST <= seconds <= _LAST:
        raise InvalidValue("time out of range")
    return seconds, _nanos(match[7])


def write_timestamp(seconds: int, nanos: int) -> str:
    """Return the text of a time. Raises MalformedMessage where it has none."""
    if not (_FIRST <= seconds <= _LAST and 0 <= nanos < _NANOS):
        raise MalformedMessage("a time out of range")
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}{_fraction(nanos)}Z"


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
