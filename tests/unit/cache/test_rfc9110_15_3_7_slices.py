"""Parts of responses: where they belong, and with what they may be combined (RFC 9110 sections 14.4 and 15.3.7.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.cache.slicing import UNFIT, Sliced, Slicing, asked_range, bounds, fits, place_of, slice_key
from edgewise.cache.stored import Stored
from edgewise.cache.storing import Refusal
from edgewise.contracts.cache import Part
from edgewise.http.head import ResponseHead
from edgewise.http.ranges import parse_range
from support.cache import NOW, SETTINGS, Lines, asking, date, response_head

SIZE = 100
SETTING = replace(SETTINGS, slice=SIZE)


def part_head(place: str, lines: Lines | None = None, length: int | None = 100) -> ResponseHead:
    """Return the head of a 206."""
    common = {"Cache-Control": "max-age=60", "ETag": '"1"', "Content-Range": place, "Date": date(NOW)}
    framing: Lines = (
        {"Transfer-Encoding": "chunked", "Content-Length": []} if length is None else {"Content-Length": str(length)}
    )
    head = response_head({**common, **framing, **(lines or {})}, 206, "Partial Content")
    return head._replace(body=-1 if length is None else length)


def judged(place: str, lines: Lines | None = None, number: int = 0, length: int | None = 100) -> object:
    """Return what becomes of a 206 that is the first of its object."""
    return Slicing(SETTING).judge(asking(), Part(number, SIZE), part_head(place, lines, length), NOW, NOW)


def sliced(lines: Lines | None = None) -> Stored:
    """Return an object of 250 bytes that is kept in slices."""
    found = judged("bytes 0-99/250", lines)
    assert isinstance(found, Sliced)
    return found.stored


def of(stored: Stored, number: int, place: str, lines: Lines | None = None, length: int = 100) -> Stored | None:
    """Return the slice that a 206 brings."""
    part = Part(number, SIZE, stored)
    return Slicing(SETTING).slice_of(asking(), part, part_head(place, lines, length), NOW, NOW)[0]


@pytest.mark.parametrize(
    ("place", "length"),
    [
        ("bytes 0-99/*", 100),
        ("bytes */250", 100),
        ("bytes 0-99/99", 100),
        ("bytes 99-0/250", 100),
        ("bytes 0-99/250, bytes 0-99/250", 100),
        ("items 0-99/250", 100),
        ("bytes=0-99/250", 100),
        ("bytes 0-99/250", 99),
        ("bytes +0-99/250", 100),
        ("bytes 0-99/ 250", 100),
        ("", 100),
    ],
)
def test_14_4_what_does_not_say_where_it_belongs_is_no_part(place: str, length: int) -> None:
    assert place_of(part_head(place, length=length)) is None


@pytest.mark.parametrize("length", [100, None])
def test_14_4_a_part_says_where_it_belongs_however_it_is_framed(length: int | None) -> None:
    assert place_of(part_head("BYTES 100-199/250", length=length)) == (100, 200, 250)


def test_15_3_7_the_object_has_the_fields_and_the_length_of_the_whole() -> None:
    stored = sliced()
    assert (stored.status, stored.length, stored.slice, stored.body) == (200, 250, SIZE, b"")
    assert b"Content-Length: 250" in stored.head
    assert b"content-range" not in stored.head.lower()


@pytest.mark.parametrize("place", ["bytes 0-98/250", "bytes 1-100/250", "bytes 0-99/99", "bytes 100-199/250"])
def test_another_range_than_was_asked_for_is_not_used(place: str) -> None:
    first, last = place.split()[1].split("/")[0].split("-")
    assert judged(place, length=int(last) - int(first) + 1) is UNFIT


def test_a_part_that_is_all_there_is_is_a_whole_response_with_or_without_validator() -> None:
    found = judged("bytes 0-49/50", {"ETag": []}, length=50)
    assert isinstance(found, ResponseHead)
    assert (found.status, found.get(b"content-range"), found.body) == (200, None, 50)


@pytest.mark.parametrize(
    "lines",
    [
        {"ETag": 'W/"1"'},
        {"ETag": []},
        {"ETag": "unquoted"},
        {"ETag": [], "Last-Modified": date(NOW)},
        {"ETag": 'W/"1"', "Last-Modified": date(NOW - 100)},
        {"ETag": [], "Last-Modified": "yesterday"},
    ],
)
def test_15_3_7_3_without_a_strong_validator_parts_are_not_combined(lines: Lines) -> None:
    assert judged("bytes 0-99/250", lines) is UNFIT


def test_8_8_2_2_a_date_is_strong_once_a_second_has_passed() -> None:
    assert isinstance(judged("bytes 0-99/250", {"ETag": [], "Last-Modified": date(NOW - 1)}), Sliced)


@pytest.mark.parametrize("control", ["private", "no-store"])
def test_what_must_not_be_stored_is_not_in_parts_either(control: str) -> None:
    assert isinstance(judged("bytes 0-99/250", {"Cache-Control": control}), Refusal)


def test_the_largest_object_is_no_bound_for_what_is_in_slices() -> None:
    slicing = Slicing(replace(SETTING, most_bytes=10))
    head = part_head("bytes 0-99/1000000000000")
    assert isinstance(slicing.judge(asking(), Part(0, SIZE), head, NOW, NOW), Sliced)


@pytest.mark.parametrize(
    ("place", "lines"),
    [
        ("bytes 100-199/250", {"ETag": '"2"'}),
        ("bytes 100-199/250", {"ETag": 'W/"1"'}),
        ("bytes 100-199/250", {"ETag": []}),
        ("bytes 100-199/251", {}),
        ("bytes 200-249/250", {}),
        ("bytes 100-199/250", {"Last-Modified": date(NOW - 5)}),
        ("", {}),
    ],
)
def test_15_3_7_3_parts_of_other_contents_and_other_places_do_not_fit(place: str, lines: Lines) -> None:
    length = 50 if place.startswith("bytes 200") else 100
    assert of(sliced(), 1, place, lines, length) is None


def test_a_part_that_fits_is_a_slice_with_the_url_and_the_tags_of_its_object() -> None:
    stored = sliced({"Surrogate-Key": "films"})
    part = of(stored, 1, "bytes 100-199/250")
    assert part is not None
    assert (part.status, part.key, part.url, part.tags) == (206, slice_key(stored, 1), stored.url, stored.tags)
    assert fits(stored, 1, part)
    assert not fits(stored, 2, part)


def test_servers_that_disagree_twice_are_asked_for_the_whole() -> None:
    slicing = Slicing(SETTING)
    request = asking()
    slicing.changed(request, NOW)
    assert slicing.first(request, NOW) == Part(0, SIZE)
    slicing.changed(request, NOW + 1)
    assert slicing.first(request, NOW + 2) is None
    assert slicing.first(request, NOW + 200) == Part(0, SIZE)


@given(first=st.integers(0, 10**17), length=st.integers(1, 10**6), size=st.integers(1, 10**6))
def test_the_first_slice_that_is_asked_for_holds_the_first_byte_that_is_wanted(
    first: int, length: int, size: int
) -> None:
    request = asking("/", {"Range": f"bytes={first}-{first + length}"})
    part = Slicing(replace(SETTINGS, slice=size)).first(request, NOW)
    assert part is not None
    total = first + length + 1
    start, end = bounds(part.number, size, total)
    assert start <= first < end
    assert parse_range(asked_range(part), total) == [(start, end)]


@pytest.mark.parametrize("value", ["bytes=-5", "bytes=1-2,200-300", "items=500-", "bytes=", "bytes=5", "bytes=+500-"])
def test_where_the_range_does_not_say_where_it_begins_the_first_slice_is_asked_for(value: str) -> None:
    assert Slicing(SETTING).first(asking("/", {"Range": value}), NOW) == Part(0, SIZE)
