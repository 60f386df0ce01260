"""Values that are computed when they are not there: once at a time, ahead of their end, stale meanwhile."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from edgewise.contracts.state import Lease
from edgewise.contrib.cache.flights import Flight, Flights, Waiting
from edgewise.contrib.cache.memory import UNREAD, Copy, revision_of
from edgewise.contrib.cache.store import MOST_TAGS, Begun, Record, Store, tag_digests
from edgewise.contrib.cache.values import Codec
from edgewise.contrib.tags import Collected, collected, collecting

log = logging.getLogger("edgewise.cache")
MISSING = object()
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_FIRST_LOOK = 0.01
_LONGEST_LOOK = 0.25
"""Seconds between two looks for what another process computes."""
_TRY_AGAIN = 1.0
"""Seconds after which a copy that was not renewed is tried again."""
_FAR = 21.0
"""Costs before an entry's end: earlier than that it is renewed once in 10**9 reads, so that no die is thrown."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A value, and how to come by it. Key and tags are digests; times are in seconds."""

    key: str
    compute: Callable[[], Awaitable[Any]]
    codec: Codec
    ttl: float
    tags: tuple[str, ...] = ()
    stale: float = 0.0
    lease: float = 10.0
    names: tuple[str, ...] = ()
    """Of the tags, for who collects them."""


def value_of(copy: Copy, codec: Codec) -> Any:
    """Return a copy's value, a new one each time unless it cannot be changed; MISSING where it cannot be read."""
    value = copy.value
    if value is UNREAD:
        try:
            value = codec.decode(copy.key, copy.data)
        except ValueError:
            return MISSING
        if type(value) in _SCALARS:
            copy.value = value
    if copy.names and (used := collected()) is not None:
        used.add(copy.names)
        used.age(copy.read_at())
    return value


def renewal_due(copy: Copy, left: float, now: float, draw: Callable[[], float] = random.random) -> bool:
    """Is it this reader's turn to compute the value anew, `left` seconds before the copy's end?

    Stale, or early by chance: XFetch (Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede
    Prevention", VLDB 2015) with beta 1. The longer the computation takes, the earlier somebody begins it.
    """
    fresh = left - copy.stale
    if fresh > _FAR * copy.cost or now < copy.renew_at:
        return False
    return fresh <= -copy.cost * math.log(1.0 - draw())


class Filling:
    """Computes what is not in a store: by one thread or task of all processes at a time.

    Who computes holds a lease for `Wanted.lease` seconds; one that died is followed after that. Others of its process
    wait for it, other processes look for its value. After `lease` seconds of waiting they compute by themselves.
    """

    def __init__(
        self, store: Store, flights: Flights, waiting: Waiting, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._flights = flights
        self._waiting = waiting
        self._clock = clock

    async def get(self, wanted: Wanted) -> Any:
        """Return the value; raises what the computation raises."""
        deadline = self._clock() + wanted.lease
        while True:
            flight, leads = self._flights.join(wanted.key)
            if leads:
                return await self._waiting.finish(self._lead(wanted, flight, deadline))
            if flight.leader == self._waiting.me():  # it needs its own value
                return await wanted.compute()
            await self._waiting.wait(flight, max(0.0, deadline - self._clock()))
            if not flight.shared:
                return await self._alone(wanted)
            value = await self._found(wanted)
            if value is not MISSING:
                return value
            if self._clock() >= deadline:
                return await self._alone(wanted)

    async def _lead(self, wanted: Wanted, flight: Flight, deadline: float) -> Any:
        """Return the value on behalf of this process."""
        flight.leader = self._waiting.me()
        shared = False
        try:
            value, shared = await self._of_all_processes(wanted, deadline)
            return value
        finally:
            self._flights.finish(wanted.key, flight, shared)

    async def _of_all_processes(self, wanted: Wanted, deadline: float) -> tuple[Any, bool]:
        """Return the value, and whether others find it in the store."""
        pause = _FIRST_LOOK
        while True:
            value = await self._found(wanted)
            if value is not MISSING:
                return value, True
            if self._store.away() or self._clock() >= deadline:
                return await self._compute(wanted)
            lease = await self._store.lease(wanted.key, wanted.lease)
            if lease is not None:
                return await self._under(lease, wanted)
            if not self._store.away():
                await self._waiting.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(_LONGEST_LOOK, 1.5 * pause)

    async def _under(self, lease: Lease, wanted: Wanted) -> tuple[Any, bool]:
        """Look once more, as the former holder may just have stored the value, then compute."""
        try:
            value = await self._found(wanted)
            return (value, True) if value is not MISSING else await self._compute(wanted)
        finally:
            await self._store.release(lease)

    async def _found(self, wanted: Wanted) -> Any:
        copy = await self._store.find(wanted.key)
        return MISSING if copy is None else value_of(copy, wanted.codec)

    async def _alone(self, wanted: Wanted) -> Any:
        """Compute beside others: what they wait for cannot be shared, or does not come."""
        return (await self._compute(wanted))[0]

    async def _compute(self, wanted: Wanted) -> tuple[Any, bool]:
        """Return a value made now, and whether it, or what others wrote meanwhile, can be looked for in the store."""
        begun = await self._store.begin(wanted.key, wanted.tags)
        began = self._clock()
        with collecting(MOST_TAGS - len(wanted.tags)) as used:
            value = await wanted.compute()
        cost = self._clock() - began
        shareable = used.shareable
        used.add(wanted.names)
        if (outer := collected()) is not None:
            outer.take(used)
        if begun is None or not shareable:
            return value, False
        try:
            data = wanted.codec.encode(wanted.key, value)
            tags = list(dict.fromkeys([*wanted.tags, *tag_digests(used.tags)]))
            record = Record(wanted.stale, cost, self._since(begun, used), tags, data, names=sorted(used.tags))
            await self._store.put(wanted.key, begun, record, wanted.ttl + wanted.stale)
        except ValueError as error:
            log.warning("a value is not kept: %s", error)
            return value, False
        return value, not self._store.away()

    def _since(self, begun: Begun, used: Collected) -> int:
        """Return a revision that was there before anything was read: in an older transaction, before that began."""
        return begun.since if used.read_at >= begun.at else min(begun.since, self._store.seen(used.read_at))

    async def renew(self, wanted: Wanted, copy: Copy) -> None:
        """Compute anew what is there, unless that is under way; failures are logged, as nobody waits."""
        flight, leads = self._flights.join(wanted.key)
        if not leads:
            return
        flight.leader = self._waiting.me()
        shared = True
        try:
            lease = await self._store.lease(wanted.key, wanted.lease)
            if lease is not None:
                try:
                    if not await self._renewed(wanted.key, copy):
                        with collecting():  # whose request began it has its answer without
                            _value, shared = await self._compute(wanted)
                finally:
                    await self._store.release(lease)
        except Exception:
            shared = False
            log.exception("a value cannot be renewed")
        finally:
            copy.renew_at = self._clock() + _TRY_AGAIN
            self._flights.finish(wanted.key, flight, shared)

    async def _renewed(self, key: str, copy: Copy) -> bool:
        """Did another process renew what was read, just before the lease was taken?"""
        found = await self._store.find(key)
        return found is not None and revision_of(found.snapshot) != revision_of(copy.snapshot)
