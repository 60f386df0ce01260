"""SIEVE: what is evicted, and in which order; admission on the second request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.cache.admission import Doorkeeper
from edgewise.cache.sieve import Sieve


class Entry:
    """The least that can be in the order."""

    __slots__ = ("name", "newer", "older", "visited")

    def __init__(self, name: int) -> None:
        self.name = name
        self.visited = False
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


@given(st.lists(st.tuples(st.sampled_from(["add", "visit", "evict", "remove"]), st.integers(0, 9)), max_size=80))
def test_the_order_holds_what_was_added_and_not_removed_from_old_to_new(steps: list[tuple[str, int]]) -> None:
    order: Sieve[Entry] = Sieve()
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
        assert [entry.name for entry in order] == list(there)


def test_a_doorkeeper_knows_what_was_asked_for_lately_in_constant_memory() -> None:
    keeper = Doorkeeper(slots=64)
    assert not keeper.seen(b"a")
    assert keeper.seen(b"a")
    for number in range(10_000):
        keeper.seen(b"%d" % number)
    assert sum(keeper.seen(b"%d" % number) for number in range(9_000)) < 100
