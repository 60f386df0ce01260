"""Request, trace and span ids, random and cheap."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from itertools import chain

_POOL = 256
"""Ids made at once."""


class IdSource:
    """Random ids from a pool that is refilled in bulk. A forked process starts with an empty pool of its own.

    `entropy(count)` returns that many random bytes.
    """

    __slots__ = ("__weakref__", "_entropy", "_pools", "next_id", "span_id")

    def __init__(self, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._entropy = entropy
        self._pools: tuple[list[str], list[str]] = [], []
        self.next_id: Callable[[], str] = self._endless(self._pools[0], 32)
        """Returns 32 hexadecimal digits, never all zero: a request id or trace id."""
        self.span_id: Callable[[], str] = self._endless(self._pools[1], 16)
        """Returns 16 hexadecimal digits, never all zero."""
        _sources.add(self)

    def forget(self) -> None:
        """Empty the pools: what is in them may be used by another process."""
        for pool in self._pools:
            pool.clear()

    def _endless(self, pool: list[str], digits: int) -> Callable[[], str]:
        """Return what takes one id after the other; an iterator does it in a tenth of the time of a function."""

        def refilled() -> list[str]:
            pool[:] = self._make(digits)
            return pool

        return chain.from_iterable(iter(refilled, None)).__next__

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
