"""Byte ranges (RFC 9110 section 14)."""

from __future__ import annotations

import re

_SPEC = re.compile(rb"([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18})")
_MOST_RANGES = 16


def parse_range(value: bytes, size: int) -> list[tuple[int, int]] | None:
    """Return the ranges a Range field asks of `size` bytes, as (start, end) with end exclusive, in the order asked.

    None: the field is to be ignored and the whole sent, because it is malformed, of another unit, or asks for more
    ranges or more bytes than is reasonable (RFC 9110 section 17.15). An empty list: nothing satisfiable, answer 416.
    """
    unit, _, listed = value.partition(b"=")
    specs = [spec.strip(b" \t") for spec in listed.split(b",")]
    if unit.lower() != b"bytes" or len(specs) > _MOST_RANGES:
        return None
    ranges: list[tuple[int, int]] = []
    for spec in filter(None, specs):
        match = _SPEC.fullmatch(spec)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            return None
        start, end = _bounds(match, size)
        if start < end:
            ranges.append((start, end))
    if not any(specs) or sum(end - start for start, end in ranges) > size:
        return None
    return ranges


def content_range(start: int, end: int, size: int) -> bytes:
    """Return the Content-Range value of bytes `start` to `end` (exclusive) of `size` (RFC 9110 section 14.4)."""
    return b"bytes %d-%d/%d" % (start, end - 1, size)


def _bounds(match: re.Match[bytes], size: int) -> tuple[int, int]:
    first, last, suffix = match.groups()
    if suffix is not None:
        return max(0, size - int(suffix)), size
    return int(first), min(int(last) + 1, size) if last else size
