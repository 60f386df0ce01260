"""Admission on the second request: what is asked for once only never takes the place of what is asked for again."""

from __future__ import annotations

from array import array

SLOTS = 65_536
"""Of 8 bytes; a key is forgotten when another one comes to its slot."""


class Doorkeeper:
    """Remembers which keys were asked for lately, in constant memory. May forget, and mistakes one key in 2**48."""

    __slots__ = ("_seen", "_slots")

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        self._seen = array("q", bytes(8 * slots))

    def seen(self, key: bytes) -> bool:
        """Note that a key was asked for; was it before?"""
        mark = hash(key) or 1
        slot = mark % self._slots
        if self._seen[slot] == mark:
            return True
        self._seen[slot] = mark
        return False
