"""RFC 9111 section 5.2: how Cache-Control is read; section 1.2.2: delta-seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.cache.directives import MOST_SECONDS, Directives, of_response, parse, parse_seconds
from support.cache import response_head


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", Directives()),
        (b"max-age=3600", Directives(max_age=3600)),
        (b"MaX-aGe=3600, nO-StOrE", Directives(max_age=3600, no_store=True)),
        (b'max-age="3600"', Directives(max_age=3600)),
        (b"max-age=003600", Directives(max_age=3600)),
        (b" ,, max-age=1 ,\tpublic,", Directives(max_age=1, public=True)),
        (b"foobar, max-age=3600", Directives(max_age=3600)),
        (b's-maxage=1, proxy-revalidate, must-understand, immutable, only-if-cached', Directives(
            s_maxage=1, proxy_revalidate=True, must_understand=True, immutable=True, only_if_cached=True)),
        (b"stale-while-revalidate=5, stale-if-error=6", Directives(stale_while_revalidate=5, stale_if_error=6)),
        (b'no-cache="Set-Cookie, X-A"', Directives(no_cache_fields=frozenset((b"set-cookie", b"x-a")))),
        (b"private=Set-Cookie", Directives(private_fields=frozenset((b"set-cookie",)))),
        (b'private="a", private', Directives(private=True, private_fields=frozenset((b"a",)))),
    ],
)  # fmt: skip
def test_directives_are_read_in_token_and_quoted_form_whatever_their_case(value: bytes, said: Directives) -> None:
    assert parse(value) == said


@pytest.mark.parametrize("value", [b'extension="max-age=3600", max-age=1', b'max-age=1, x="a, max-age=3600\\", b"'])
def test_what_stands_in_a_quoted_string_is_no_directive(value: bytes) -> None:
    assert parse(value) == Directives(max_age=1)


@pytest.mark.parametrize("value", [b'x="open, no-store', b'private="a, no-store', b'a"b, no-store'])
def test_a_quoted_string_that_does_not_end_hides_no_directive(value: bytes) -> None:
    assert parse(value).no_store


def test_a_private_with_a_broken_argument_holds_for_the_whole_response() -> None:
    assert parse(b'private="a b"').private
    assert parse(b'private=""').private
    assert parse(b'no-cache="\xe9"').no_cache


@pytest.mark.parametrize(
    "value",
    [
        b"max-age=-3600",
        b"max-age='3600'",
        b"max-age=3600.0",
        b"max-age=a3600",
        b"max-age=3600a",
        b"max-age= 3600",
        b"max-age=3_600",
        b"max-age=+3600",
        b"max-age=",
        b"max-age",
        b'max-age="36 00"',
        b"max-age=\xb2",
    ],
)
def test_4_2_1_invalid_freshness_information_is_stale(value: bytes) -> None:
    assert parse(value).max_age == 0


@pytest.mark.parametrize("value", [b"max-age=1800, max-age=1", b"max-age=1, max-age=1800"])
def test_4_2_1_of_conflicting_directives_the_more_restrictive_holds(value: bytes) -> None:
    assert parse(value).max_age == 1
    assert parse(b"min-fresh=1, min-fresh=9").min_fresh == 9
    assert parse(b"max-stale, max-stale=3").max_stale == 3


@pytest.mark.parametrize("digits", [b"2147483648", b"2147483649", b"99999999999", b"9" * 400])
def test_1_2_2_what_is_too_large_is_2_to_the_31(digits: bytes) -> None:
    assert parse_seconds(digits) == MOST_SECONDS
    assert parse(b"max-age=" + digits).max_age == MOST_SECONDS


def test_5_2_an_argument_that_a_restriction_does_not_have_changes_nothing_and_allows_nothing() -> None:
    assert parse(b"no-store=1, must-revalidate=x") == Directives(no_store=True, must_revalidate=True)
    assert parse(b"public=x") == Directives()


def test_max_stale_without_seconds_is_any_staleness() -> None:
    assert parse(b"max-stale").max_stale == MOST_SECONDS


def test_9110_5_3_several_lines_are_one_list() -> None:
    head = response_head({"Cache-Control": ["max-age=1800", "max-age=1", "public"]})
    assert of_response(head.fields) == Directives(max_age=1, public=True)


def test_5_4_pragma_says_nothing() -> None:
    assert of_response(response_head({"Pragma": "no-cache"}).fields) == Directives()


@given(st.binary(max_size=80))
def test_any_bytes_are_read(value: bytes) -> None:
    said = parse(value)
    assert all(0 <= seconds <= MOST_SECONDS for seconds in (said.max_age or 0, said.s_maxage or 0))


_MEMBERS = st.sampled_from(
    [b"no-store", b"private", b"no-cache", b"max-age=5", b"s-maxage=7", b'x="a,b"', b"public", b"", b"x"]
)


@given(st.lists(_MEMBERS, max_size=6), st.sampled_from([b"no-store", b"private", b"no-cache"]))
def test_a_directive_is_found_wherever_it_stands(members: list[bytes], wanted: bytes) -> None:
    for at in range(len(members) + 1):
        said = parse(b" , ".join([*members[:at], wanted, *members[at:]]))
        assert getattr(said, wanted.replace(b"-", b"_").decode())
