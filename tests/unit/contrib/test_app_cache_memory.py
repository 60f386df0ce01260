"""The copies of a process: bounded in bytes, and used only while they hold."""

from __future__ import annotations

import gc
import math

from hypothesis import given
from hypothesis import strategies as st

from edgewise.contracts.state import Entry
from edgewise.contrib.cache.memory import Copy, Mark, Memory, Timed
from support.manual_clock import ManualClock

ROOM = 5000


class Held:
    """A snapshot that holds until told."""

    def __init__(self, revision: int = 0, left: float = math.inf) -> None:
        self.entry = Entry("k", b"", revision, None) if revision else None
        self.seconds = left

    def left(self) -> float:
        return self.seconds


def copy(key: str, size: int = 100, *, since: int = 5, marks: tuple[Mark, ...] = ()) -> Copy:
    return Copy(key, Held(1), marks, since, 0.0, 0.0, bytes(size))


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 6000), st.sampled_from(["keep", "drop", "hit"]))))
def test_no_order_of_uses_takes_more_bytes_than_there_are(uses: list[tuple[str, int, str]]) -> None:
    memory = Memory(ROOM)
    for key, size, use in uses:
        if use == "keep":
            memory.keep(copy(key, size))
        elif use == "drop":
            memory.drop(key)
        elif key in memory.copies:
            memory.copies[key].visited = True
        assert memory.bytes == sum(each.size for each in memory.copies.values()) <= ROOM


def test_what_is_used_stays_and_what_is_not_goes() -> None:
    memory = Memory(ROOM)
    for key in "abcd":
        memory.keep(copy(key))
    memory.copies["a"].visited = True
    for key in "ef":
        memory.keep(copy(key))
        memory.copies["a"].visited = True
    assert "a" in memory.copies
    assert "b" not in memory.copies


def test_a_copy_holds_while_its_entry_and_the_marks_of_its_tags_do() -> None:
    mark, entry = Mark("t", Held(3)), copy("k")
    entry.marks = (mark,)
    assert entry.left() > 0
    mark.snapshot = Held(5)
    assert entry.left() > 0, "it was begun when the purge of revision 5 was known"
    mark.snapshot = Held(6)
    assert entry.left() == 0
    mark.snapshot = Held(3, left=0.0)
    assert entry.left() == 0
    mark.snapshot = Held()
    entry.snapshot = Held(1, left=0.0)
    assert entry.left() == 0


def test_marks_are_shared_and_kept_only_while_a_copy_needs_them() -> None:
    memory = Memory(ROOM)
    mark = memory.share(Mark("t", Held(1)))
    assert memory.share(Mark("t", Held(2))) is mark
    memory.keep(copy("k", marks=(mark,)))
    del mark
    assert memory.mark("t") is not None
    memory.drop("k")
    gc.collect()
    assert memory.mark("t") is None


def test_a_read_of_an_engine_that_cannot_tell_holds_for_its_time_and_until_this_process_purges() -> None:
    clock, memory = ManualClock(100.0), Memory(ROOM)

    def read(ttl: float | None) -> Timed:
        return Timed(memory, memory.purges, Entry("k", b"", 1, ttl), clock(), clock() + 1.0, clock)

    short, lasting = read(0.5), read(None)
    clock.advance(0.4)
    assert 0 < short.left() < 0.2
    assert lasting.left() == math.inf
    clock.advance(0.2)
    assert short.left() <= 0
    clock.advance(0.4)
    assert lasting.left() == 0
    purged = read(None)
    memory.purges += 1
    assert purged.left() == 0
