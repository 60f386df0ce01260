"""The store in memory: bounded, purged by epochs, admitting on the second request."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.cache import purges
from edgewise.cache.memory import MOST_VARIANTS, MemoryStore
from edgewise.cache.purges import Kind, Purge
from edgewise.cache.reuse import Use, decide
from edgewise.cache.stored import Stored
from edgewise.cache.tags import tag_id
from support.cache import NOW, Lines, asking, date, stored

LINES = {"Cache-Control": "max-age=600", "ETag": '"a"'}


def one(target: str = "/", lines: Lines | None = None, request: Lines | None = None, **more: object) -> Stored:
    return stored({**LINES, **(lines or {})}, request=asking(target, request), **more)  # type: ignore[arg-type]


def filled(*targets: str, lines: Lines | None = None) -> MemoryStore:
    store = MemoryStore(10_000_000)
    for target in targets:
        assert store.put(one(target, lines), store.epoch)
    return store


def left(store: MemoryStore, *targets: str) -> list[str]:
    return [target for target in targets if store.find(asking(target)) is not None]


# ---- bounds ----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_not_kept_and_takes_the_place_of_nothing() -> None:
    store = filled("/a")
    small = MemoryStore(one("/a").size)
    assert small.put(one("/a"), 0)
    assert not small.put(one("/b", body=b"x" * 100), 0)
    assert left(small, "/a", "/b") == ["/a"]
    assert len(store) == 1


def test_what_was_found_since_the_hand_passed_stays() -> None:
    store = MemoryStore(3 * one("/1").size)
    for target in ("/1", "/2", "/3"):
        store.put(one(target), 0)
    assert left(store, "/1", "/3") == ["/1", "/3"]
    store.put(one("/4"), 0)
    assert left(store, "/1", "/2", "/3", "/4") == ["/1", "/3", "/4"]


def test_a_new_response_takes_the_place_of_the_one_before_but_not_of_a_later_one() -> None:
    store = filled("/a")
    assert store.put(one("/a", body=b"new", received=NOW + 5), 0)
    assert not store.put(one("/a", body=b"slow", received=NOW + 1), 0)
    found = store.find(asking("/a"))
    assert found is not None
    assert (found.body, len(store), store.bytes) == (b"new", 1, found.size)


@pytest.mark.parametrize("second_hit", [False, True])
def test_another_bound_is_reached_a_step_at_a_time(second_hit: bool) -> None:
    store = MemoryStore(10_000_000, second_hit=second_hit)
    for number in range(10):
        store.put(one(f"/{number}"), 0)
    size = store.bytes // 10
    assert not store.resize(3 * size, 4)
    assert (len(store), store.evictions) == (6, 4)
    store.put(one("/n"), 0)
    assert len(store) == 6
    assert store.resize(3 * size, 4)
    assert len(store) == 3
    assert store.resize(10_000_000, 4)
    for number in range(10):
        store.put(one(f"/{number}"), 0)
    assert len(store) >= 10


def test_variants_of_one_key_are_bounded() -> None:
    store = MemoryStore(10_000_000)
    for number in range(3 * MOST_VARIANTS):
        store.put(one("/", {"Vary": "Foo"}, {"Foo": str(number)}), 0)
    assert len(store) == MOST_VARIANTS
    assert store.find(asking("/", {"Foo": "0"})) is None
    assert store.find(asking("/", {"Foo": str(3 * MOST_VARIANTS - 1)})) is not None


def test_nothing_is_left_of_an_object_that_was_discarded() -> None:
    store = filled("/a")
    store.put(one("/v", {"Vary": "Foo"}), 0)
    for request in (asking("/a"), asking("/v")):
        found = store.find(request)
        assert found is not None
        store.discard(found)
        store.discard(found)
    assert (len(store), store.bytes, store.varies(asking("/v"))) == (0, 0, False)


_STEPS = st.tuples(
    st.sampled_from(["put", "vary", "find", "discard", "purge", "sweep"]),
    st.integers(0, 12),
    st.integers(0, 4000),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(_STEPS, max_size=60), st.integers(2000, 20_000))
def test_the_bound_on_bytes_is_never_exceeded(steps: list[tuple[str, int, int]], bound: int) -> None:
    store = MemoryStore(bound)
    for step, number, size in steps:
        request = asking(f"/{number % 5}", {"Foo": str(number)})
        if step in ("put", "vary"):
            lines = {**LINES, **({"Vary": "Foo"} if step == "vary" else {})}
            store.put(stored(lines, request=request, body=b"x" * size), store.epoch)
        elif step == "purge":
            store.purge(Purge(Kind.URL, request.url), NOW)
        elif step == "sweep":
            store.sweep(number)
        elif (found := store.find(request)) is not None and step == "discard":
            store.discard(found)
        assert 0 <= store.bytes <= bound
        assert store.bytes == sum(held.size for held in store._order)
        assert len(store) == len(list(store._order))


def test_objects_cost_no_more_memory_than_they_are_taken_to_cost() -> None:
    objects = 2000
    lines = {**LINES, "Surrogate-Key": "a b c", "Vary": "Foo", "Content-Type": "text/html", "X-A": "1", "X-B": "2"}
    gc.collect()
    tracemalloc.start()
    store = MemoryStore(100_000_000)
    for number in range(objects):
        store.put(stored(lines, request=asking(f"/page/{number}"), body=b"%d" % number * 50), 0)
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(store) == objects
    assert used <= store.bytes * 1.05


# ---- purges ----------------------------------------------------------------------------------------------------------

ALL = ("/a", "/a/1", "/a/2?x=1", "/b")


@pytest.mark.parametrize(
    ("kind", "value", "rest"),
    [
        (Kind.URL, b"a.example/a", ["/a/1", "/a/2?x=1", "/b"]),
        (Kind.URL, b"a.example/a/2", list(ALL)),
        (Kind.PREFIX, b"a.example/a/", ["/a", "/b"]),
        (Kind.PREFIX, b"a.example/a", ["/b"]),
        (Kind.HOST, b"a.example", []),
        (Kind.HOST, b"b.example", list(ALL)),
        (Kind.PATTERN, b"*/2*", ["/a", "/a/1", "/b"]),
        (Kind.PATTERN, b"a.example/?", list(ALL)),
        (Kind.ALL, b"", []),
    ],
)
def test_a_purge_concerns_what_it_names(kind: Kind, value: bytes, rest: list[str]) -> None:
    store = filled(*ALL)
    assert store.count([Purge(kind, value)]) == len(ALL) - len(rest)
    assert len(store) == len(ALL)
    store.purge(Purge(kind, value), NOW)
    assert left(store, *ALL) == rest
    assert store.count([Purge(kind, value)]) == 0


def test_a_host_is_purged_with_all_its_ports_or_with_one() -> None:
    for purged, ports in (("a.example", []), ("a.example:81", [""]), ("[::1]", ["", ":81"])):
        store = MemoryStore(1_000_000)
        for port in ("", ":81"):
            store.put(one("/", request={"Host": "a.example" + port}), 0)
        store.purge(Purge(Kind.HOST, purged.encode()), NOW)
        found = [port for port in ("", ":81") if store.find(asking("/", {"Host": "a.example" + port}))]
        assert found == ports


@pytest.mark.parametrize("name", ["Surrogate-Key", "Cache-Tag", "Cache-Groups"])
def test_a_tag_purges_what_carries_it_under_any_of_the_fields(name: str) -> None:
    value = '"t1"' if name == "Cache-Groups" else "t1"
    store = filled("/a", lines={name: value})
    store.put(one("/b", {name: value.replace("1", "2")}), 0)
    store.purge(Purge(Kind.TAG, b"t1"), NOW)
    assert left(store, "/a", "/b") == ["/b"]


def test_what_is_stored_after_a_purge_is_not_concerned() -> None:
    store = filled("/a")
    store.purge(Purge(Kind.URL, b"a.example/a"), NOW)
    assert store.put(one("/a"), store.epoch)
    assert left(store, "/a") == ["/a"]


def test_a_soft_purge_makes_stale_and_a_validated_response_is_fresh_again() -> None:
    store = filled("/a", lines={"Cache-Control": "max-age=600, stale-while-revalidate=10"})
    store.purge(Purge(Kind.URL, b"a.example/a", soft=True), NOW + 5)
    request = asking("/a")
    found = store.find(request)
    assert found is not None
    assert decide(found, request, NOW + 14.9) == Use.REVALIDATE
    assert decide(found, request, NOW + 15) == Use.VALIDATE
    store.put(one("/a", received=NOW + 16), store.epoch)
    again = store.find(request)
    assert again is not None
    assert decide(again, request, NOW + 17) == Use.FRESH


def test_a_purge_is_not_overtaken_by_a_fill_that_began_before_it() -> None:
    for purge in (Purge(Kind.URL, b"a.example/a"), Purge(Kind.TAG, b"t"), Purge(Kind.ALL)):
        store = MemoryStore(1_000_000)
        began = store.epoch
        store.purge(purge, NOW)
        assert not store.put(one("/a", {"Surrogate-Key": "t"}), began)
        assert left(store, "/a") == []


def test_a_soft_purge_makes_stale_what_a_fill_brings_that_began_before_it() -> None:
    store = MemoryStore(1_000_000)
    began = store.epoch
    store.purge(Purge(Kind.TAG, b"t", soft=True), NOW + 1)
    assert store.put(one("/a", {"Surrogate-Key": "t"}), began)
    found = store.find(asking("/a"))
    assert found is not None
    assert decide(found, asking("/a"), NOW + 2) == Use.VALIDATE


def test_who_comes_after_a_purge_does_not_join_a_fill_that_began_before_it() -> None:
    store = MemoryStore(1_000_000)
    began = store.epoch
    assert store.unpurged(b"a.example/a", began)
    store.purge(Purge(Kind.PREFIX, b"a.example/b"), NOW)
    assert store.unpurged(b"a.example/a", began)
    store.purge(Purge(Kind.URL, b"a.example/a"), NOW)
    assert not store.unpurged(b"a.example/a", began)
    began = store.epoch
    assert store.unpurged(b"a.example/a", began)
    store.purge(Purge(Kind.TAG, b"t"), NOW)
    assert not store.unpurged(b"a.example/a", began)


def test_purges_are_forgotten_once_all_objects_were_compared_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purges, "MOST_MARKS", 50)
    store = filled("/a", "/keep")
    began = store.epoch
    store.purge(Purge(Kind.URL, b"a.example/a"), NOW)
    for number in range(200):
        store.purge(Purge(Kind.TAG, b"%d" % number), NOW)
    assert len(store._purges) <= 50
    assert left(store, "/a", "/keep") == ["/keep"]
    assert len(store) == 1
    assert not store.put(one("/a"), began)
    assert not store.unpurged(b"a.example/a", began)


def test_patterns_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purges, "MOST_PATTERNS", 20)
    store = filled("/a", "/b")
    for number in range(300):
        store.purge(Purge(Kind.PATTERN, b"a.example/a*%d" % number), NOW)
        assert len(store._purges) <= 20
    assert left(store, "/a", "/b") == ["/a", "/b"]


def test_room_for_purges_is_made_little_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purges, "MOST_MARKS", 400)
    store = filled(*(f"/{number}" for number in range(300)))
    most = 0
    for number in range(2000):
        before = [stored.checked for stored in store._order]
        store.purge(Purge(Kind.TAG, b"%d" % number), NOW)
        now = [stored.checked for stored in store._order]
        most = max(most, sum(then != later for then, later in zip(before, now, strict=True)))
        assert store._purges.room > 0
    assert 0 < most < 20


def test_a_sweep_gives_memory_back_little_by_little() -> None:
    store = filled(*(f"/{number}" for number in range(100)))
    store.purge(Purge(Kind.HOST, b"a.example"), NOW)
    assert not store.sweep(30)
    assert len(store) == 70
    store.put(one("/new"), store.epoch)
    while not store.sweep(30):
        pass
    assert (len(store), left(store, "/new")) == (1, ["/new"])


# ---- purges that somebody else numbers -------------------------------------------------------------------------------

_NUMBERED = st.tuples(
    st.sampled_from([Kind.URL, Kind.PREFIX, Kind.TAG, Kind.PATTERN, Kind.HOST, Kind.ALL]), st.booleans()
)
_VALUES = {Kind.URL: b"a.example/a", Kind.PREFIX: b"a.ex", Kind.TAG: b"t", Kind.PATTERN: b"*a", Kind.HOST: b"a.example"}


@given(st.lists(_NUMBERED, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_numbered_purges_may_come_twice_and_in_any_order(kinds: list[tuple[Kind, bool]], order: Random) -> None:
    told = [(Purge(kind, _VALUES.get(kind, b""), soft), number) for number, (kind, soft) in enumerate(kinds, 5)]
    straight, mixed = purges.Purges(), purges.Purges()
    for purge, number in told:
        assert straight.apply(purge, NOW + number, number) == number
    twice = told * 2
    order.shuffle(twice)
    for purge, number in twice:
        mixed.apply(purge, NOW + number, number)
    assert (mixed.epoch, mixed.tagged) == (straight.epoch, straight.tagged)
    for since in range(len(kinds) + 6):
        assert mixed.until(b"a.example/a", tag_id(b"t"), since) == straight.until(b"a.example/a", tag_id(b"t"), since)


def test_what_is_forgotten_counts_as_heeded() -> None:
    loaded = purges.Purges()
    loaded.forget(7)
    assert (loaded.floor, loaded.epoch) == (7, 7)
    assert loaded.apply(Purge(Kind.ALL), NOW) == 8


# ---- the race --------------------------------------------------------------------------------------------------------

_TARGETS = ("/a", "/a/1", "/b")
_TAGS = ("s", "t")
_PURGES = [
    *(Purge(Kind.URL, f"a.example{target}".encode(), soft) for target, soft in product(_TARGETS, (False, True))),
    *(Purge(Kind.TAG, tag.encode(), soft) for tag, soft in product(_TAGS, (False, True))),
    *(Purge(kind, value) for kind, value in ((Kind.PREFIX, b"a.example/a"), (Kind.ALL, b""), (Kind.PATTERN, b"*/1"))),
]
_EVENTS = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 2), st.integers(0, 1)),
    st.tuples(st.just("end"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("purge"), st.integers(0, len(_PURGES) - 1), st.just(0)),
    st.tuples(st.just("find"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("sweep"), st.integers(0, 3), st.just(0)),
)


def concerned(purge: Purge, target: str, tag: str) -> bool:
    """The slow and plain reading of what a purge names."""
    url = f"a.example{target}".encode()
    readings = {
        Kind.URL: url == purge.value,
        Kind.TAG: purge.value == tag.encode(),
        Kind.PREFIX: url.startswith(purge.value),
        Kind.PATTERN: url.endswith(b"/1"),
        Kind.ALL: True,
    }
    return readings[purge.kind]


@settings(deadline=None, max_examples=300)
@given(st.lists(_EVENTS, max_size=40), st.sampled_from([3, 65_536]))
def test_no_response_is_found_or_fresh_that_was_asked_for_before_a_purge_of_it(
    events: list[tuple[str, int, int]], marks: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(purges, "MOST_MARKS", marks)
        store = MemoryStore(1_000_000)
        fills: list[tuple[str, str, int, int]] = []
        happened: list[Purge] = []
        for step, (event, first, second) in enumerate(events):
            now = NOW + step
            if event == "begin":
                fills.append((_TARGETS[first], _TAGS[second], store.epoch, len(happened)))
            elif event == "end" and fills:
                target, tag, epoch, seen = fills.pop(first % len(fills))
                lines = {"Surrogate-Key": tag, "X-Seen": f"{seen} {tag}", "Date": date(now)}
                store.put(one(target, lines, received=now), epoch)
            elif event == "purge":
                happened.append(_PURGES[first])
                store.purge(_PURGES[first], now)
            elif event == "sweep":
                store.sweep(first)
            elif event == "find" and (found := store.find(asking(_TARGETS[first]))) is not None:
                told = next(field.value for field in found.fields if field.name == b"x-seen").decode()
                seen, tag = int(told.split()[0]), told.split()[1]
                since = [purge for purge in happened[seen:] if concerned(purge, _TARGETS[first], tag)]
                assert all(purge.soft for purge in since)
                assert not since or decide(found, asking(_TARGETS[first]), now) != Use.FRESH


def test_10_000_slow_fills_that_began_before_a_purge_leave_nothing_stale() -> None:
    store = MemoryStore(100_000_000)
    old, request = one("/a", {"Surrogate-Key": "t"}), asking("/a")
    for number in range(10_000):
        began = store.epoch
        store.purge(Purge(Kind.TAG, b"t") if number % 2 else Purge(Kind.URL, b"a.example/a"), NOW)
        store.put(old, began)
        assert store.find(request) is None


# ---- admission -------------------------------------------------------------------------------------------------------


def test_with_second_hit_what_is_asked_for_once_only_has_a_tenth_of_the_room() -> None:
    popular, size = [f"/{number}" for number in range(80)], one("/page-1000").size
    store = MemoryStore(100 * size, second_hit=True)
    for target in popular:
        store.put(one(target), 0)
    assert left(store, *popular) == popular
    for number in range(1000):
        store.put(one(f"/page-{number}"), 0)
    assert store.bytes <= 100 * size
    assert left(store, *popular) == popular
    assert left(store, *(f"/page-{number}" for number in range(970))) == []
