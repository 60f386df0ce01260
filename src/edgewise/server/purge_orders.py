"""Purges that the admin address is asked for: checked, handed to the supervisor, waited for."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from edgewise.admin.control import PurgeOrder
from edgewise.cache.key import Keys, KeySettings, purge_url
from edgewise.cache.purges import Kind
from edgewise.cache.tags import LONGEST_TAG
from edgewise.server import messages as m

_LONGEST = 8192
"""Characters of a URL, prefix or pattern."""
_PATIENCE = 30.0
"""Seconds within which every worker must have purged."""


class PurgeOrders:
    """Purges under way."""

    def __init__(self, send: Callable[[m.ToSupervisor], None]) -> None:
        self._send = send
        self._requests = itertools.count(1)
        self._answers: dict[int, asyncio.Future[int]] = {}

    async def purge(self, orders: Sequence[PurgeOrder], *, soft: bool, dry_run: bool) -> int:
        """Have every worker purge. Raises ValueError for what is nothing to purge by, and TimeoutError."""
        for order in orders:
            _check(order)
        request = next(self._requests)
        future = self._answers[request] = asyncio.get_running_loop().create_future()
        specs = [m.PurgeSpec(order.kind, order.value, soft) for order in orders]
        self._send(m.PurgeWanted(request, specs, dry_run))
        try:
            async with asyncio.timeout(_PATIENCE):
                counted: int = await future
                return counted
        finally:
            del self._answers[request]

    def answered(self, request: int, counted: int) -> None:
        """Take the supervisor's answer."""
        future = self._answers.get(request)
        if future is not None and not future.done():
            future.set_result(counted)


def _check(order: PurgeOrder) -> None:
    kind, value = Kind(order.kind), order.value
    if (kind is Kind.ALL) == bool(value.strip()):
        raise ValueError(f"a purge by {kind} needs {'no' if kind is Kind.ALL else 'a'} value")
    longest = LONGEST_TAG if kind in (Kind.TAG, Kind.HOST) else _LONGEST
    if len(value) > longest or not value.isprintable() or not _is_latin1(value):
        raise ValueError(f"a {kind} has at most {longest} printable characters of Latin-1")
    if kind is Kind.URL:
        purge_url(value, Keys(KeySettings()))


def _is_latin1(text: str) -> bool:
    return all(ord(character) < 256 for character in text)
