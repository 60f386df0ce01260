"""Byte ranges."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.http.ranges import content_range, parse_range


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        (b"bytes=0-0", [(0, 1)]),
        (b"bytes=0-99", [(0, 100)]),
        (b"bytes=0-1000", [(0, 100)]),
        (b"BYTES=90-", [(90, 100)]),
        (b"bytes=-10", [(90, 100)]),
        (b"bytes=-1000", [(0, 100)]),
        (b"bytes=0-1,5-6", [(0, 2), (5, 7)]),
        (b"bytes= 5-6 ,\t0-1,", [(5, 7), (0, 2)]),
        (b"bytes=100-", []),
        (b"bytes=-0", []),
        (b"bytes=100-200,300-", []),
        (b"bytes=100-200,0-0", [(0, 1)]),
    ],
)
def test_ranges_are_cut_to_the_size(value: bytes, ranges: list[tuple[int, int]]) -> None:
    assert parse_range(value, 100) == ranges


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=,",
        b"bytes=-",
        b"bytes=5-4",
        b"bytes=a-b",
        b"bytes=+1-2",
        b"bytes=1_0-20",
        b"bytes=1 - 2",
        b"bytes=1-2-3",
        b"lines=0-1",
        b"bytes=" + b"9" * 19 + b"-",
        "bytes=\N{ARABIC-INDIC DIGIT ZERO}-".encode(),
    ],
)
def test_a_field_that_is_not_understood_is_ignored(value: bytes) -> None:
    assert parse_range(value, 100) is None


def test_ranges_that_ask_for_more_than_there_is_are_ignored() -> None:
    assert parse_range(b"bytes=0-,0-", 100) is None
    assert parse_range(b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(17)), 100) is None


def test_of_nothing_no_range_is_satisfiable() -> None:
    assert parse_range(b"bytes=0-", 0) == []
    assert parse_range(b"bytes=-5", 0) == []


def test_content_range_is_inclusive() -> None:
    assert content_range(0, 10, 100) == b"bytes 0-9/100"


@settings(deadline=None)
@given(st.text("0123456789-, =byteslin", max_size=30), st.integers(0, 1000))
def test_every_range_lies_within_the_size(value: str, size: int) -> None:
    for start, end in parse_range(b"bytes=" + value.encode(), size) or []:
        assert 0 <= start < end <= size
