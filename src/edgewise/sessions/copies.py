"""The copies of sessions that a process keeps beside an engine which can tell whether a read still holds."""

from __future__ import annotations

from typing import NamedTuple

from edgewise.contracts.state import Snapshot
from edgewise.sessions.records import Origin

_OVERHEAD = 2500
"""Bytes that a copy is taken to cost beside the data, which is there encoded and once more as parts of it."""


class Copy(NamedTuple):
    """A session as it was read."""

    snapshot: Snapshot
    revocation: Snapshot | None
    """Of what is revoked of the user's sessions; None for a session that is nobody's."""
    origin: Origin
    ends: float
    """Unix time at which it does, however much it is used."""
    size: int
    """Bytes that it is taken to cost."""


def copy_size(encoded: int) -> int:
    """Return the bytes that the copy of a session is taken to cost which has `encoded` bytes in the engine."""
    return _OVERHEAD + 2 * encoded


class Copies:
    """The copies used last, by their ids, within a bound of bytes; from any thread.

    Two generations of a dictionary: when the young one is full it becomes the old one, and the old one is dropped, so
    that neither a look nor an eviction has an order to keep.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes // 2
        self.young: dict[str, Copy] = {}
        """Looked at directly by who reads."""
        self._old: dict[str, Copy] = {}
        self._bytes = 0
        """Of the young generation."""

    def get(self, token: str) -> Copy | None:
        """Return a copy, which may no longer hold."""
        copy = self.young.get(token)
        if copy is None:
            copy = self._old.pop(token, None)
            if copy is not None:
                self.keep(token, copy)
        return copy

    def keep(self, token: str, copy: Copy) -> None:
        """Keep a copy in the place of an earlier one, unless it alone is more than there is room for."""
        self.drop(token)
        if copy.size > self._most:
            return
        if self._bytes + copy.size > self._most:
            self._old, self.young, self._bytes = self.young, {}, 0
        self.young[token] = copy
        self._bytes += copy.size

    def drop(self, token: str) -> None:
        """Forget a copy."""
        self._old.pop(token, None)
        copy = self.young.pop(token, None)
        if copy is not None:
            self._bytes -= copy.size

    @property
    def size(self) -> int:
        """Bytes that all copies are taken to cost, at most what was given."""
        return sum(copy.size for copy in self.all())

    def all(self) -> list[Copy]:
        """Return every copy."""
        return [*self.young.values(), *self._old.values()]

    def __len__(self) -> int:
        return len(self.young) + len(self._old)
