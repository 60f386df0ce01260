"""What holds for any combination of what responses and requests say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgewise.cache.reuse import Use, decide, usable_on_error
from edgewise.cache.settings import CacheSettings
from edgewise.cache.stored import Stored
from edgewise.cache.storing import Refusal
from edgewise.cache.validation import freshen
from support.cache import NOW, SETTINGS, Lines, asking, date, judged, response_head

SECONDS = st.integers(0, 100).map(str)
SAID = st.one_of(
    st.sampled_from(["public", "immutable", "no-cache", "must-revalidate", "proxy-revalidate", "x=1", 'x="a, b"']),
    st.tuples(
        st.sampled_from(["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"]),
        st.one_of(SECONDS, st.sampled_from(["", "-1", '"50"', "x", "99999999999"])),
    ).map("=".join),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "Expires": st.sampled_from(["0", date(NOW + 60), date(NOW - 60)]),
        "Last-Modified": st.just(date(NOW - 1000)),
        "ETag": st.sampled_from(['"a"', 'W/"a"', "a"]),
        "Age": st.sampled_from(["0", "50", "x"]),
        "Set-Cookie": st.just("id=1"),
        "Vary": st.sampled_from(["Cookie", "Accept-Encoding", "*"]),
    },
)
ASKED = st.lists(
    st.one_of(
        st.sampled_from(["no-cache", "max-stale", "only-if-cached"]),
        st.tuples(st.sampled_from(["max-age", "max-stale", "min-fresh", "stale-if-error"]), SECONDS).map("=".join),
    ),
    max_size=3,
)


def lines(said: list[str], fields: Lines) -> Lines:
    return {**fields, "Cache-Control": ", ".join(said)}


@given(
    st.lists(SAID, max_size=5), FIELDS, st.sampled_from(["no-store", "PRIVATE", "private=", "No-Store=1"]), st.data()
)
def test_what_forbids_storing_is_never_outweighed(
    said: list[str], fields: Lines, ban: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(said)))
    found = judged(lines([*said[:at], ban, *said[at:]], fields))
    assert isinstance(found, Refusal)


@given(st.lists(SAID, max_size=5), FIELDS, ASKED, st.floats(0, 500))
def test_nothing_that_forbids_stale_use_is_used_stale(
    said: list[str], fields: Lines, asked: list[str], after: float
) -> None:
    settings = CacheSettings(stale_while_revalidate=100, stale_if_error=100)
    found = judged(lines(said, fields), settings=settings)
    request = asking(lines={"Cache-Control": ", ".join(asked)})
    if isinstance(found, Stored) and {"no-cache", "must-revalidate", "proxy-revalidate"} & set(said):
        fresh = NOW + after < found.fresh_until
        assert fresh or decide(found, request, NOW + after) in (Use.VALIDATE, Use.UNSATISFIED)
        assert usable_on_error(found, request, NOW + after, disconnected=True) == fresh


@given(st.lists(SAID, max_size=5), FIELDS)
def test_a_cookie_is_never_stored_by_default(said: list[str], fields: Lines) -> None:
    found = judged(lines(said, {**fields, "Set-Cookie": "id=1"}))
    if isinstance(found, Stored):
        assert b"set-cookie" not in found.lines.lower()
        assert any(one == "public" or one.startswith("s-maxage") for one in said)


@given(st.lists(SAID, max_size=5), FIELDS, st.lists(SAID, max_size=5), FIELDS)
def test_a_validated_response_keeps_key_status_and_content(
    said: list[str], fields: Lines, says: list[str], update: Lines
) -> None:
    found = judged(lines(said, fields))
    if isinstance(found, Refusal):
        return
    found.fill(b"hello")
    response = response_head({"Content-Length": [], **lines(says, update)}, 304)
    fresh, reason = freshen(found, asking(), response, SETTINGS, NOW + 9, NOW + 9)
    assert (fresh.primary, fresh.status, fresh.body) == (found.primary, found.status, found.body)
    assert b"set-cookie" not in fresh.lines.lower()
    assert fresh.head.endswith(b"Content-Length: 5\r\n")
    names = [field.name for field in fresh.fields]
    assert len(names) == len(set(names))
    assert reason or fresh.born <= NOW + 9


@given(st.lists(SAID, max_size=5), FIELDS, ASKED, st.floats(0, 500))
def test_only_a_fresh_response_is_used_as_fresh(said: list[str], fields: Lines, asked: list[str], after: float) -> None:
    found = judged(lines(said, fields))
    if isinstance(found, Stored):
        use = decide(found, asking(lines={"Cache-Control": ", ".join(asked)}), NOW + after)
        assert use != Use.FRESH or NOW + after < found.fresh_until
