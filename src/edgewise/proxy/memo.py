"""Bounded memory of plans by the bytes of their heads."""

from __future__ import annotations

from typing import Any

from edgewise.protocols.memo import RepeatMemo

_OVERHEAD = 3000
"""Bytes a kept plan is taken to cost beside the copies of its key."""
_COPIES = 4
"""Times the bytes of a head are in memory: the key, the lines and values of its parse, the head to send on."""


class Memo(RepeatMemo[Any]):
    """What follows from heads that come again, bounded in bytes too."""

    __slots__ = ("_bytes", "_max_bytes", "misses")

    def __init__(self, max_entries: int, max_bytes: int, max_key: int = 4096) -> None:
        longest = min(max_key, (max_bytes // 2 - _OVERHEAD) // _COPIES) if max_entries > 1 else -1
        super().__init__(entries=max_entries, longest=longest)
        self._max_bytes = max_bytes // 2
        self._bytes = 0
        """What the young generation is taken to cost."""
        self.misses = 0

    def offer(self, key: bytes, value: Any, size: int = 0) -> None:
        """Note a miss; keep the value if the key was offered before and is not large."""
        self.misses += 1
        super().offer(key, value, size)

    def clear(self) -> None:
        """Forget everything, sightings too (the configuration changed)."""
        super().clear()
        self._seen.clear()
        self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes the kept entries are taken to cost, at most."""
        return self._bytes + sum(map(cost, self._old))

    def _keep(self, key: bytes, value: Any) -> None:
        size = cost(key)
        if self._bytes + size > self._max_bytes:
            self._age()
        super()._keep(key, value)
        self._bytes += size

    def _age(self) -> None:
        super()._age()
        self._bytes = 0


def cost(key: bytes) -> int:
    """Return the bytes that a plan is taken to cost, at most, when kept under `key`."""
    return _COPIES * len(key) + _OVERHEAD
