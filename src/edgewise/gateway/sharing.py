"""Limits and the state engine: other nodes are told what this machine admitted, and it learns what they did.

One worker of a machine does it for all: it finds in the shared rows what changed. Quotas are told to an embedded engine
too, which keeps them over restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from time import monotonic

from edgewise.contracts.limits import ADMITTED, TOLD, TOTAL, LimitMemory
from edgewise.contracts.state import Count, StateEngine, StateError, StateUnavailable
from edgewise.gateway.meters import SECONDS, Meter, Quota

INTERVAL = 0.05
"""Seconds between two exchanges of counts."""
WINDOW = 60.0
"""Seconds of the windows of counters of which only differences matter."""
_FULL = 20
"""Every so many exchanges everything is told."""
_SHARE = 0.01
"""Part of the limit below which a key's count can wait for the next full exchange."""
_MOST_DUE = 2000
"""Keys told to the engine at once."""
_RETRY = 1.0
_LEARNING = 0.5
"""Seconds that the first request of a quota's key waits at most to learn what was counted before."""
_LAST = 1.0
"""Seconds for what is told at the end."""
_TRIES = 16
"""Of nodes that write the same month's count at the same moment."""
_MONTH_TTL = 40 * 86400.0
_log = logging.getLogger("edgewise.limits")

Open = Callable[[], Awaitable[StateEngine]]
"""Returns the engine. Raises StateError."""
Due = tuple[Meter, int, int, int]
"""(meter, where the row is, its mark, requests) that were admitted and not told yet."""


class Sharing:
    """A `contracts.policies.Service`: what limits have to do with the engine. Without it they go on alone."""

    def __init__(self, memory: LimitMemory, opening: Open | None, *, nodes: bool, speaks: bool) -> None:
        """`nodes`: other nodes use the engine too; `speaks`: this worker tells for all of the machine."""
        self.memory = memory
        self._opening = opening
        self._nodes = nodes
        self._speaks = speaks
        self._meters: dict[int, Meter] = {}
        """By their number: those whose counts are told."""
        self._wanted = asyncio.Event()
        self._lost_until = 0.0

    # ---- limits ------------------------------------------------------------------------------------------------------

    @staticmethod
    def number(name: str, meter: Meter) -> int:
        """Return the number of a limit's meter in rows, the same in every worker."""
        text = f"{name} {meter.kind} {meter.limit} {meter.window}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")

    def share(self, name: str, meter: Meter) -> bool:
        """Tell the counts of this meter from now on, if anybody is to know them."""
        told = self._nodes or self.remembers(meter)
        if told:
            self._meters[self.number(name, meter)] = meter
            self._wanted.set()
        return told

    def remembers(self, meter: Meter) -> bool:
        """Does the engine keep the counts of this meter for new rows?"""
        return self._opening is not None and isinstance(meter, Quota)

    async def engine(self) -> StateEngine:
        """Return the engine. Raises StateError."""
        if self._opening is None:
            raise StateUnavailable("there is no [state] table")
        return await self._opening()

    async def learn(self, meter: Meter, offset: int, mark: int) -> None:
        """Count in a new row what the engine has of its window; without it, that is charged when it is back.

        Nobody waits long for it, nor again and again.
        """
        if monotonic() < self._lost_until:
            return
        try:
            before = await asyncio.wait_for(self._before(meter, mark), _LEARNING)
        except (StateError, TimeoutError) as error:
            self._lost_until = monotonic() + _RETRY
            _log.warning("a quota begins alone: %s", error or "the state engine does not answer")
        else:
            self._take(meter, offset, mark, 0, before)

    async def _before(self, meter: Meter, mark: int) -> int:
        engine = await self.engine()
        if isinstance(meter, Quota) and meter.unit == "month":
            entry = await engine.get(_monthly(meter, mark))
            return 0 if entry is None else int(entry.value)
        return await engine.count(_counter(mark), _window(meter))

    async def add(self, meter: Meter, mark: int, amount: int) -> Count:
        """Add to the count that all share. Raises StateError."""
        engine = await self.engine()
        if isinstance(meter, Quota) and meter.unit == "month":
            return Count(await _add_to_month(engine, _monthly(meter, mark), amount), meter.lasts())
        return await engine.add(f"{_counter(mark)}:strict", amount, float(min(meter.window, 86400)))

    # ---- telling -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Exchange counts until cancelled; then tell what was not told yet."""
        await self._wanted.wait()
        if not self._speaks or self._opening is None:
            return
        try:
            await self._tell_on()
        except asyncio.CancelledError:
            with contextlib.suppress(StateError, TimeoutError):
                await asyncio.wait_for(self.exchange(await self.engine(), everything=True), _LAST)
            raise

    async def _tell_on(self) -> None:
        rounds = 0
        alone = True
        while True:
            rounds += 1
            try:
                await self.exchange(await self.engine(), everything=alone or rounds % _FULL == 0)
            except StateError as error:
                if not alone or rounds == 1:
                    _log.warning("limits are this machine's alone at the moment: %s", error)
                alone = True
            else:
                if alone:
                    _log.info("limits are counted together with what else uses the state engine")
                alone = False
            await asyncio.sleep(_RETRY if alone else INTERVAL)

    async def exchange(self, engine: StateEngine, *, everything: bool) -> None:
        """Tell what was admitted, learn what others admitted. Raises StateError where not all could be told."""
        told = self._due(everything=everything)
        if not told:
            return
        adding = [self._tell(engine, meter, mark, amount) for meter, _, mark, amount in told]
        results = await asyncio.gather(*adding, return_exceptions=True)
        failed: BaseException | None = None
        for (meter, offset, mark, amount), result in zip(told, results, strict=True):
            if isinstance(result, BaseException):
                failed = result
                self.memory.changed[offset // self.memory.row.size] = 1
            else:
                self._take(meter, offset, mark, amount, result)
        if failed is not None:
            raise failed

    def _due(self, *, everything: bool) -> list[Due]:
        """Return what was admitted and not told yet; without `everything` only counts that matter soon.

        Of keys whose requests were refused nothing is told, but what others admit is learned.
        """
        memory, changed = self.memory, self.memory.changed
        due: list[Due] = []
        waiting: list[int] = []
        place = changed.find(b"\x01")
        while place >= 0 and len(due) < _MOST_DUE:
            changed[place] = 0
            row = memory.row.unpack_from(memory.rows, place * memory.row.size)
            meter = self._meters.get(row[1])
            amount = int(sum(row[ADMITTED:]) - row[TOLD])
            if meter is not None and amount >= 0:
                if everything or not amount or amount >= meter.limit * _SHARE:
                    due.append((meter, place * memory.row.size, row[0], amount))
                else:
                    waiting.append(place)
            place = changed.find(b"\x01", place + 1)
        for place in waiting:
            changed[place] = 1
        return due

    def _take(self, meter: Meter, offset: int, mark: int, amount: int, total: int) -> None:
        """`amount` was added to the count of all, which is `total` now: charge what others admitted since."""
        cells, cell = self.memory.cells, offset // 8
        if self.memory.marks[cell] != mark:
            return
        told, before = cells[cell + TOLD], cells[cell + TOTAL]
        if before < 0.0:  # of a bucket, what others did before this machine knew the key is over
            others = total - amount if self.remembers(meter) else 0
        elif total < before:
            others = total - amount  # a new window began
        else:
            others = total - int(before) - amount
        if others > 0:
            meter.charge(self.memory, offset, others, monotonic())
        cells[cell + TOLD] = told + amount
        cells[cell + TOTAL] = float(total)

    async def _tell(self, engine: StateEngine, meter: Meter, mark: int, amount: int) -> int:
        if isinstance(meter, Quota) and meter.unit == "month":
            return await _add_to_month(engine, _monthly(meter, mark), amount)
        return (await engine.add(_counter(mark), amount, _window(meter))).value


def _window(meter: Meter) -> float:
    return float(SECONDS[meter.unit]) if isinstance(meter, Quota) else WINDOW


def _counter(mark: int) -> str:
    return f"limit:{mark:016x}"


def _monthly(meter: Quota, mark: int) -> str:
    """Counters have windows of a day at most: a month's count is a key of its own, gone some days after its end."""
    return f"{_counter(mark)}:{meter.month()}"


async def _add_to_month(engine: StateEngine, key: str, amount: int) -> int:
    """Add to a count that is a key; return what it is now. Raises StateUnavailable where others always came first."""
    for _ in range(_TRIES):
        entry = await engine.get(key)
        total = amount + (0 if entry is None else int(entry.value))
        if await engine.compare_and_set(key, b"%d" % total, 0 if entry is None else entry.revision, _MONTH_TTL):
            return total
    raise StateUnavailable("the count of a month is written by too many nodes at once")
