"""Admission on the second request: what is asked for once only takes no room of what is asked for again.

As in S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), with SIEVE behind it.
"""

from __future__ import annotations

from array import array
from typing import Protocol, TypeVar

from edgewise.cache.sieve import Node, Sieve

SLOTS = 65_536
"""Of 8 bytes; a key is forgotten when another one comes to its slot."""
SHARE = 10
"""The part of the room that new objects have together: a tenth."""


class Newcomer(Node, Protocol):
    """What is in the order; `trial` belongs to it."""

    trial: int
    """Bytes it counts for while it is new, else 0."""

    @property
    def key(self) -> bytes:
        """What it is asked for by."""

    @property
    def size(self) -> int:
        """Bytes it costs."""


N = TypeVar("N", bound=Newcomer)


class Ghosts:
    """Keys of objects that were evicted lately, in constant memory. May forget, and mistakes one key in 2**48."""

    __slots__ = ("_marks", "_slots")

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        self._marks = array("q", bytes(8 * slots))

    def add(self, key: bytes) -> None:
        """Remember a key."""
        mark = hash(key) or 1
        self._marks[mark % self._slots] = mark

    def __contains__(self, key: bytes) -> bool:
        mark = hash(key) or 1
        return self._marks[mark % self._slots] == mark


class Probation(Sieve[N]):
    """SIEVE for objects that were asked for twice: new ones have a tenth of the room, and go first.

    The newest objects, from `border` on, are new. One that was not visited when its turn to leave them comes is
    evicted; if it is asked for again soon after, it is new no more.
    """

    __slots__ = ("_bytes", "_ghosts", "_room")

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes`: of all objects."""
        super().__init__()
        self.resize(max_bytes)
        self._bytes = 0
        """What the new objects cost."""
        self._ghosts = Ghosts()

    def resize(self, max_bytes: int) -> None:
        """Have another bound of all objects."""
        self._room = max_bytes // SHARE

    def add(self, node: N, newer: N | None = None) -> None:
        """Take an object: as a new one, or as the newest of the others where it was evicted lately."""
        if node.key in self._ghosts:
            super().add(node, self.border)
            return
        super().add(node)
        node.trial = node.size
        self._bytes += node.trial
        if self.border is None:
            self.border = node

    def remove(self, node: N) -> None:
        """Leave an object out."""
        if node.trial:
            self._passed(node)
        super().remove(node)

    def victim(self) -> N:
        """Return the object to evict next; raises LookupError where there is none."""
        while self.border is not None and (self._bytes > self._room or self.border is self.oldest):
            node: N = self.border
            if not node.visited:
                self._ghosts.add(node.key)
                return node
            node.visited = False
            self._passed(node)
        return super().victim()

    def _passed(self, node: N) -> None:
        """An object is new no more."""
        if node is self.border:
            self.border = node.newer
        self._bytes -= node.trial
        node.trial = 0
