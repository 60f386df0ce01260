"""RFC 9111 section 3: which responses are stored, and what of them."""

from __future__ import annotations

import pytest

from edgewise.cache.request import Requests
from edgewise.cache.settings import CacheSettings
from edgewise.cache.stored import Stored
from edgewise.cache.storing import withheld
from support.cache import KEYS, NOW, SETTINGS, Lines, asking, date, judged, refused, request_head, response_head, stored

FRESH = {"Cache-Control": "max-age=3600"}


def names(one: Stored) -> set[bytes]:
    return {field.name for field in one.fields}


# ---- section 3: what must not be stored ------------------------------------------------------------------------------


def test_3_a_response_to_a_method_that_is_not_understood_is_not_stored() -> None:
    assert refused(FRESH, request=asking(method="HEAD")) == "method"
    for method in ("POST", "PUT", "DELETE", "PROPFIND", "OPTIONS", "get"):
        assert Requests(KEYS, SETTINGS).of(request_head("/", {}, method), b"https") is None


@pytest.mark.parametrize("status", [100, 103, 199])
def test_3_a_response_that_is_not_final_is_not_stored(status: int) -> None:
    assert refused(FRESH, status) == "status"


@pytest.mark.parametrize("status", [206, 304])
def test_3_partial_and_not_modified_responses_are_not_stored_as_if_they_were_whole(status: int) -> None:
    assert refused(FRESH | {"Content-Range": "bytes 0-4/10"}, status) == "status"


def test_3_must_understand_keeps_out_statuses_that_are_not_understood() -> None:
    lines = {"Cache-Control": "max-age=3600, no-store, must-understand"}
    assert refused(lines, 599) == "status not understood"
    assert refused(lines, 200) == ""


def test_3_and_5_2_2_5_a_response_with_no_store_is_not_stored() -> None:
    assert refused({"Cache-Control": "max-age=3600, no-store", "Expires": date(NOW + 60)}) == "no-store"


def test_5_2_1_5_a_response_to_a_request_with_no_store_is_not_stored() -> None:
    request = asking(lines={"Cache-Control": "no-store"})
    assert refused(FRESH, request=request) == "request no-store"
    ignoring = CacheSettings(request_directives=False)
    request = asking(lines={"Cache-Control": "no-store"}, settings=ignoring)
    assert refused(FRESH, request=request, settings=ignoring) == "request no-store"


def test_3_and_5_2_2_7_a_shared_cache_does_not_store_what_is_private() -> None:
    assert refused({"Cache-Control": "max-age=3600, private"}) == "private"
    assert refused({"Cache-Control": "max-age=3600, s-maxage=5, private"}) == "private"


@pytest.mark.parametrize("status", [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 503, 599])
def test_3_explicit_freshness_makes_any_final_status_storable(status: int) -> None:
    assert refused(FRESH, status) == ""
    assert refused({"Expires": date(NOW + 60)}, status) == ""


def test_3_a_response_that_says_nothing_is_not_stored() -> None:
    assert refused({}) == "no freshness"
    assert refused({"ETag": '"a"'}) == "no freshness"


def test_3_a_response_to_be_validated_each_time_is_stored_where_it_can_be() -> None:
    assert refused({"Cache-Control": "no-cache", "ETag": '"a"'}) == ""
    assert refused({"Cache-Control": "max-age=0", "Last-Modified": date(NOW - 9)}) == ""
    assert refused({"Cache-Control": "no-cache"}) == "stale"
    assert refused({"Cache-Control": "max-age=0"}) == "stale"
    assert refused({"Cache-Control": "no-cache, max-age=60", "ETag": "unquoted"}) == "stale"


def test_a_stale_response_without_validator_is_stored_where_it_may_be_used_stale() -> None:
    assert refused({"Cache-Control": "max-age=0, stale-while-revalidate=5"}) == ""
    assert refused({"Cache-Control": "max-age=0, stale-if-error=5"}) == ""
    assert refused({"Cache-Control": "max-age=0, stale-if-error=5, must-revalidate"}) == "stale"


# ---- section 3.1: fields ---------------------------------------------------------------------------------------------


def test_3_1_all_fields_are_stored_unknown_ones_too() -> None:
    lines = {"X-New": "1", "Content-Encoding": "gzip", "Content-Language": "de", "Clear-Site-Data": '"cache"'}
    assert names(stored(FRESH | lines)) == {
        b"x-new", b"content-encoding", b"content-language", b"clear-site-data", b"cache-control", b"date",
    }  # fmt: skip


def test_5_2_directives_pass_through_whether_they_are_understood_or_not() -> None:
    lines = {"Cache-Control": "max-age=3600, no-transform, x-new=1", "CDN-Cache-Control": "max-age=60", "Pragma": "x"}
    head = stored(lines).head
    assert all(f"\r\n{name}: {value}\r\n".encode() in head for name, value in lines.items())


def test_3_1_connection_and_what_it_lists_are_not_stored() -> None:
    one = stored(FRESH | {"Connection": "A, b, keep-alive", "a": "1", "b": "2", "c": "3"})
    assert names(one) == {b"cache-control", b"date", b"c"}


def test_3_1_fields_of_one_hop_and_of_proxies_are_not_stored() -> None:
    hop = ("Keep-Alive", "Proxy-Connection", "TE", "Proxy-Authenticate", "Proxy-Authentication-Info")
    assert names(stored(FRESH | dict.fromkeys(hop, "x") | {"Upgrade": "h9"})) == {b"cache-control", b"date"}


def test_3_1_age_and_length_are_made_anew() -> None:
    one = stored(FRESH | {"Age": "5", "Content-Length": "5"})
    assert names(one) == {b"cache-control", b"date"}
    assert one.head.endswith(b"Content-Length: 5\r\n")
    assert b"\r\nAge:" not in one.head
    assert b"Content-Length" not in stored(FRESH | {"Content-Length": []}, 204, b"").head


def test_5_2_2_4_fields_that_no_cache_names_are_not_reused_without_validation() -> None:
    one = stored(
        {"Cache-Control": 'max-age=3600, no-cache="Set-Cookie, X-A"', "Set-Cookie": "a=b", "X-A": "1", "X-B": "2"}
    )
    assert names(one) == {b"cache-control", b"date", b"x-b"}
    assert one.fresh_until == NOW + 3600


def test_5_2_2_7_fields_that_private_names_are_not_stored() -> None:
    one = stored({"Cache-Control": 'max-age=3600, private="X-A"', "X-A": "1", "X-B": "2"})
    assert names(one) == {b"cache-control", b"date", b"x-b"}


def test_3_1_what_is_not_stored_for_its_privacy_is_for_the_one_who_asked() -> None:
    fields: Lines = {"Set-Cookie": ["a=b", "c=d"], "X-A": "1", "X-B": "2", "Connection": "X-C", "X-C": "3", "Age": "1"}
    lines: Lines = {"Cache-Control": 'public, max-age=60, private="X-A, Age, X-C"', **fields}
    one = stored(lines)
    own = withheld(response_head(lines), one, SETTINGS)
    assert own == b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nX-A: 1\r\n"
    assert withheld(response_head(FRESH), stored(FRESH), SETTINGS) == b""
    keeping = CacheSettings(store_set_cookie=True)
    cookies = {"Cache-Control": "max-age=60", "Set-Cookie": "a=b"}
    assert withheld(response_head(cookies), stored(cookies, settings=keeping), keeping) == b""


def test_9110_6_6_1_a_response_without_date_gets_that_of_its_receipt() -> None:
    one = stored(FRESH | {"Date": []})
    assert f"Date: {date(NOW)}\r\n".encode() in one.head


# ---- section 3.5: authenticated requests -----------------------------------------------------------------------------


def test_3_5_a_response_to_authorization_is_not_stored_without_permission() -> None:
    request = asking(lines={"Authorization": "Basic YTpi"})
    assert refused(FRESH, request=request) == "authorization"
    for permission in ("public", "must-revalidate", "s-maxage=5"):
        assert refused({"Cache-Control": f"max-age=3600, {permission}"}, request=request) == ""


def test_3_5_where_upstreams_are_told_who_asks_every_request_counts_as_authorized() -> None:
    settings = CacheSettings(authenticated=True)
    request = asking(settings=settings)
    assert refused(FRESH, request=request, settings=settings) == "authorization"
    assert refused({"Cache-Control": "public, max-age=5"}, request=request, settings=settings) == ""


# ---- Set-Cookie and Cookie: safer than section 7.3 requires ----------------------------------------------------------


def test_7_3_a_response_that_sets_a_cookie_is_not_stored_unless_it_is_for_shared_caches() -> None:
    cookie = {"Set-Cookie": "session=1"}
    assert refused(FRESH | cookie) == "set-cookie"
    assert refused({"Expires": date(NOW + 60)} | cookie) == "set-cookie"
    for directive in ("public, max-age=60", "s-maxage=60", 'max-age=60, no-cache="set-cookie"'):
        one = stored({"Cache-Control": directive} | cookie)
        assert b"set-cookie" not in names(one)
    assert b"set-cookie" not in names(stored({"CDN-Cache-Control": "max-age=60"} | cookie))


def test_7_3_an_operator_may_store_responses_with_their_cookies() -> None:
    settings = CacheSettings(store_set_cookie=True)
    assert b"set-cookie" in names(stored(FRESH | {"Set-Cookie": "a=b"}, settings=settings))


def test_what_says_nothing_of_freshness_is_not_stored_for_a_visitor_with_cookies_of_its_own() -> None:
    lines = {"Last-Modified": date(NOW - 86400)}
    somebody, tracked = asking(lines={"Cookie": "sessionid=1"}), asking(lines={"Cookie": "_ga=1; _gid=2"})
    assert refused(lines, request=somebody) == "cookie"
    assert refused(lines, request=tracked) == ""
    assert refused(lines | {"Vary": "Cookie"}, request=somebody) == ""
    assert refused(FRESH, request=somebody) == ""


# ---- other reasons ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vary", ["*", "*, *", ", *", "*, Foo", "Foo, *", "a b", ", ".join(f"a{n}" for n in range(17))])
def test_4_1_what_no_request_can_match_is_not_stored(vary: str) -> None:
    assert refused(FRESH | {"Vary": vary}) == "vary"


def test_4_1_a_star_on_a_line_of_its_own_counts() -> None:
    assert refused(FRESH | {"Vary": ["Foo", "*"]}) == "vary"


def test_an_error_that_a_range_caused_is_not_stored_for_those_who_ask_for_the_whole() -> None:
    request = asking(lines={"Range": "bytes=9-"})
    assert refused(FRESH, 416, request=request) == "range"
    assert refused(FRESH, 200, request=request) == ""


def test_what_is_larger_than_an_object_may_be_is_not_stored() -> None:
    assert refused(FRESH | {"Content-Length": "5"}, settings=CacheSettings(most_bytes=4)) == "size"


def test_a_response_with_more_tags_than_are_kept_is_not_stored() -> None:
    assert refused(FRESH | {"Surrogate-Key": " ".join(f"t{n}" for n in range(257))}) == "tags"
    assert refused(FRESH | {"Surrogate-Key": " ".join(f"t{n}" for n in range(256))}) == ""


def test_9110_13_1_preconditions_for_the_origin_and_requests_with_content_pass_by() -> None:
    for lines in ({"If-Match": "*"}, {"If-Unmodified-Since": date(NOW)}, {"Content-Length": "3"}):
        assert Requests(KEYS, SETTINGS).of(request_head("/", lines), b"https") is None
    upgrade = {"Connection": "upgrade", "Upgrade": "websocket"}
    assert Requests(KEYS, SETTINGS).of(request_head("/", upgrade), b"https") is None


def test_an_object_without_content_yet_knows_its_key_and_url() -> None:
    one = judged(FRESH, request=asking("/a?b=1"))
    assert isinstance(one, Stored)
    assert (one.key, one.url) == (b"https://a.example/a?b=1", b"a.example/a?b=1")
