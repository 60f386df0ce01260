"""What was read from the embedded engine is known to hold, or known not to. The writer runs here, step by step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.contracts.state import Entry
from edgewise.state.sqlite import wire
from edgewise.state.sqlite.changes import Announcements, SqliteSnapshot, slot_of
from edgewise.state.sqlite.reader import Reader
from edgewise.state.sqlite.tables import Tables
from support.manual_clock import ManualClock

KEYS = ("session/a", "session/b", "session/c")


class Embedded:
    """The writer's tables and two readers, on one clock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(1000.0)
        self.tables = self._open()
        self.readers = [Reader(directory, self.clock) for _ in range(2)]

    def _open(self) -> Tables:
        return Tables(self.directory, wall=lambda: 1.7e9, steady=self.clock)

    def write(self, *requests: wire.AnyRequest) -> list[object]:
        """Carry out a batch."""
        self.tables.begin()
        results = [self.tables.apply(request)[1] for request in requests]
        assert self.tables.commit() == {}
        return results

    def set(self, key: str, value: bytes = b"", ttl: int | None = 60_000) -> None:
        """Write a key; times are milliseconds."""
        self.write(wire.Set(1, "keys", key, value, ttl, None))

    def restart(self) -> None:
        """Have another writer take over."""
        self.tables.close()
        self.tables = self._open()

    def close(self) -> None:
        """Close everything."""
        self.tables.close()
        for reader in self.readers:
            reader.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Embedded:
    return Embedded(tmp_path)


def read(embedded: Embedded) -> SqliteSnapshot:
    snapshot = embedded.readers[0].snapshot(KEYS[0])
    assert snapshot.left() > 0
    return snapshot


@pytest.mark.parametrize(
    "request_",
    [
        wire.Set(1, "keys", KEYS[0], b"2", None, None),
        wire.Touch(1, KEYS[0], 120_000),
        wire.Delete(1, "keys", KEYS[0], None),
    ],
    ids=lambda request: type(request).__name__,
)
def test_a_read_holds_until_its_key_is_written_touched_or_deleted(
    embedded: Embedded, request_: wire.AnyRequest
) -> None:
    embedded.set(KEYS[0], b"1")
    snapshot = read(embedded)
    embedded.set(KEYS[1])
    assert snapshot.left() == pytest.approx(60.0)
    embedded.write(request_)
    assert snapshot.left() <= 0
    embedded.close()


def test_it_ends_when_the_entry_does(embedded: Embedded) -> None:
    embedded.set(KEYS[0])
    snapshot = read(embedded)
    embedded.clock.advance(59.0)
    assert snapshot.left() == pytest.approx(1.0)
    embedded.clock.advance(1.0)
    assert snapshot.left() <= 0
    embedded.close()


def test_that_there_is_nothing_holds_until_something_is_written(embedded: Embedded) -> None:
    snapshot = read(embedded)
    assert snapshot.entry is None
    assert snapshot.left() == float("inf")
    embedded.set(KEYS[0])
    assert snapshot.left() <= 0
    embedded.close()


def test_nothing_read_while_a_commit_is_under_way_holds(embedded: Embedded) -> None:
    embedded.set(KEYS[0])
    before = read(embedded)
    announcements = Announcements(embedded.directory)
    fresh = read(embedded)
    announcements.begin([slot_of(KEYS[0])])
    during = embedded.readers[0].snapshot(KEYS[0])
    assert before.left() <= 0
    assert fresh.left() <= 0
    assert during.entry is not None
    assert during.left() <= 0
    announcements.end([slot_of(KEYS[0])])
    assert during.left() <= 0
    assert read(embedded).left() > 0
    announcements.close()
    embedded.close()


def test_a_writer_that_died_amid_a_commit_leaves_nothing_that_holds_until_the_next_starts(embedded: Embedded) -> None:
    embedded.set(KEYS[0])
    read(embedded)
    embedded.tables.begin()
    embedded.tables.apply(wire.Set(1, "keys", KEYS[0], b"2", None, None))
    embedded.tables._announcements.begin([slot_of(KEYS[0])])
    assert embedded.readers[1].snapshot(KEYS[0]).left() <= 0
    embedded.restart()
    assert embedded.readers[1].snapshot(KEYS[0]).left() > 0
    embedded.close()


def test_nothing_holds_beyond_the_start_of_a_writer(embedded: Embedded) -> None:
    embedded.set(KEYS[0])
    snapshot = read(embedded)
    embedded.tables.close()
    assert snapshot.left() > 0, "nobody can have written"
    embedded.tables = embedded._open()
    assert snapshot.left() <= 0
    embedded.close()


def test_a_file_in_the_place_of_the_mapped_one_is_noticed_within_a_second(embedded: Embedded) -> None:
    embedded.set(KEYS[0])
    snapshot = read(embedded)
    (embedded.directory / "changes").unlink()
    embedded.restart()
    embedded.clock.advance(1.0)
    assert snapshot.left() <= 0
    assert read(embedded).left() > 0
    (embedded.directory / "changes").unlink()
    embedded.clock.advance(1.0)
    assert embedded.readers[0].snapshot(KEYS[0]).left() <= 0, "without the file nothing holds"
    embedded.close()


def test_a_file_of_another_size_is_replaced_not_cut(embedded: Embedded) -> None:
    embedded.tables.close()
    path = embedded.directory / "changes"
    path.write_bytes(b"x" * 100)
    before = os.stat(path).st_ino
    kept = path.open("rb")
    embedded.tables = embedded._open()
    assert os.stat(path).st_ino != before
    kept.close()
    embedded.set(KEYS[0])
    assert read(embedded).left() > 0
    embedded.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(KEYS), st.sampled_from([None, 5, 2000, 60_000])),
        st.tuples(st.just("touch"), st.sampled_from(KEYS), st.sampled_from([5, 60_000])),
        st.tuples(st.sampled_from(["delete", "read"]), st.sampled_from(KEYS), st.sampled_from([0, 1])),
        st.tuples(st.just("pass"), st.just(""), st.sampled_from([1, 50, 3000])),
        st.tuples(st.sampled_from(["sweep", "restart", "fail"]), st.sampled_from(KEYS), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_what_is_taken_to_hold_is_what_a_read_would_return(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int | None]]
) -> None:
    embedded = Embedded(tmp_path_factory.mktemp("state"))
    snapshots: list[tuple[str, SqliteSnapshot]] = []
    for step, key, number in steps:
        take(embedded, snapshots, step, key, number)
        for name, snapshot in snapshots:
            left = snapshot.left()
            if left > 0:
                assert_same(snapshot.entry, left, embedded.readers[0].get("keys", name))
    embedded.close()


def take(
    embedded: Embedded, snapshots: list[tuple[str, SqliteSnapshot]], step: str, key: str, number: int | None
) -> None:
    match step:
        case "set":
            embedded.set(key, b"%d" % len(snapshots), number)
        case "touch":
            embedded.write(wire.Touch(1, key, number or 1))
        case "delete":
            embedded.write(wire.Delete(1, "keys", key, None))
        case "read":
            snapshots.append((key, embedded.readers[number or 0].snapshot(key)))
        case "pass":
            embedded.clock.advance((number or 0) / 1000)
        case "sweep":
            embedded.tables.begin()
            embedded.tables.sweep(1.0)
        case "restart":
            embedded.restart()
        case "fail":
            embedded.tables.begin()
            embedded.tables.apply(wire.Set(1, "keys", key, b"lost", None, None))
            embedded.tables._files["keys"].rollback()
            embedded.tables._dirty.clear()
            embedded.tables.commit()


def assert_same(entry: Entry | None, left: float, found: Entry | None) -> None:
    if entry is None or found is None:
        assert entry is found
        return
    assert (entry.value, entry.revision) == (found.value, found.revision)
    assert left == pytest.approx(float("inf") if found.ttl is None else found.ttl, abs=0.002)
