"""A bounded memo of a pure function of bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

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
