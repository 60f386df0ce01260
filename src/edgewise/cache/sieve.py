"""SIEVE: which object to evict (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar


class Node(Protocol):
    """What is in the order; `newer` and `older` belong to it, `visited` is set by whoever finds an object."""

    newer: Any
    older: Any
    visited: bool


N = TypeVar("N", bound=Node)


class Sieve(Generic[N]):
    """Objects in the order they came; a hand goes from old to new and evicts what was not visited since it passed.

    A hit costs one assignment, an eviction moves the hand by one object on the average; nothing is ever moved.
    """

    __slots__ = ("_hand", "newest", "oldest")

    def __init__(self) -> None:
        self.newest: N | None = None
        self.oldest: N | None = None
        self._hand: N | None = None

    def add(self, node: N) -> None:
        """Take a new object."""
        node.older, node.newer = self.newest, None
        if self.newest is None:
            self.oldest = node
        else:
            self.newest.newer = node
        self.newest = node

    def remove(self, node: N) -> None:
        """Leave an object out."""
        if self._hand is node:
            self._hand = node.newer
        if node.newer is None:
            self.newest = node.older
        else:
            node.newer.older = node.older
        if node.older is None:
            self.oldest = node.newer
        else:
            node.older.newer = node.newer
        node.newer = node.older = None

    def victim(self) -> N:
        """Return the object to evict next; raises LookupError where there is none."""
        node: N | None = self._hand or self.oldest
        if node is None:
            raise LookupError("nothing to evict")
        while node.visited:
            node.visited = False
            node = node.newer or self.oldest
            assert node is not None
        self._hand = node
        return node

    def __iter__(self) -> Iterator[N]:
        """From old to new."""
        node = self.oldest
        while node is not None:
            following: N | None = node.newer
            yield node
            node = following
