"""Purges that the admin address is asked for: checked, handed to the supervisor, waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from edgewise.admin.control import PurgeOrder, PurgeResult
from edgewise.cache.key import Keys, KeySettings, purge_url
from edgewise.cache.purges import Kind
from edgewise.cache.tags import LONGEST_TAG
from edgewise.contracts.state import StateError
from edgewise.server import messages as m
from edgewise.server.answers import Answers

if TYPE_CHECKING:
    from edgewise.server.app_caches import AppCaches
    from edgewise.server.shared_purges import SharedPurges

log = logging.getLogger("edgewise.cache")
Result = TypeVar("Result")
_LONGEST = 8192
"""Characters of a URL, prefix or pattern."""
_PATIENCE = 30.0
"""Seconds within which every worker must have purged."""
_MOST_AT_ONCE = 1000
_LATEST = 60.0
"""Seconds after which a purge is repeated at the latest, where apps may use longer what they read."""
_SLACK = 0.1
"""Seconds for an answer that an app made of it at the last moment to be on its way."""
_MOST_REPEATS = 20_000
_OF_NODES = 15.0
"""The same of other nodes; above the time after which one that died is not listed any more."""


class PurgeOrders:
    """Purges under way."""

    def __init__(self, send: Callable[[m.ToSupervisor], None], apps: AppCaches) -> None:
        self._send = send
        self._apps = apps
        self._repeats: set[asyncio.Task[None]] = set()
        self._answers: Answers[m.PurgeAnswer] = Answers()
        self.shared: SharedPurges | None = None
        """The other nodes, where there can be some."""

    async def purge(self, orders: Sequence[PurgeOrder], *, soft: bool) -> PurgeResult:
        """Have apps and every worker of every node purge.

        Raises ValueError for what is nothing to purge by, TimeoutError where not every worker of this node answers, and
        StateError where apps or other nodes cannot be told for now.
        """
        specs = checked(orders, soft=soft)
        return await self._after_apps(specs, lambda: self._everywhere(specs))

    async def _everywhere(self, specs: list[m.PurgeSpec]) -> PurgeResult:
        request = self._answers.number()
        if self.shared is None:
            return PurgeResult(kept=(await self._ask(m.PurgeWanted(request, specs))).kept)
        published = self.shared.expect(request)
        try:
            kept = (await self._ask(m.PurgeWanted(request, specs))).kept
            return PurgeResult(0, *await self.shared.everywhere(published, _OF_NODES), kept=kept)
        finally:
            published.cancel()

    async def count(self, orders: Sequence[PurgeOrder]) -> int:
        """Count what this node has in memory that would be purged. Raises ValueError and TimeoutError."""
        wanted = m.PurgeWanted(self._answers.number(), checked(orders, soft=False), count=True)
        return (await self._ask(wanted)).counted

    async def here(self, purges: list[m.PurgeSpec]) -> None:
        """Have every worker of this node do what another node told. Raises TimeoutError."""
        await self._ask(m.PurgeWanted(self._answers.number(), purges, heard=True))

    async def written(self, tags: list[str], soft: bool) -> None:
        """Have apps and every worker of this node purge what a database told; every node hears it by itself.

        Raises TimeoutError and StateError.
        """
        for start in range(0, len(tags), _MOST_AT_ONCE):
            specs = [m.PurgeSpec(Kind.TAG, tag, soft) for tag in tags[start : start + _MOST_AT_ONCE]]
            await self._after_apps([] if soft else specs, partial(self.here, specs))

    async def _after_apps(self, specs: list[m.PurgeSpec], workers: Callable[[], Awaitable[Result]]) -> Result:
        """Have apps purge, and then the workers, who might be given again what an app still used.

        Apps have nothing that could be made stale: a soft purge has them forget, or what is validated would be as old.
        Raises StateError, after the workers have purged all the same.
        """
        try:
            tags = [spec.value for spec in specs if spec.kind == Kind.TAG]
            late = await self._apps.purge(tags, everything=any(spec.kind == Kind.ALL for spec in specs))
        except StateError:
            await workers()
            raise
        result = await workers()
        if late > 0:
            self._repeat(min(late, _LATEST), workers)
        return result

    def _repeat(self, seconds: float, workers: Callable[[], Awaitable[object]]) -> None:
        """Have the workers purge once more when no app can be using what was purged, as they may have been given it."""

        async def later() -> None:
            await asyncio.sleep(seconds + _SLACK)
            try:
                await workers()
            except (TimeoutError, StateError) as error:
                log.warning("what apps may have used after a purge is not purged everywhere: %s", error or "no answer")

        if len(self._repeats) >= _MOST_REPEATS:
            log.warning("too many purges at a time to repeat them once apps cannot be using what was purged")
            return
        task = asyncio.get_running_loop().create_task(later())
        self._repeats.add(task)
        task.add_done_callback(self._repeats.discard)

    async def _ask(self, wanted: m.PurgeWanted) -> m.PurgeAnswer:
        return await self._answers.ask(wanted.request, lambda: self._send(wanted), _PATIENCE)

    def answered(self, answer: m.PurgeAnswer) -> None:
        """Take the supervisor's answer."""
        self._answers.take(answer.request, answer)


def checked(orders: Sequence[PurgeOrder], *, soft: bool) -> list[m.PurgeSpec]:
    """Return checked orders as messages say them. Raises ValueError."""
    for order in orders:
        _check(order)
    return [m.PurgeSpec(order.kind, order.value, soft) for order in orders]


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
