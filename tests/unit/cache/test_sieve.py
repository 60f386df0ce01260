"""SIEVE: what is evicted, and in which order; what was asked for once only goes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.cache.admission import Ghosts, Probation
from edgewise.cache.sieve import Sieve


class Entry:
    """The least that can be in the order."""

    __slots__ = ("key", "name", "newer", "older", "size", "trial", "visited")

    def __init__(self, name: int, size: int = 1) -> None:
        self.name = name
        self.key = b"%d" % name
        self.size = size
        self.visited = False
        self.trial = 0
        self.newer: Entry | None = None
        self.older: Entry | None = None


def test_what_was_not_visited_since_the_hand_passed_goes_first() -> None:
    order: Sieve[Entry] = Sieve()
    entries = [Entry(name) for name in range(4)]
    for entry in entries:
        order.add(entry)
    entries[0].visited = entries[2].visited = True
    evicted = []
    for _ in range(4):
        victim = order.victim()
        order.remove(victim)
        evicted.append(victim.name)
    assert evicted == [1, 3, 0, 2]
    with pytest.raises(LookupError):
        order.victim()


_STEPS = st.lists(st.tuples(st.sampled_from(["add", "visit", "evict", "remove"]), st.integers(0, 9)), max_size=80)


@given(_STEPS)
def test_the_order_holds_what_was_added_and_not_removed_from_old_to_new(steps: list[tuple[str, int]]) -> None:
    order: Sieve[Entry] = Sieve()
    there = follow(order, steps)
    assert [entry.name for entry in order] == list(there)


@given(_STEPS, st.sampled_from([0, 10, 40, 1000]))
def test_with_a_probation_too_the_order_holds_what_was_added_and_the_new_ones_are_the_newest(
    steps: list[tuple[str, int]], room: int
) -> None:
    order: Probation[Entry] = Probation(room)
    there = follow(order, steps)
    assert sorted(entry.name for entry in order) == sorted(there)
    new = [bool(entry.trial) for entry in order]
    assert new == sorted(new), "from the border on all are new"
    while there:
        victim = order.victim()
        order.remove(victim)
        del there[victim.name]
    assert (order.oldest, order.newest, order.border) == (None, None, None)


def follow(order: Sieve[Entry], steps: list[tuple[str, int]]) -> dict[int, Entry]:
    """Do the steps; return what is in the order then."""
    there: dict[int, Entry] = {}
    for step, name in steps:
        if step == "add" and name not in there:
            there[name] = Entry(name)
            order.add(there[name])
        elif step == "visit" and name in there:
            there[name].visited = True
        elif step == "evict" and there:
            victim = order.victim()
            assert not victim.visited
            order.remove(victim)
            del there[victim.name]
        elif step == "remove" and name in there:
            order.remove(there.pop(name))
    return there


def evicted(order: Sieve[Entry], count: int) -> list[int]:
    """Evict so many and return which."""
    names = []
    for _ in range(count):
        victim = order.victim()
        order.remove(victim)
        names.append(victim.name)
    return names


def test_what_was_asked_for_once_only_goes_before_what_was_asked_for_twice() -> None:
    order: Probation[Entry] = Probation(10)
    first = Entry(0)
    order.add(first)
    first.visited = True
    for name in range(1, 10):
        order.add(Entry(name))
    assert evicted(order, 8) == [1, 2, 3, 4, 5, 6, 7, 8], "though it came later"
    assert [entry.name for entry in order] == [0, 9]


def test_what_is_asked_for_again_soon_after_it_was_evicted_is_new_no_more() -> None:
    order: Probation[Entry] = Probation(10)
    for name in (1, 2, 3):
        order.add(Entry(name))
    assert evicted(order, 1) == [1]
    order.add(Entry(1))
    assert [(entry.name, entry.trial) for entry in order] == [(1, 0), (2, 1), (3, 1)]
    assert evicted(order, 2) == [2, 1], "new ones have a tenth, then the others give way too"


def test_what_was_evicted_lately_is_remembered_in_constant_memory() -> None:
    ghosts = Ghosts(slots=64)
    assert b"a" not in ghosts
    ghosts.add(b"a")
    assert b"a" in ghosts
    for number in range(10_000):
        ghosts.add(b"%d" % number)
    assert sum(b"%d" % number in ghosts for number in range(9_000)) < 100
