"""HTTP dates, written and read."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.http.dates import format_date, parse_date

EXAMPLE = 784111777


def test_a_date_is_written_as_imf_fixdate() -> None:
    assert format_date(EXAMPLE + 0.9) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert format_date(0) == b"Thu, 01 Jan 1970 00:00:00 GMT"


def test_the_same_second_is_written_once() -> None:
    assert format_date(EXAMPLE + 0.1) is format_date(EXAMPLE + 0.8)


@pytest.mark.parametrize(
    "value", [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"]
)
def test_all_three_forms_are_read(value: bytes) -> None:
    assert parse_date(value) == EXAMPLE


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"0",
        b"Mon, 06 Nov 1994 08:49:37 GMT",
        b"sun, 06 nov 1994 08:49:37 gmt",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:37 GMT\n",
        b" Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 08:60:37 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Wed, 30 Feb 1994 08:49:37 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b"Sun, 06 Nov 94 08:49:37 GMT",
        b"Sun Nov 06 08:49:37 1994 GMT",
        "Sun, 0\N{ARABIC-INDIC DIGIT SIX} Nov 1994 08:49:37 GMT".encode(),
    ],
)
def test_anything_else_is_no_date(value: bytes) -> None:
    assert parse_date(value) is None


def test_a_leap_second_is_the_next_minute() -> None:
    assert parse_date(b"Sat, 31 Dec 2016 23:59:60 GMT") == parse_date(b"Sun, 01 Jan 2017 00:00:00 GMT")


def test_a_two_digit_year_lies_at_most_fifty_years_ahead() -> None:
    this_year = time.gmtime().tm_year
    for ahead in (49, 50, 51):
        year = this_year + ahead
        century = year if ahead <= 50 else year - 100
        stamp = time.strftime("%A", time.strptime(f"{century}-06-15", "%Y-%m-%d"))
        moment = parse_date(f"{stamp}, 15-Jun-{year % 100:02} 00:00:00 GMT".encode())
        assert moment is not None
        assert time.gmtime(moment).tm_year == century


@settings(deadline=None)
@given(st.integers(0, 253402300799))
def test_what_was_written_is_read_back_and_agrees_with_the_standard_library(seconds: int) -> None:
    written = format_date(seconds)
    assert parse_date(written) == seconds
    assert written.decode() == formatdate(seconds, usegmt=True)
