"""RFC 9111 section 4.2: freshness lifetime, heuristics, age; sections 5.1 and 5.3."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.cache.directives import MOST_SECONDS
from edgewise.cache.freshness import HEURISTICALLY_CACHEABLE, age_of, date_of, timestamp
from edgewise.cache.reuse import Use, decide
from edgewise.cache.settings import DAY, CacheSettings
from edgewise.cache.stored import Stored
from support.cache import NOW, Lines, asking, date, judged, refused, response_head, stored


def lifetime(lines: Lines, status: int = 200, **settings: object) -> float:
    return stored(lines, status, settings=CacheSettings(**settings)).fresh_until - NOW  # type: ignore[arg-type]


# ---- section 4.2.1 ---------------------------------------------------------------------------------------------------


def test_4_2_1_s_maxage_comes_before_max_age_and_max_age_before_expires() -> None:
    assert lifetime({"Cache-Control": "max-age=1, s-maxage=3600", "Expires": date(NOW - 10)}) == 3600
    assert lifetime({"Cache-Control": "max-age=3600, s-maxage=1"}) == 1
    assert lifetime({"Cache-Control": "max-age=3600", "Expires": date(NOW - 7200)}) == 3600
    assert lifetime({"Cache-Control": "max-age=3600", "Expires": "0"}) == 3600
    assert refused({"Cache-Control": "max-age=0", "Expires": date(NOW + 3600)}) == "stale"


def test_4_2_1_expires_counts_from_date() -> None:
    assert lifetime({"Expires": date(NOW + 100), "Date": date(NOW)}) == 100
    one = stored({"Expires": date(NOW + 100), "Date": date(NOW - 50)})
    assert (one.fresh_until, one.age(NOW)) == (NOW + 100, 50)
    assert lifetime({"Expires": date(NOW + 100), "Date": []}) == 100


@pytest.mark.parametrize(
    "expires",
    [
        "0",
        "-1",
        "",
        "Thu, 18 Aug 2050 02:01:18 UTC",
        "Thu, 18 Aug 2050 02:01:18 AEST",
        "Thu, 18 Aug 50 02:01:18 GMT",
        "Thu 18 Aug 2050 02:01:18 GMT",
        "Thu, 18  Aug  2050 02:01:18 GMT",
        "Thu, 18-Aug-2050 02:01:18 GMT",
        "Thu, 18 Aug 2050 02.01.18 GMT",
        "Thu, 18 Aug 2050 2:01:18 GMT",
        "Fri, 18 Aug 2050 02:01:18 GMT",
        ["Thu, 18 Aug 2050 02:01:18 GMT", "Thu, 18 Aug 2050 02:01:19 GMT"],
    ],
)
def test_5_3_an_invalid_expires_is_in_the_past(expires: str | list[str]) -> None:
    assert refused({"Expires": expires, "Last-Modified": []}) == "stale"


@pytest.mark.parametrize(
    "expires",
    [
        "Tue, 19 Jan 2038 14:14:08 GMT",
        "Sun, 21 Nov 2286 04:46:39 GMT",
        "Thursday, 18-Aug-50 02:01:18 GMT",
        "Thu Aug 18 02:01:18 2050",
        "THU, 18 Aug 2050 02:01:18 GMT",
        "Thu, 18 AUG 2050 02:01:18 GMT",
        "Thu, 18 Aug 2050 02:01:18 gMT",
    ],
)
def test_4_2_dates_of_all_three_forms_are_read_whatever_their_case(expires: str) -> None:
    assert lifetime({"Expires": expires}) == min(float(timestamp(expires.encode()) or 0) - NOW, MOST_SECONDS) > 0


def test_4_2_local_time_zones_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored({"Expires": date(NOW + 100)}).fresh_until
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Pacific/Kiritimati")
        time.tzset()
        assert stored({"Expires": date(NOW + 100.9), "Date": date(NOW)}).fresh_until == before
    time.tzset()


# ---- section 4.2.2 ---------------------------------------------------------------------------------------------------


def test_4_2_2_a_heuristic_applies_with_last_modified_only() -> None:
    assert lifetime({"Last-Modified": date(NOW - 1000)}) == 100
    assert lifetime({"Last-Modified": date(NOW - 1000)}, heuristic_share=0.2) == 200
    assert lifetime({"Last-Modified": date(NOW - 1000 * DAY)}) == DAY
    assert lifetime({"Last-Modified": date(NOW + 1000)}) == 0
    assert refused({"Last-Modified": "yesterday"}) == "no freshness"


@pytest.mark.parametrize(
    "status", [200, 203, 204, 206, 300, 301, 302, 307, 308, 400, 404, 405, 410, 414, 500, 501, 599]
)
def test_4_2_2_a_heuristic_applies_to_statuses_that_allow_it_or_to_public_responses(status: int) -> None:
    lines = {"Last-Modified": date(NOW - 1000)}
    expected = "status" if status == 206 else "" if status in HEURISTICALLY_CACHEABLE else "no freshness"
    assert refused(lines, status) == expected
    if status != 206:
        assert lifetime(lines | {"Cache-Control": "public"}, status) == 100


@pytest.mark.parametrize(
    "explicit", [{"Cache-Control": "max-age=0"}, {"Expires": "0"}, {"Cache-Control": "s-maxage=0"}]
)
def test_4_2_2_a_heuristic_never_takes_the_place_of_explicit_freshness(explicit: dict[str, str]) -> None:
    assert lifetime({"Last-Modified": date(NOW - 1000)} | explicit) == 0


def test_negative_caching_is_by_status_and_only_where_the_response_does_not_say() -> None:
    settings = CacheSettings(status_ttl={404: 10, 503: 1}, default_ttl=60)
    assert stored({}, 404, settings=settings).fresh_until == NOW + 10
    assert stored({}, 503, settings=settings).fresh_until == NOW + 1
    assert stored({}, 200, settings=settings).fresh_until == NOW + 60
    assert stored({"Cache-Control": "max-age=5"}, 404, settings=settings).fresh_until == NOW + 5
    assert refused({}, 500, settings=settings) == "no freshness"
    assert refused({"Cache-Control": "no-store"}, 404, settings=settings) == "no-store"


# ---- section 4.2.3 ---------------------------------------------------------------------------------------------------


def test_4_2_3_age_is_the_larger_of_apparent_age_and_corrected_age_value() -> None:
    assert stored({"Cache-Control": "max-age=3600", "Age": "100"}).age(NOW) == 100
    assert stored({"Cache-Control": "max-age=9999", "Date": date(NOW - 7200), "Age": "100"}).age(NOW) == 7200
    assert stored({"Cache-Control": "max-age=3600", "Date": date(NOW + 500)}).age(NOW) == 0


def test_4_2_3_the_delay_of_the_response_counts_and_so_does_the_time_it_was_stored() -> None:
    one = stored({"Cache-Control": "max-age=3600", "Age": "100"}, asked=NOW - 7)
    assert one.age(NOW) == 107
    assert one.age(NOW + 50.9) == 157
    assert one.fresh_until == NOW + 3600 - 107


def test_4_2_3_a_response_older_than_its_lifetime_is_stale_when_it_comes() -> None:
    assert refused({"Cache-Control": "max-age=3600", "Age": "7200"}) == "stale"
    assert refused({"Cache-Control": "max-age=3600", "Date": date(NOW - 7200)}) == "stale"


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        ("7200", 7200),
        ("0, 7200", 0),
        ("7200, 0", 7200),
        (["7200", "0"], 7200),
        (["0", "7200"], 0),
        ("2147483647", 2147483647),
        ("2147483649", MOST_SECONDS),
        ("abc", 0),
        ("-7200", 0),
        ("7200.0", 0),
        ("7200;foo=bar", 0),
        ("7_200", 0),
        ([], 0),
    ],
)
def test_5_1_of_age_the_first_member_counts_and_what_is_no_number_is_ignored(age: str, seconds: int) -> None:
    assert age_of(response_head({"Age": age}).fields) == seconds


def test_9110_6_6_1_a_date_that_is_none_is_that_of_receipt() -> None:
    for lines in ({}, {"Date": "now"}, {"Date": [date(NOW - 50), date(NOW - 60)]}):
        assert date_of(response_head(lines).fields, NOW) == NOW


# ---- properties ------------------------------------------------------------------------------------------------------

_SECONDS = st.one_of(st.integers(0, 100_000), st.just(99_999_999_999))


@given(
    s_maxage=_SECONDS,
    max_age=st.none() | _SECONDS,
    expires=st.none() | st.integers(-100_000, 100_000),
    age=st.none() | _SECONDS,
    dated=st.integers(-100_000, 100_000),
    delay=st.floats(0, 1000),
    wait=st.floats(0, 300_000),
)
def test_a_response_is_never_fresh_for_longer_than_its_s_maxage(
    s_maxage: int, max_age: int | None, expires: int | None, age: int | None, dated: int, delay: float, wait: float
) -> None:
    lines = {"Cache-Control": f"s-maxage={s_maxage}" + ("" if max_age is None else f", max-age={max_age}")}
    if expires is not None:
        lines["Expires"] = date(NOW + expires)
    if age is not None:
        lines["Age"] = str(age)
    one = judged(lines | {"Date": date(NOW + dated), "ETag": '"a"'}, asked=NOW - delay)
    assert isinstance(one, Stored)
    assert one.fresh_until <= NOW + s_maxage
    assert one.age(NOW) >= (min(age, MOST_SECONDS) if age else 0)
    if wait >= s_maxage:
        assert decide(one, asking(), NOW + wait) == Use.VALIDATE
