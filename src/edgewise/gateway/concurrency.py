"""How many requests of a key are under way at once on a machine: exact, as each worker counts in cells of its own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edgewise.contracts.limits import LimitMemory
from edgewise.contracts.policies import Denial, Fields
from edgewise.gateway.limit_keys import Key, key_reader, mark_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewise.contracts.exchange import Exchange

_MOST_KNOWN = 32768
_AGAIN: Fields = ((b"Retry-After", b"1"),)
_DETAIL = "As many requests as may be are under way at the moment."
Known = tuple[int, int, "tuple[Callable[[], None], ...]"]
"""(cell, mark, what is called at the end of a request)."""


class Concurrency:
    """A limit of one route; limits of equal name have the same counts."""

    __slots__ = ("_key", "_known", "_limit", "_memory", "_name", "_own", "_status")

    def __init__(
        self, name: str, limit: int, by: tuple[str, ...], memory: LimitMemory, *, status: int, prefix: int
    ) -> None:
        """`by` and `prefix` as of `limit_keys.key_reader`; `status` of refusals."""
        self._name = name
        self._limit = limit
        self._key = key_reader(by, prefix)
        self._memory = memory
        self._own = memory.under_way.row(memory.worker)
        self._status = status
        self._known: dict[Key, Known] = {}

    def check(self, exchange: Exchange) -> Denial | None:
        """Count the request until its end, or refuse it.

        It is counted before the others' counts are read: two workers may refuse both of two last ones, and never let
        both in. Where the memory has no room for another key, its requests are let in uncounted.
        """
        key = self._key(exchange)
        known = self._known.get(key)
        if known is None or self._memory.holders[known[0]] != known[1]:
            known = self._look(key)
        cell, _, end = known
        if cell < 0:
            return None
        self._own[cell] += 1
        if self._memory.under_way.sum(cell) > self._limit:
            self._own[cell] -= 1
            return Denial(self._status, "concurrency", _DETAIL, _AGAIN, f"over the limit {self._name}")
        exchange.held = exchange.held + end if exchange.held else end
        return None

    def _look(self, key: Key) -> Known:
        mark = mark_of(self._name, "concurrency", key)
        cell = self._memory.find_held(mark)
        known = (cell, mark, (partial(self._release, cell),))
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        if cell >= 0:
            self._known[key] = known
        return known

    def _release(self, cell: int) -> None:
        self._own[cell] -= 1
