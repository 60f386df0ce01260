"""Bounded memory of what follows from bytes: of a pure function, and of what comes again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Memo(dict[bytes, Value]):
    """`memo[key]` is `compute(key)`, remembered for keys of at most `longest` bytes.

    Two generations of at most `entries` each: when the young one is full it becomes the old one, so what is in use
    stays and a flood of unique keys costs one insertion each. An exception of `compute` passes through and is not kept,
    nor is a value that `keep` refuses.
    """

    __slots__ = ("_compute", "_entries", "_keep", "_longest", "_old")

    def __init__(
        self,
        compute: Callable[[bytes], Value],
        *,
        entries: int,
        longest: int,
        keep: Callable[[Value], bool] | None = None,
    ) -> None:
        super().__init__()
        self._compute = compute
        self._entries = entries
        self._longest = longest
        self._keep = keep
        self._old: dict[bytes, Value] = {}

    def __missing__(self, key: bytes) -> Value:
        value = self._old.get(key)
        if value is None:
            value = self._compute(key)
            if len(key) > self._longest or (self._keep is not None and not self._keep(value)):
                return value
        if len(self) >= self._entries:
            self._old = dict(self)
            self.clear()
        self[key] = value
        return value

    def forget(self) -> None:
        """Drop both generations."""
        self.clear()
        self._old = {}

    def remembered(self) -> set[bytes]:
        """Return the keys of both generations."""
        return self.keys() | self._old.keys()


class RepeatMemo(Generic[Value]):
    """What was offered twice, in two generations: when the young one is full it becomes the old one, the old one goes.

    A flood of unique keys costs one set entry each and keeps nothing alive. Together the generations hold at most
    `entries` of `longest` bytes, key and value.
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

    def offer(self, key: bytes, value: Value, size: int = 0) -> None:
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
            self._age()
        self.young[key] = value

    def _age(self) -> None:
        self._old = self.young
        self.young = {}
