"""Bounded memory of pure functions of bytes."""

from __future__ import annotations

from typing import Any

_OVERHEAD = 3000
"""Bytes a kept plan is taken to cost beside the copies of its key."""
_COPIES = 4
"""Times the bytes of a head are in memory: the key, the lines and values of its parse, the head to send on."""


class Memo:
    """Two generations of a dictionary: when the young one is full it becomes the old one, and the old one is dropped.

    Only keys seen twice are kept, so a flood of unique heads costs one set entry a head and keeps nothing alive.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_entries", "_max_key", "_old", "_seen", "misses", "young")

    def __init__(self, max_entries: int, max_bytes: int, max_key: int = 4096) -> None:
        self.young: dict[bytes, Any] = {}
        """Looked at directly on the hot path."""
        self._old: dict[bytes, Any] = {}
        self._seen: set[int] = set()
        self._max_entries = max_entries // 2
        self._max_bytes = max_bytes // 2
        self._max_key = min(max_key, (self._max_bytes - _OVERHEAD) // _COPIES)
        self._bytes = 0
        self.misses = 0

    def get(self, key: bytes) -> Any:
        """Return what was kept under `key`, or None."""
        value = self.young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self._keep(key, value)
        return value

    def offer(self, key: bytes, value: Any) -> None:
        """Note a miss; keep the value if the key was offered before and is not large."""
        self.misses += 1
        if len(key) > self._max_key or not self._max_entries:
            return
        mark = hash(key)
        if mark in self._seen:
            self._seen.discard(mark)
            self._keep(key, value)
            return
        if len(self._seen) >= 8 * self._max_entries:
            self._seen.clear()
        self._seen.add(mark)

    def clear(self) -> None:
        """Forget everything (the configuration changed)."""
        self.young.clear()
        self._old.clear()
        self._seen.clear()
        self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes the kept entries are taken to cost, at most."""
        return self._bytes + sum(map(cost, self._old))

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def _keep(self, key: bytes, value: Any) -> None:
        size = cost(key)
        self._bytes += size
        if len(self.young) >= self._max_entries or self._bytes > self._max_bytes:
            self._old = self.young
            self.young = {}
            self._bytes = size
        self.young[key] = value


def cost(key: bytes) -> int:
    """Return the bytes that a plan is taken to cost, at most, when kept under `key`."""
    return _COPIES * len(key) + _OVERHEAD
