"""Conditional requests (RFC 9110 section 13): each precondition, their order, and If-Range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.http.dates import format_date
from edgewise.http.head import Field, RequestHead, plain_head
from edgewise.http.preconditions import Conditions, conditions, outcome, range_applies

CHANGED = 784111777
TAG = b'"a"'
BEFORE, THEN, AFTER = (format_date(CHANGED + shift) for shift in (-10, 0, 10))


def head(**fields: bytes | list[bytes]) -> RequestHead:
    """Return a GET with these fields; underscores stand for dashes."""
    found = []
    for name, values in fields.items():
        key = name.replace("_", "-").encode()
        for value in values if isinstance(values, list) else [values]:
            found.append(Field(key, value, key + b": " + value + b"\r\n"))
    return plain_head(fields=tuple(found))


def asked(**fields: bytes | list[bytes]) -> Conditions:
    found = conditions(head(**fields))
    assert found is not None
    return found


def test_a_request_without_conditions_has_none() -> None:
    assert conditions(head(accept=b"*/*", cookie=b"a=1")) is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"if_none_match": b'"a"'}, 304),
        ({"if_none_match": b'W/"a"'}, 304),
        ({"if_none_match": b'"b", W/"a"'}, 304),
        ({"if_none_match": [b'"b"', b'"a"']}, 304),
        ({"if_none_match": b"*"}, 304),
        ({"if_none_match": b'"b"'}, 0),
        ({"if_none_match": b"a"}, 0),
        ({"if_none_match": b'"a" "b"'}, 0),
        ({"if_none_match": b'"b,"a"'}, 0),
        ({"if_none_match": b'"b", ,\t"a" ,'}, 304),
        ({"if_modified_since": THEN}, 304),
        ({"if_modified_since": AFTER}, 304),
        ({"if_modified_since": BEFORE}, 0),
        ({"if_modified_since": b"yesterday"}, 0),
        ({"if_modified_since": [AFTER, AFTER]}, 0),
        ({"if_match": b'"a"'}, 0),
        ({"if_match": b"*"}, 0),
        ({"if_match": b'"b"'}, 412),
        ({"if_match": b'W/"a"'}, 412),
        ({"if_match": b"nonsense"}, 412),
        ({"if_unmodified_since": THEN}, 0),
        ({"if_unmodified_since": BEFORE}, 412),
        ({"if_unmodified_since": b"yesterday"}, 0),
    ],
)
def test_each_precondition(fields: dict[str, bytes | list[bytes]], status: int) -> None:
    assert outcome(asked(**fields), TAG, CHANGED) == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"if_none_match": b'"b"', "if_modified_since": AFTER}, 0),
        ({"if_match": b'"a"', "if_unmodified_since": BEFORE}, 0),
        ({"if_match": b'"b"', "if_none_match": b'"a"'}, 412),
        ({"if_match": b'"a"', "if_none_match": b'"a"'}, 304),
        ({"if_unmodified_since": BEFORE, "if_none_match": b'"a"'}, 412),
    ],
)
def test_the_order_of_evaluation(fields: dict[str, bytes | list[bytes]], status: int) -> None:
    """Section 13.2.2: tags before dates, what protects before what saves."""
    assert outcome(asked(**fields), TAG, CHANGED) == status


def test_a_weak_tag_matches_only_where_weak_comparison_does() -> None:
    weak = b'W/"a"'
    assert outcome(asked(if_none_match=b'"a"'), weak, CHANGED) == 304
    assert outcome(asked(if_match=b'W/"a"'), weak, CHANGED) == 412


def test_a_comma_within_a_tag_does_not_end_it() -> None:
    assert outcome(asked(if_none_match=b'"x,y", "z"'), b'"x,y"', CHANGED) == 304
    assert outcome(asked(if_none_match=b'"x,y"'), b'"y"', CHANGED) == 0


@pytest.mark.parametrize(
    ("value", "applies"),
    [(b"", True), (b'"a"', True), (b'"b"', False), (b'W/"a"', False), (THEN, True), (AFTER, False), (b"x", False)],
)
def test_if_range_wants_exactly_the_same(value: bytes, applies: bool) -> None:
    fields = {"range": b"bytes=0-1", **({"if_range": value} if value else {})}
    assert range_applies(asked(**fields), TAG, CHANGED) is applies


def test_no_range_of_what_may_have_changed_unnoticed() -> None:
    for value in (b'W/"a"', b'"a"', THEN):
        assert not range_applies(asked(range=b"bytes=0-1", if_range=value), b'W/"a"', CHANGED)


_tags = st.lists(st.sampled_from([b'"a"', b'W/"a"', b'"b"', b'W/"b"', b'"c,d"', b'""']), min_size=1)


@given(_tags, st.sampled_from([b'"a"', b'W/"a"', b'"c,d"']), st.sampled_from([b",", b", ", b" ,\t", b",,"]))
def test_a_list_says_what_its_members_say(tags: list[bytes], etag: bytes, comma: bytes) -> None:
    """If-None-Match and If-Match over a list: the same as member by member."""
    bare = [tag.removeprefix(b"W/") for tag in tags]
    expected = 304 if etag.removeprefix(b"W/") in bare else 0
    assert outcome(asked(if_none_match=comma.join(tags)), etag, CHANGED) == expected
    strong = etag in tags and not etag.startswith(b"W/")
    assert outcome(asked(if_match=comma.join(tags)), etag, CHANGED) == (0 if strong else 412)


@given(st.binary(max_size=60))
def test_no_value_makes_it_fail(value: bytes) -> None:
    for name in ("if_match", "if_none_match", "if_modified_since", "if_unmodified_since", "if_range", "range"):
        found = conditions(head(**{name: value}))
        assert found is not None
        assert outcome(found, TAG, CHANGED) in (0, 304, 412)
        assert range_applies(found, TAG, CHANGED) in (True, False)
