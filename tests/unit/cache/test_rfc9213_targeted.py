"""RFC 9213: fields targeted at this cache count in place of Cache-Control and Expires."""

from __future__ import annotations

import pytest

from edgewise.cache.directives import Directives, of_response
from edgewise.cache.settings import CacheSettings
from edgewise.cache.stored import Stored
from support.cache import NOW, Lines, date, judged, refused, response_head, stored

TARGETS = (b"edge-cache-control", b"cdn-cache-control")


def said(lines: Lines) -> Directives:
    return of_response(response_head(lines).fields, TARGETS)


def test_2_2_the_first_field_of_the_target_list_counts_and_the_others_do_not() -> None:
    lines = {"Cache-Control": "no-store", "CDN-Cache-Control": "max-age=2", "Edge-Cache-Control": "max-age=1"}
    assert said(lines) == Directives(max_age=1, targeted=True)


def test_2_1_directives_are_members_of_a_dictionary() -> None:
    value = 'max-age=60, no-cache="Set-Cookie", must-revalidate, max-age=30;x=1, foo=(1 2), no-store=?0'
    expected = Directives(max_age=30, no_cache_fields=frozenset((b"set-cookie",)), must_revalidate=True, targeted=True)
    assert said({"CDN-Cache-Control": value}) == expected


def test_2_1_several_lines_are_one_dictionary() -> None:
    assert said({"CDN-Cache-Control": ["max-age=60", "private"]}) == Directives(max_age=60, private=True, targeted=True)


@pytest.mark.parametrize(
    "value", ["", "max-age=10000, &&&&&", 'max-age="10000"', "max-age = 1", "MaX-aGe=1", "max-age=-1", "max-age"]
)
def test_2_1_a_field_that_is_empty_malformed_or_of_the_wrong_type_is_ignored(value: str) -> None:
    assert said({"CDN-Cache-Control": value, "Cache-Control": "no-store"}) == Directives(no_store=True)


def test_2_1_a_restriction_of_the_wrong_type_still_restricts() -> None:
    assert said({"CDN-Cache-Control": "no-store=1, max-age=5"}).no_store


def test_2_2_cache_control_and_expires_are_ignored() -> None:
    one = stored({"CDN-Cache-Control": "max-age=3600", "Cache-Control": "no-store", "Expires": "0"})
    assert one.fresh_until == NOW + 3600
    assert (
        refused({"CDN-Cache-Control": "max-age=0", "Cache-Control": "max-age=5", "Expires": date(NOW + 9)}) == "stale"
    )
    assert refused({"CDN-Cache-Control": "private", "Cache-Control": "max-age=3600"}) == "private"
    assert refused({"CDN-Cache-Control": "no-store", "Cache-Control": "max-age=3600"}) == "no-store"


def test_2_2_without_freshness_in_the_targeted_field_expires_does_not_help() -> None:
    assert refused({"CDN-Cache-Control": "must-revalidate", "Expires": date(NOW + 9)}) == "no freshness"


def test_the_target_list_is_configured() -> None:
    settings = CacheSettings(targets=())
    assert refused({"CDN-Cache-Control": "max-age=60"}, settings=settings) == "no freshness"
    assert isinstance(judged({"CDN-Cache-Control": "max-age=60"}), Stored)


def test_3_1_age_beyond_the_targeted_lifetime_is_stale() -> None:
    assert refused({"CDN-Cache-Control": "max-age=3600", "Age": "7200"}) == "stale"
