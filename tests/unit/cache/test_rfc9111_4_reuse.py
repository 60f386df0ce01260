"""RFC 9111 section 4: which stored response is used; sections 4.1, 4.2.4, 5.2.1; RFC 5861, RFC 8246."""

from __future__ import annotations

import pytest

from edgewise.cache.cookies import DJANGO
from edgewise.cache.key import Keys, KeySettings
from edgewise.cache.memory import MemoryStore
from edgewise.cache.reuse import Use, decide, usable_on_error
from edgewise.cache.settings import CacheSettings
from edgewise.cache.stored import Stored
from support.cache import NOW, Lines, asking, date, stored


def use(response: Lines, request: Lines | None = None, after: float = 0.0, **settings: object) -> Use:
    chosen = CacheSettings(**settings)  # type: ignore[arg-type]
    return decide(stored(response, settings=chosen), asking(lines=request, settings=chosen), NOW + after)


def found(first: Lines, second: Lines, response: Lines, keys: Keys | None = None) -> bool:
    """Is what was stored for the first request found for the second?"""
    keys = keys or Keys(KeySettings())
    store = MemoryStore(1_000_000)
    store.put(stored(response, request=asking(lines=first, keys=keys)), store.epoch)
    return store.find(asking(lines=second, keys=keys)) is not None


# ---- section 4 -------------------------------------------------------------------------------------------------------


def test_4_a_fresh_response_is_used_and_a_stale_one_validated() -> None:
    lines = {"Cache-Control": "max-age=60"}
    assert use(lines, after=59.9) == Use.FRESH
    assert use(lines, after=60) == Use.VALIDATE


def test_4_a_response_with_no_cache_is_never_used_without_validation() -> None:
    lines = {"Cache-Control": "max-age=60, no-cache, stale-while-revalidate=60", "ETag": '"a"'}
    assert use(lines) == Use.VALIDATE
    assert use(lines, {"Cache-Control": "max-stale"}) == Use.VALIDATE
    assert not usable_on_error(stored(lines), asking(), NOW)


def test_4_another_target_is_another_response() -> None:
    store = MemoryStore(1_000_000)
    store.put(stored({"Cache-Control": "max-age=60"}, request=asking("/a?x=1")), 0)
    assert store.find(asking("/a?x=1")) is not None
    assert store.find(asking("/a?x=2")) is None
    assert store.find(asking("/a")) is None


def test_4_a_head_is_answered_from_the_response_to_get() -> None:
    store = MemoryStore(1_000_000)
    store.put(stored({"Cache-Control": "max-age=60"}), 0)
    request = asking(method="HEAD")
    one = store.find(request)
    assert one is not None
    assert decide(one, request, NOW) == Use.FRESH
    assert request.said.head_only


# ---- section 4.1 -----------------------------------------------------------------------------------------------------

FOO = {"Cache-Control": "max-age=60", "Vary": "Foo"}


def test_4_1_selecting_fields_have_to_match_those_of_the_first_request() -> None:
    assert found({"Foo": "1"}, {"Foo": "1", "Other": "x"}, FOO)
    assert not found({"Foo": "1"}, {"Foo": "2"}, FOO)


def test_4_1_a_field_that_is_missing_matches_only_one_that_is_missing_too() -> None:
    assert not found({"Foo": "1"}, {}, FOO)
    assert not found({}, {"Foo": "1"}, FOO)
    assert not found({}, {"Foo": ""}, FOO)
    assert found({}, {}, FOO)


def test_4_1_all_fields_have_to_match_whatever_their_order() -> None:
    lines = {"Cache-Control": "max-age=60", "Vary": "Foo, BAR"}
    assert found({"Foo": "1", "Bar": "2"}, {"Bar": "2", "Foo": "1"}, lines)
    assert not found({"Foo": "1", "Bar": "2"}, {"Foo": "2", "Bar": "1"}, lines)
    assert not found({"Foo": "1", "Bar": "2"}, {"Foo": "1"}, lines)


def test_4_1_lines_are_combined_and_white_space_is_normalised() -> None:
    assert found({"Foo": "1, 2"}, {"Foo": ["1", "2"]}, FOO)
    assert found({"Foo": "1,2"}, {"Foo": " 1, 2 "}, FOO)
    assert not found({"Foo": '"1,2"'}, {"Foo": '"1, 2"'}, FOO)


def test_4_1_codings_are_normalised_to_those_that_tell_variants_apart() -> None:
    lines = {"Cache-Control": "max-age=60", "Vary": "Accept-Encoding"}
    for other in ("br,gzip", "br;q=1.0, x-gzip;q=0.5, deflate", "GZIP, BR", "*;q=0.1, zstd;q=0"):
        assert found({"Accept-Encoding": "gzip, br"}, {"Accept-Encoding": other}, lines), other
    for other in ("gzip", "gzip, br, zstd", "br, gzip;q=0", "br, gzip;q=0.000", "identity", "gzip;q=x, br"):
        assert not found({"Accept-Encoding": "gzip, br"}, {"Accept-Encoding": other}, lines), other


def test_4_1_languages_are_tidied_and_their_order_stays() -> None:
    lines = {"Cache-Control": "max-age=60", "Vary": "Accept-Language"}
    assert found({"Accept-Language": "en, de;q=0.5"}, {"Accept-Language": " eN ,  De ; q=0.5"}, lines)
    assert not found({"Accept-Language": "en, de"}, {"Accept-Language": "de, en"}, lines)


def test_4_1_with_the_languages_there_are_each_is_kept_once() -> None:
    lines = {"Cache-Control": "max-age=60", "Vary": "Accept-Language"}
    keys = Keys(KeySettings(languages=(b"en", b"de", b"pt-br")))
    german = ("de", "de-CH, en;q=0.9", "fr, de;q=0.8, en;q=0.7", "en;q=0.1, de", "de;q=1, de;q=0.2")
    for other in german:
        assert found({"Accept-Language": "de-AT"}, {"Accept-Language": other}, lines, keys), other
    assert found({"Accept-Language": "fr"}, {"Accept-Language": "en-GB"}, lines, keys)
    assert found({"Accept-Language": "*"}, {"Accept-Language": "de;q=0"}, lines, keys)
    assert not found({"Accept-Language": "pt-BR"}, {"Accept-Language": "pt"}, lines, keys)


def test_4_1_vary_cookie_keeps_one_object_for_all_who_are_nobody() -> None:
    lines = {"Cache-Control": "max-age=60", "Vary": "Cookie"}
    assert found({}, {"Cookie": "_ga=GA1.2; _hjSession=x; __utma=1"}, lines)
    assert not found({}, {"Cookie": "theme=dark"}, lines)
    assert not found({"Cookie": "sessionid=a"}, {"Cookie": "sessionid=b"}, lines)
    assert found({"Cookie": "a=1; _ga=2; b=3"}, {"Cookie": "b=3; a=1"}, lines)


def test_4_1_vary_cookie_with_named_session_cookies_separates_users_and_nobody_else() -> None:
    lines = {"Cache-Control": "max-age=60", "Vary": "Cookie"}
    keys = Keys(KeySettings(session_cookies=DJANGO))
    assert found({}, {"Cookie": "theme=dark; _ga=1"}, lines, keys)
    assert not found({"Cookie": "theme=dark"}, {"Cookie": "sessionid=a"}, lines, keys)
    assert not found({"Cookie": "sessionid=a"}, {"Cookie": "theme=dark"}, lines, keys)
    assert not found({"Cookie": "sessionid=a"}, {"Cookie": "sessionid=b"}, lines, keys)
    assert not found({}, {"Cookie": "csrftoken=t"}, lines, keys)
    assert found({"Cookie": "sessionid=a; x=1"}, {"Cookie": "x=2; sessionid=a"}, lines, keys)


def test_4_1_two_variants_are_kept_beside_each_other_and_the_latest_that_matches_is_used() -> None:
    store = MemoryStore(1_000_000)
    for value in ("1", "2"):
        store.put(stored(FOO, body=value.encode(), request=asking(lines={"Foo": value})), 0)
    later = {"Cache-Control": "max-age=60", "Vary": "Bar", "Date": date(NOW + 5)}
    assert body(store.find(asking(lines={"Foo": "1"}))) == b"1"
    assert body(store.find(asking(lines={"Foo": "2"}))) == b"2"
    assert store.find(asking()) is None
    assert store.varies(asking())
    store.put(stored(later, body=b"3", request=asking(lines={"Bar": "1", "Foo": "1"}), received=NOW + 5), 0)
    assert body(store.find(asking(lines={"Foo": "1", "Bar": "1"}))) == b"3"
    assert body(store.find(asking(lines={"Foo": "1"}))) == b"1"


def body(one: Stored | None) -> bytes:
    assert one is not None
    return one.body


# ---- section 4.2.4, RFC 5861 -----------------------------------------------------------------------------------------


def test_5861_3_a_stale_response_is_used_while_it_is_validated_in_the_time_it_allows() -> None:
    lines = {"Cache-Control": "max-age=10, stale-while-revalidate=5"}
    assert use(lines, after=14.9) == Use.REVALIDATE
    assert use(lines, after=15) == Use.VALIDATE
    assert use({"Cache-Control": "max-age=10"}, after=11, stale_while_revalidate=5) == Use.REVALIDATE
    assert (
        use({"Cache-Control": "max-age=10, stale-while-revalidate=0"}, after=11, stale_while_revalidate=5)
        == Use.VALIDATE
    )


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "no-cache"])
def test_4_2_4_no_stale_use_where_the_response_forbids_it(directive: str) -> None:
    value = f"max-age=1, {directive}, stale-while-revalidate=60, stale-if-error=60"
    settings = CacheSettings(stale_while_revalidate=60, stale_if_error=60)
    one = stored({"Cache-Control": value, "ETag": '"a"'}, settings=settings)
    for request in (asking(), asking(lines={"Cache-Control": "max-stale, stale-if-error=60"})):
        assert decide(one, request, NOW + 2) == Use.VALIDATE
        assert not usable_on_error(one, request, NOW + 2)


def test_5_2_2_10_s_maxage_forbids_stale_use_except_where_the_response_itself_allows_it() -> None:
    one = stored({"Cache-Control": "s-maxage=1"}, settings=CacheSettings(stale_while_revalidate=60, stale_if_error=60))
    impatient = asking(lines={"Cache-Control": "max-stale, stale-if-error=60"})
    assert decide(one, impatient, NOW + 2) == Use.VALIDATE
    assert not usable_on_error(one, impatient, NOW + 2)
    both = stored({"Cache-Control": "s-maxage=1, stale-while-revalidate=5, stale-if-error=5"})
    assert decide(both, asking(), NOW + 2) == Use.REVALIDATE
    assert usable_on_error(both, asking(), NOW + 2)


def test_5861_4_a_stale_response_stands_in_for_a_failed_upstream_in_the_time_allowed() -> None:
    one = stored({"Cache-Control": "max-age=10, stale-if-error=5"})
    assert usable_on_error(one, asking(), NOW + 14.9)
    assert not usable_on_error(one, asking(), NOW + 15)
    plain = stored({"Cache-Control": "max-age=10"})
    assert not usable_on_error(plain, asking(), NOW + 11)
    assert usable_on_error(plain, asking(lines={"Cache-Control": "stale-if-error=5"}), NOW + 11)
    route = stored({"Cache-Control": "max-age=10"}, settings=CacheSettings(stale_if_error=5))
    assert usable_on_error(route, asking(), NOW + 11)


def test_4_2_4_while_disconnected_a_stale_response_is_used_for_a_time_unless_it_forbids_that() -> None:
    one = stored({"Cache-Control": "max-age=10"})
    assert usable_on_error(one, asking(), NOW + 69, disconnected=True)
    assert not usable_on_error(one, asking(), NOW + 70, disconnected=True)
    assert not usable_on_error(one, asking(), NOW + 11)
    longer = stored({"Cache-Control": "max-age=10, stale-if-error=600"})
    assert usable_on_error(longer, asking(), NOW + 600, disconnected=True)
    for directive in ("must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=1"):
        forbidding = stored({"Cache-Control": f"max-age=1, {directive}", "ETag": '"a"'})
        assert not usable_on_error(forbidding, asking(), NOW + 2, disconnected=True)
    never = stored({"Cache-Control": "max-age=10"}, settings=CacheSettings(stale_on_disconnect=0))
    assert not usable_on_error(never, asking(), NOW + 11, disconnected=True)


def test_8246_2_a_fresh_immutable_response_is_used_on_a_reload_and_a_stale_one_is_not() -> None:
    lines = {"Cache-Control": "max-age=60, immutable"}
    assert use(lines, {"Cache-Control": "max-age=0"}, after=5) == Use.FRESH
    assert use(lines, {"Cache-Control": "no-cache"}, after=5) == Use.VALIDATE
    assert use(lines, after=61) == Use.VALIDATE


# ---- section 5.2.1 ---------------------------------------------------------------------------------------------------


def test_5_2_1_1_max_age_bounds_the_age_the_client_accepts() -> None:
    lines = {"Cache-Control": "max-age=60"}
    assert use(lines, {"Cache-Control": "max-age=5"}, after=5) == Use.FRESH
    assert use(lines, {"Cache-Control": "max-age=5"}, after=5.1) == Use.VALIDATE
    assert use(lines, {"Cache-Control": "max-age=0"}, after=1) == Use.VALIDATE
    assert use({"Cache-Control": "max-age=600", "Age": "100"}, {"Cache-Control": "max-age=50"}) == Use.VALIDATE


def test_5_2_1_2_max_stale_accepts_staleness_up_to_a_bound() -> None:
    lines = {"Cache-Control": "max-age=10"}
    assert use(lines, {"Cache-Control": "max-stale=5"}, after=15) == Use.STALE
    assert use(lines, {"Cache-Control": "max-stale=5"}, after=15.1) == Use.VALIDATE
    assert use(lines, {"Cache-Control": "max-stale"}, after=1e6) == Use.STALE


def test_5_2_1_3_min_fresh_wants_time_left() -> None:
    lines = {"Cache-Control": "max-age=60"}
    assert use(lines, {"Cache-Control": "min-fresh=50"}, after=10) == Use.FRESH
    assert use(lines, {"Cache-Control": "min-fresh=50"}, after=10.1) == Use.VALIDATE
    assert use(lines, {"Cache-Control": "min-fresh=1, max-stale=99"}, after=70) == Use.VALIDATE


def test_5_2_1_4_no_cache_wants_validation() -> None:
    assert use({"Cache-Control": "max-age=60"}, {"Cache-Control": "no-cache"}) == Use.VALIDATE


def test_5_2_1_7_only_if_cached_is_answered_from_the_store_or_not_at_all() -> None:
    lines = {"Cache-Control": "max-age=60"}
    assert use(lines, {"Cache-Control": "only-if-cached"}, after=59) == Use.FRESH
    assert use(lines, {"Cache-Control": "only-if-cached"}, after=61) == Use.UNSATISFIED
    assert use(lines, {"Cache-Control": "only-if-cached, no-cache"}) == Use.UNSATISFIED
    assert use(lines, {"Cache-Control": "only-if-cached, max-stale"}, after=61) == Use.STALE


def test_5_4_pragma_of_a_request_says_nothing() -> None:
    assert use({"Cache-Control": "max-age=60"}, {"Pragma": "no-cache"}) == Use.FRESH


def test_an_operator_may_ignore_what_requests_ask_for_except_only_if_cached() -> None:
    lines = {"Cache-Control": "max-age=60"}
    wish = {"Cache-Control": "no-cache, max-age=0, min-fresh=99"}
    assert use(lines, wish, request_directives=False) == Use.FRESH
    assert use(lines, {"Cache-Control": "only-if-cached"}, after=61, request_directives=False) == Use.UNSATISFIED
