"""Request, trace and span ids, random and cheap."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

_POOL = 256
"""Ids made at once."""


class IdSource:
    """Random ids from a pool that is refilled in bulk. A forked process starts with an empty pool of its own.

    `entropy(count)` returns that many random bytes.
    """

    __slots__ = ("__weakref__", "_entropy", "_ids", "_spans")

    def __init__(self, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._entropy = entropy
        self._ids: list[str] = []
        self._spans: list[str] = []
        _sources.add(self)

    def next_id(self) -> str:
        """Return 32 hexadecimal digits, never all zero: a request id or trace id."""
        try:
            return self._ids.pop()
        except IndexError:
            self._ids = self._make(32)
            return self._ids.pop()

    def span_id(self) -> str:
        """Return 16 hexadecimal digits, never all zero."""
        try:
            return self._spans.pop()
        except IndexError:
            self._spans = self._make(16)
            return self._spans.pop()

    def forget(self) -> None:
        """Empty the pool: what is in it may be used by another process."""
        self._ids = []
        self._spans = []

    def _make(self, digits: int) -> list[str]:
        zero = "0" * digits
        ids = self._entropy(_POOL * digits // 2).hex(" ", digits // 2).split(" ")
        if zero not in ids:
            return ids
        return [each for each in ids if each != zero] or self._make(digits)


_sources: weakref.WeakSet[IdSource] = weakref.WeakSet()


def _forget_all() -> None:
    for source in list(_sources):
        source.forget()


os.register_at_fork(after_in_child=_forget_all)
