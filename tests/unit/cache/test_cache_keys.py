"""Keys: what tells one stored response from another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.cache.cookies import Counting
from edgewise.cache.key import MARKETING, Keys, KeySettings, normal_authority, purge_prefix, purge_url
from support.cache import Lines, request_head


def key(target: str = "/", lines: Lines | None = None, scheme: bytes = b"https", **settings: object) -> bytes:
    return Keys(KeySettings(**settings)).key(request_head(target, lines), scheme)  # type: ignore[arg-type]


def query(value: bytes, **settings: object) -> bytes | None:
    return Keys(KeySettings(**settings)).query(value)  # type: ignore[arg-type]


def test_a_key_is_scheme_host_port_path_and_query() -> None:
    assert key("/a?b=1") == b"https://a.example/a?b=1"
    assert key("/a?b=1", scheme=b"http") == b"http://a.example/a?b=1"
    assert key("/a", {"Host": "A.Example.:443"}) == b"https://a.example/a"
    assert key("/a", {"Host": "a.example:444"}) == b"https://a.example:444/a"
    assert key("/a", {"Host": "a.example:443"}, scheme=b"http") == b"http://a.example:443/a"
    assert Keys(KeySettings(scheme=False)).key(request_head("/a"), b"http") == b"a.example/a"


def test_routes_that_differ_by_more_than_the_url_do_not_share_a_key() -> None:
    assert key(partition=b"beta") != key(partition=b"stable") != key()


@pytest.mark.parametrize("host", ["a.example", "A.example.", "a.example:444", "[::1]", "[::1]:443"])
def test_the_url_of_a_request_is_that_of_its_parts(host: str) -> None:
    keys, head = Keys(KeySettings(ignore_query=MARKETING)), request_head("/a?utm_x=1&b=2", {"Host": host})
    assert keys.url_of(head, b"https") == keys.url(head.authority, b"https", head.path, head.query)


def test_the_path_is_the_normalised_one() -> None:
    assert key("/a/./b/../%63?%7e") == b"https://a.example/a/c?%7e"


def test_a_missing_query_is_not_an_empty_one() -> None:
    assert key("/a?") != key("/a")


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b"utm_source=x&a=1&gclid=2", b"a=1"),
        (b"ut%6D_source=x&a=1", b"a=1"),
        (b"utm_source=x", None),
        (b"utm=1&a=utm_source", b"utm=1&a=utm_source"),
        (b"UTM_source=1", b"UTM_source=1"),
    ],
)
def test_ignored_parameters_do_not_count_however_they_are_spelled(value: bytes, left: bytes | None) -> None:
    assert query(value, ignore_query=MARKETING) == left


def test_with_a_list_only_its_parameters_count() -> None:
    assert query(b"x=1&page=2&q=a%20b&pag%65=3", query=(b"page", b"q")) == b"page=2&q=a%20b&pag%65=3"
    assert query(b"x=1", query=()) is None


def test_sorting_keeps_the_order_of_parameters_with_one_name() -> None:
    assert query(b"b=2&a=2&b=1&a=1", sort_query=True) == b"a=2&a=1&b=2&b=1"
    assert query(b"b=2&a=2") == b"b=2&a=2"


@given(st.lists(st.sampled_from([b"a=1", b"a=2", b"b", b"utm_x=1", b"c=%20", b""]), max_size=8))
def test_what_counts_of_a_query_counts_again(parts: list[bytes]) -> None:
    keys = Keys(KeySettings(ignore_query=MARKETING, sort_query=True))
    once = keys.query(b"&".join(parts))
    assert keys.query(once) == once


def test_chosen_fields_and_cookies_are_part_of_the_key_and_secrets_are_not_in_it() -> None:
    plain = key(headers=(b"x-device",), cookies=(b"currency",))
    assert key(lines={"X-Device": "tv"}, headers=(b"x-device",), cookies=(b"currency",)) != plain
    euro = key(lines={"Cookie": "other=1; currency=eur"}, cookies=(b"currency",))
    assert euro != key(cookies=(b"currency",))
    assert euro == key(lines={"Cookie": "currency=eur; other=2"}, cookies=(b"currency",))
    assert b"eur" not in euro
    assert key(lines={"X-Device": ""}, headers=(b"x-device",)) != key(headers=(b"x-device",))


def test_the_scheme_s_own_port_is_left_out() -> None:
    assert normal_authority(b"[::1]:80", b"http") == b"[::1]"
    assert normal_authority(b"[::1]:443", b"http") == b"[::1]:443"
    assert normal_authority(b"", b"http") == b""


def test_cookies_that_scripts_set_for_themselves_do_not_count() -> None:
    counting = Counting(None)
    fields = request_head("/", {"Cookie": ["_ga=1; b=2; ; _hjSession_1=x", "a=1;mp_1_mixpanel=2; _gaming=1"]}).fields
    assert counting.of(fields) == b"_gaming=1; a=1; b=2"
    assert Counting(()).of(fields) == b""
    assert Counting((b"sess*",)).of(request_head("/", {"Cookie": "sessionid=1; Sess=2"}).fields) == b"sessionid=1"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://Example.com/a?next=http://other.com/", b"example.com/a?next=http://other.com/"),
        ("example.com/a?next=http://other.com/", b"example.com/a?next=http://other.com/"),
        ("example.com:443", b"example.com/"),
    ],
)
def test_a_url_in_a_query_is_no_scheme(text: str, url: bytes) -> None:
    assert purge_url(text, Keys(KeySettings())) == url
    assert purge_prefix(text).startswith(url.partition(b"/")[0])


def test_a_prefix_with_a_url_in_its_query_is_taken_whole() -> None:
    assert purge_prefix("example.com/a?next=http://other.com") == b"example.com/a?next=http://other.com"
