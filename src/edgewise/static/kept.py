"""Small files in memory for a moment: bounded by bytes, the oldest go first."""

from __future__ import annotations

from collections.abc import Hashable

from edgewise.contracts.files import Representation

_OVERHEAD = 1024
"""Bytes counted for an entry beside its content."""


class KeptFiles:
    """Representations that hold their content, each good for a second: a changed file is seen as late as that."""

    VALID = 1.0
    """Seconds."""

    def __init__(self, room: int) -> None:
        self._room = room
        """Bytes still free."""
        self._kept: dict[Hashable, tuple[float, Representation]] = {}

    def get(self, key: Hashable, now: float) -> Representation | None:
        """Return what is kept under `key` and still good at `now` (monotonic seconds)."""
        entry = self._kept.get(key)
        return entry[1] if entry is not None and now < entry[0] else None

    def put(self, key: Hashable, found: Representation, now: float) -> None:
        """Keep `found`, in place of the oldest where there is no room; what is larger than all of it is not kept."""
        before = self._kept.pop(key, None)
        if before is not None:
            self._room += _cost(before[1])
        cost = _cost(found)
        while self._kept and self._room < cost:
            self._room += _cost(self._kept.pop(next(iter(self._kept)))[1])
        if self._room >= cost:
            self._room -= cost
            self._kept[key] = (now + self.VALID, found)


def _cost(found: Representation) -> int:
    return found.size + _OVERHEAD
