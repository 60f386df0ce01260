"""Structured fields (RFC 9651)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.http.structured import Date, DisplayString, Token, parse_dictionary, parse_list


def test_a_dictionary_holds_items_inner_lists_and_true() -> None:
    found = parse_dictionary(b'a=1, b;x="q\\"", c=(1 tok "s");p,\t d=?0,e=1.5')
    assert {key: item.value for key, item in found.items() if key != "c"} == {"a": 1, "b": True, "d": False, "e": 1.5}
    inner = found["c"].value
    assert isinstance(inner, tuple)
    assert [item.value for item in inner] == [1, "tok", "s"]
    assert found["b"].params == {"x": 'q"'}
    assert found["c"].params == {"p": True}


def test_of_two_members_with_one_key_the_last_holds() -> None:
    assert parse_dictionary(b"a=1, a=2")["a"].value == 2


def test_every_type_of_item_is_told_apart() -> None:
    values = [item.value for item in parse_list(b'1, -2.50, "s", tok, :aGk=:, ?1, @17, %"f%c3%bc"')]
    assert values == [1, -2.5, "s", "tok", b"hi", True, 17, "f\N{LATIN SMALL LETTER U WITH DIAERESIS}"]
    assert [type(value) for value in values] == [int, float, str, Token, bytes, bool, Date, DisplayString]


def test_nothing_is_an_empty_list_and_an_empty_dictionary() -> None:
    assert parse_list(b"") == []
    assert parse_dictionary(b"  ") == {}


@pytest.mark.parametrize(
    "value",
    [
        b"a=1,",
        b"a=1 b=2",
        b"A=1",
        b"a=&",
        b"a=",
        b"a = 1",
        b'a="open',
        b'a="b\\c"',
        b"a=1.",
        b"a=1.2345",
        b"a=1234567890123456",
        b"a=1_0",
        b"a=+1",
        b"a=(1",
        b"a=(1,2)",
        b"a=:!:",
        b"a=:a:",
        b"a=?2",
        b'a=%"%C3"',
        b'a=%"%c3"',
        b"a=\xb2",
        "a=\N{ARABIC-INDIC DIGIT ONE}".encode(),
        b"a=1, &&&&&",
    ],
)
def test_a_malformed_dictionary_is_an_error_as_a_whole(value: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # no message is promised
        parse_dictionary(value)


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(value: bytes) -> None:
    for parse in (parse_dictionary, parse_list):
        try:
            parse(value)
        except ValueError:
            continue
