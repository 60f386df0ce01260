"""What must be done by one node at a time: work under a lease, on whichever node holds it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from edgewise.contracts.state import Lease, StateEngine, StateError, StateUnavailable

TTL = 15.0
"""Seconds after which the work of a node that died is taken over."""
_RELEASE = 1.0
"""Seconds that giving a lease back may take; it ends by itself."""


class LeaseLost(StateError):
    """The lease ended before the work did; another node may have it by now."""


class Leader:
    """Leads in the name of `owner`, this node, while it holds the lease `name`.

    The lease is renewed each third of `ttl` seconds. A process that was paused may do a step too many before it notices
    that its lease was lost, so what the work writes must be written by `contracts.fencing.set_fenced`.
    """

    def __init__(
        self,
        engine: StateEngine,
        name: str,
        owner: str,
        *,
        ttl: float = TTL,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` is that of `Lease.deadline`."""
        self._engine = engine
        self._name = name
        self._owner = owner
        self._ttl = ttl
        self._clock = clock
        self._sleep = sleep

    async def lead(self, work: Callable[[Lease], Awaitable[None]]) -> bool:
        """Do `work` once, if nobody leads; False: another node does.

        Work that is under way when the lease is lost is cancelled. Raises what `work` raises, LeaseLost for work that
        was cancelled, StateUnavailable for an engine that is lost.
        """
        lease = await self._engine.acquire(self._name, self._owner, self._ttl)
        if lease is None:
            return False
        working = asyncio.ensure_future(work(lease))
        holding = asyncio.ensure_future(self._hold(lease))
        try:
            await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                holding.result()
                raise LeaseLost(f"the lease {self._name} was lost")
        finally:
            working.cancel()
            holding.cancel()
            await asyncio.gather(working, holding, return_exceptions=True)
            with contextlib.suppress(StateError, TimeoutError):
                await asyncio.wait_for(self._engine.release(lease), _RELEASE)
        working.result()
        return True

    async def _hold(self, lease: Lease) -> None:
        """Return once the lease is lost."""
        pause = self._ttl / 3
        while True:
            await self._sleep(min(pause, max(lease.deadline - self._clock(), 0.0)))
            left = lease.deadline - self._clock()
            if left <= 0:
                return
            pause = self._ttl / 10
            with contextlib.suppress(StateUnavailable, TimeoutError):
                renewed = await asyncio.wait_for(self._engine.renew(lease, self._ttl), left)
                if renewed is None:
                    return
                lease, pause = renewed, self._ttl / 3
