"""Bounded memory of header blocks and heads, for what comes again."""

from __future__ import annotations

from typing import Generic, TypeVar

Value = TypeVar("Value")


class BlockMemo(Generic[Value]):
    """Two generations of a dictionary: when the young one is full it becomes the old one, and the old one is dropped.

    Only what was offered twice is kept, so a flood of unique blocks costs one set entry each and keeps nothing alive.
    Together the generations hold at most `entries` of `longest` bytes, key and value.
    """

    __slots__ = ("_entries", "_longest", "_old", "_seen", "young")

    def __init__(self, *, entries: int, longest: int) -> None:
        self.young: dict[bytes, Value] = {}
        """Looked at directly on the hot path."""
        self._old: dict[bytes, Value] = {}
        self._seen: set[int] = set()
        self._entries = entries // 2
        self._longest = longest

    def get(self, key: bytes) -> Value | None:
        """Return what is kept under `key`, or None."""
        value = self.young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self._keep(key, value)
        return value

    def offer(self, key: bytes, value: Value, size: int) -> None:
        """Keep the value, of about `size` bytes, if the key was offered before and both are short."""
        if len(key) + size > self._longest:
            return
        mark = hash(key)
        if mark in self._seen:
            self._seen.discard(mark)
            self._keep(key, value)
            return
        if len(self._seen) >= 8 * self._entries:
            self._seen.clear()
        self._seen.add(mark)

    def clear(self) -> None:
        """Forget every value: what they follow from has changed."""
        if self.young or self._old:
            self.young = {}
            self._old = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def _keep(self, key: bytes, value: Value) -> None:
        if len(self.young) >= self._entries:
            self._old = self.young
            self.young = {}
        self.young[key] = value
