"""RFC 9111 section 4.3: validation, 304, conditional requests answered from the store; section 3.2; ranges."""

from __future__ import annotations

import pytest

from edgewise.cache.answering import Hit, answer
from edgewise.cache.stored import Stored
from edgewise.cache.validation import confirms, freshen, validators
from support.cache import NOW, SETTINGS, Lines, asking, date, response_head, stored

FRESH = {"Cache-Control": "max-age=60"}
LM = date(NOW - 1000)


def fresh(one: Stored, lines: Lines, request: Lines | None = None) -> tuple[Stored, str]:
    """Return what a 304 of a hundred seconds later makes of a response."""
    response = response_head({"Content-Length": [], **lines}, 304)
    return freshen(one, asking(lines=request), response, SETTINGS, NOW + 100, NOW + 100)


def hit(response: Lines, request: Lines, status: int = 200, method: str = "GET", after: float = 1.0) -> Hit:
    one = stored({**FRESH, **response}, status, b"0123456789")
    return answer(one, asking(lines=request, method=method), NOW + after)


def lines_of(head: bytes) -> dict[bytes, bytes]:
    pairs = [line.partition(b": ") for line in head.split(b"\r\n")[1:] if line]
    return {name.lower(): value for name, _, value in pairs}


# ---- section 4.3.1 ---------------------------------------------------------------------------------------------------


def test_4_3_1_a_conditional_request_carries_the_entity_tag_and_the_date() -> None:
    both = stored({**FRESH, "ETag": 'W/"a"', "Last-Modified": LM})
    assert validators(both) == f'If-None-Match: W/"a"\r\nIf-Modified-Since: {LM}\r\n'.encode()
    assert validators(stored({**FRESH, "ETag": '"a"'})) == b'If-None-Match: "a"\r\n'
    assert validators(stored(FRESH)) == b""


def test_4_3_1_what_is_no_validator_is_not_sent() -> None:
    assert validators(stored({**FRESH, "ETag": "abc", "Last-Modified": "yesterday"})) == b""
    assert validators(stored({**FRESH, "ETag": ['"a"', '"b"']})) == b""


# ---- section 4.3.4 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("had", "says", "same"),
    [
        ({"ETag": '"a"'}, {"ETag": '"a"'}, True),
        ({"ETag": '"a"'}, {"ETag": '"b"'}, False),
        ({"ETag": 'W/"a"'}, {"ETag": '"a"'}, False),
        ({"ETag": '"a"'}, {"ETag": 'W/"a"'}, True),
        ({"ETag": 'W/"a"'}, {"ETag": 'W/"a"'}, True),
        ({}, {"ETag": 'W/"a"'}, False),
        ({"Last-Modified": LM}, {"Last-Modified": LM}, True),
        ({"Last-Modified": LM}, {"Last-Modified": date(NOW)}, False),
        ({"ETag": '"a"', "Last-Modified": LM}, {"Last-Modified": LM}, True),
        ({"ETag": '"a"'}, {}, True),
    ],
)
def test_4_3_4_a_304_updates_only_the_response_it_speaks_of(had: Lines, says: Lines, same: bool) -> None:
    assert confirms(stored({**FRESH, **had}), response_head({"Content-Length": [], **says}, 304)) == same


def test_3_2_fields_of_a_304_replace_those_of_the_stored_response_and_the_others_stay() -> None:
    one = stored({**FRESH, "ETag": '"a"', "X-A": ["1", "2"], "X-B": "1", "Content-Type": "text/plain"})
    new, reason = fresh(one, {"X-A": "3", "Cache-Control": "max-age=5", "X-C": "1", "Date": date(NOW + 100)})
    assert reason == ""
    head = lines_of(new.head)
    assert (head[b"x-a"], head[b"x-b"], head[b"x-c"], head[b"content-type"]) == (b"3", b"1", b"1", b"text/plain")
    assert new.head.count(b"X-A") == 1
    assert (new.body, new.status, new.key, new.fresh_until) == (one.body, 200, one.key, NOW + 105)


def test_3_2_what_describes_the_content_or_the_connection_is_not_updated() -> None:
    one = stored({**FRESH, "ETag": '"a"', "Content-Encoding": "gzip"})
    changes = {"Content-Length": "99", "Content-Encoding": "br", "Content-Range": "x", "Connection": "X-A", "X-A": "1"}
    new, _ = fresh(one, changes)
    head = lines_of(new.head)
    assert (head[b"content-length"], head[b"content-encoding"]) == (b"5", b"gzip")
    assert not {b"x-a", b"connection", b"content-range"} & head.keys()


def test_4_3_4_a_validated_response_is_as_old_as_the_304() -> None:
    one = stored({**FRESH, "ETag": '"a"', "Age": "7"})
    for lines, age in (({}, 0), ({"Date": date(NOW + 100)}, 0), ({"Age": "3"}, 3), ({"Date": date(NOW + 60)}, 40)):
        new, _ = fresh(one, lines)
        assert new.age(NOW + 100) == age
        assert new.fresh_until == NOW + 160 - age


def test_3_2_a_304_that_forbids_storing_is_used_once() -> None:
    one = stored({**FRESH, "ETag": '"a"'})
    new, reason = fresh(one, {"Cache-Control": "no-store", "X-A": "1"})
    assert reason == "no-store"
    assert (new.body, lines_of(new.head)[b"x-a"]) == (b"hello", b"1")
    assert fresh(one, {}, {"Cache-Control": "no-store"})[1] == "request no-store"


def test_7_3_a_cookie_in_a_304_goes_to_nobody_else() -> None:
    new, reason = fresh(stored({**FRESH, "ETag": '"a"'}), {"Set-Cookie": "a=b"})
    assert reason == "set-cookie"
    assert b"set-cookie" not in lines_of(new.head)


# ---- section 4.3.2 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", ['"a"', 'W/"a"', '"x", "a"', '"a", "x"', '"x","y" , W/"a",', "*", '"x,y", "a"'])
@pytest.mark.parametrize("etag", ['"a"', 'W/"a"'])
def test_4_3_2_if_none_match_is_compared_weakly(condition: str, etag: str) -> None:
    assert hit({"ETag": etag}, {"If-None-Match": condition}).status == 304


@pytest.mark.parametrize("condition", ['"b"', "a", "", '"x, "a"', '"A"', 'w/"a"', '"a" "b"'])
def test_4_3_2_a_condition_that_does_not_match_is_answered_with_the_whole(condition: str) -> None:
    assert hit({"ETag": '"a"'}, {"If-None-Match": condition}).status == 200


def test_4_3_2_if_none_match_comes_before_if_modified_since() -> None:
    lines = {"ETag": '"a"', "Last-Modified": LM}
    assert hit(lines, {"If-None-Match": '"b"', "If-Modified-Since": date(NOW)}).status == 200
    assert hit(lines, {"If-None-Match": '"a"', "If-Modified-Since": date(NOW - 5000)}).status == 304


def test_4_3_2_if_modified_since_is_compared_with_last_modified_else_with_date() -> None:
    assert hit({"Last-Modified": LM}, {"If-Modified-Since": LM}).status == 304
    assert hit({"Last-Modified": LM}, {"If-Modified-Since": date(NOW - 999)}).status == 304
    assert hit({"Last-Modified": LM}, {"If-Modified-Since": date(NOW - 1001)}).status == 200
    assert hit({}, {"If-Modified-Since": date(NOW + 5)}).status == 304
    assert hit({}, {"If-Modified-Since": date(NOW - 5)}).status == 200
    assert hit({"Last-Modified": LM}, {"If-Modified-Since": "today"}).status == 200


def test_9110_15_4_5_a_304_has_the_fields_that_the_whole_would_have_and_no_description_of_content() -> None:
    response = {"ETag": '"a"', "Vary": "Foo", "Expires": date(NOW + 9), "Content-Type": "text/html", "X-A": "1"}
    found = hit(response, {"If-None-Match": '"a"'})
    head = lines_of(found.head)
    assert found.head.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert (found.start, found.end) == (0, 0)
    assert head.keys() == {b"etag", b"vary", b"expires", b"cache-control", b"date", b"age", b"x-a"}


def test_9110_13_2_1_conditions_are_for_successful_responses() -> None:
    assert hit({"ETag": '"a"'}, {"If-None-Match": '"a"'}, status=404).status == 404


def test_4_an_answer_from_the_store_has_its_age_and_the_date_it_had() -> None:
    found = hit({"Date": date(NOW - 3)}, {}, after=10.5)
    head = lines_of(found.head)
    assert (head[b"age"], head[b"date"], head[b"content-length"]) == (b"13", date(NOW - 3).encode(), b"10")
    assert (found.status, found.start, found.end) == (200, 0, 10)
    assert not found.head.endswith(b"\r\n\r\n")


# ---- ranges: RFC 9110 section 14, RFC 9111 section 3.3 ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "span", "place"),
    [
        ("bytes=0-1", (0, 2), b"0-1"),
        ("bytes=4-", (4, 10), b"4-9"),
        ("bytes=-3", (7, 10), b"7-9"),
        ("bytes=5-99", (5, 10), b"5-9"),
    ],
)
def test_9110_14_a_part_is_cut_out_of_the_whole(asked: str, span: tuple[int, int], place: bytes) -> None:
    found = hit({"X-A": "1"}, {"Range": asked})
    head = lines_of(found.head)
    assert (found.status, (found.start, found.end)) == (206, span)
    assert head[b"content-range"] == b"bytes " + place + b"/10"
    assert head[b"content-length"] == b"%d" % (span[1] - span[0])
    assert (head[b"x-a"], head[b"age"]) == (b"1", b"1")


@pytest.mark.parametrize("asked", ["bytes=0-0, 5-6", "lines=0-1", "bytes=5-4", "bytes=a", ""])
def test_9110_14_2_a_range_that_is_not_served_is_ignored(asked: str) -> None:
    assert hit({}, {"Range": asked}).status == 200


def test_9110_14_2_a_range_is_for_get_and_for_whole_responses() -> None:
    assert hit({}, {"Range": "bytes=0-1"}, method="HEAD").status == 200
    assert hit({}, {"Range": "bytes=0-1"}, status=404).status == 404
    assert hit({}, {"Range": ["bytes=0-1", "bytes=2-3"]}).status == 200


def test_9110_15_5_17_a_range_beyond_the_content_is_refused() -> None:
    found = hit({}, {"Range": "bytes=10-"})
    assert (found.status, found.start, found.end) == (416, 0, 0)
    assert lines_of(found.head)[b"content-range"] == b"bytes */10"


@pytest.mark.parametrize(
    ("response", "condition", "status"),
    [
        ({"ETag": '"a"'}, '"a"', 206),
        ({"ETag": '"a"'}, '"b"', 200),
        ({"ETag": 'W/"a"'}, 'W/"a"', 200),
        ({"ETag": '"a"'}, 'W/"a"', 200),
        ({}, '"a"', 200),
        ({"Last-Modified": LM}, LM, 206),
        ({"Last-Modified": LM}, date(NOW), 200),
        ({"Last-Modified": date(NOW)}, date(NOW), 200),
        ({}, date(NOW), 200),
        ({"Last-Modified": LM}, "nonsense", 200),
    ],
)
def test_9110_13_1_5_if_range_is_compared_strongly(response: Lines, condition: str, status: int) -> None:
    assert hit(response, {"Range": "bytes=0-1", "If-Range": condition}).status == status


def test_9110_13_2_2_a_condition_comes_before_the_range() -> None:
    assert hit({"ETag": '"a"'}, {"Range": "bytes=0-1", "If-None-Match": '"a"'}).status == 304
