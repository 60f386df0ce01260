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

    __slots__ = ("_hand", "border", "newest", "oldest")

    def __init__(self) -> None:
        self.newest: N | None = None
        self.oldest: N | None = None
        self.border: N | None = None
        """The oldest object that the hand does not come to, nor to newer ones; None: it comes to all."""
        self._hand: N | None = None

    def add(self, node: N, newer: N | None = None) -> None:
        """Take a new object; `newer`: as older than that one."""
        older: N | None = self.newest if newer is None else newer.older
        node.older, node.newer = older, newer
        if older is None:
            self.oldest = node
        else:
            older.newer = node
        if newer is None:
            self.newest = node
        else:
            newer.older = node

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
        node: N | None = self._hand
        if node is None or node is self.border:
            node = self.oldest
        if node is None:
            raise LookupError("nothing to evict")
        while node.visited:
            node.visited = False
            node = node.newer
            if node is None or node is self.border:
                node = self.oldest
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
