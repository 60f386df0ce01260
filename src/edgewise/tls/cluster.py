"""This node's part in certificates that several nodes share.

One node at a time talks to the authority, under a lease; the others learn from a topic of the state engine what to
answer and what there is to take. A node without its engine serves what it has on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from edgewise.contracts.leader import Leader, LeaseLost
from edgewise.contracts.sealing import Sealer
from edgewise.contracts.state import Lease, StateEngine, StateError, StateUnavailable
from edgewise.tls.errors import TlsError
from edgewise.tls.shared import EVERY, LIFE, ChallengeSet, SharedAccount, SharedCertificate, SharedValues
from edgewise.tls.store import Store

if TYPE_CHECKING:
    from edgewise.tls.acme.messages import Challenge
    from edgewise.tls.terms import Kind

log = logging.getLogger("edgewise.certificates")
_RETRY = 1.0
_LOOK = 0.05
"""Seconds between two looks at who answers a challenge."""
_PATIENCE = LIFE + 2.0
"""Seconds that the others may take to answer; those that died are not listed any more by then."""
_LEAVE = 1.0

Open = Callable[[], Awaitable[StateEngine]]
"""Connects to the engine. Raises StateError."""


class Cluster:
    """Runs from `start` to `close`; `answer` has this node's workers answer challenges, no others.

    What is shared is sealed by `sealer`, of the purpose `shared.PURPOSE`. `told(name)` is called when there may be
    something new of a certificate, with None for all.
    """

    def __init__(
        self,
        open_engine: Open,
        sealer: Sealer,
        node: str,
        answer: Callable[[list[Challenge]], Awaitable[None]],
        told: Callable[[str | None], None],
    ) -> None:
        self._open = open_engine
        self._sealer = sealer
        self._node = node
        self._answer = answer
        self._told = told
        self._values: SharedValues | None = None
        self._lease: Lease | None = None
        self._sets = 0
        self._answered = ""
        """Id of the challenges that this node answers; empty while they change."""
        self._answering = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    # ---- what others do ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to follow the other nodes."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        values = self._values = await self._connect()
        try:
            await asyncio.gather(self._follow(values), self._live(values))
        finally:
            with contextlib.suppress(StateError, TimeoutError):
                await asyncio.wait_for(values.leave(), _LEAVE)
            await values.engine.close()

    async def _connect(self) -> SharedValues:
        problem = ""
        while True:
            try:
                return SharedValues(await self._open(), self._sealer, self._node)
            except StateError as error:
                if str(error) != problem:
                    log.error("certificates are not shared: %s", error)
                problem = str(error)
                await asyncio.sleep(_RETRY)

    async def _live(self, values: SharedValues) -> None:
        while True:
            await asyncio.sleep(EVERY)
            with contextlib.suppress(StateUnavailable):
                await self._catch_up(values)

    async def _follow(self, values: SharedValues) -> None:
        """Catch up, then follow what is told; begin anew after a gap."""
        while True:
            try:
                after = await values.engine.last(values.topic)
                await self._catch_up(values)
                self._told(None)
                async for message in values.engine.subscribe(values.topic, after):
                    if message.payload:
                        self._told(message.payload.decode())
                    else:
                        await self._catch_up(values)
            except StateError as error:
                log.warning("other nodes' certificates are not followed at the moment: %s", error)
            except Exception:  # a defect must not cut this node off for good
                log.exception("following other nodes' certificates failed")
            await asyncio.sleep(_RETRY)

    async def _catch_up(self, values: SharedValues) -> None:
        """Answer what another node wants answered, and say so. Raises StateUnavailable.

        A sign of life comes before the look: a leader that wrote too late to be seen then knows to wait for this node.
        """
        await values.tell(self._answered)
        async with self._answering:
            found = await values.challenges()
            if self._lease is not None or found is None or found.id == self._answered:
                return
            await self._show(found.challenges, found.id)
        await values.tell(self._answered)

    async def _show(self, challenges: list[Challenge], name: str) -> None:
        self._answered = ""
        try:
            await self._answer(challenges)
            self._answered = name
        except (TlsError, OSError) as error:
            log.error("another node's challenge is not answered: %s", error or "a worker gave no answer in time")

    async def close(self) -> None:
        """Leave."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    # ---- what this node does -----------------------------------------------------------------------------------------

    async def lead(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do `work`, in which this node alone talks to the authority; False: another node does at the moment.

        Raises what `work` raises, LeaseLost where it was cancelled, StateUnavailable where the engine is lost.
        """

        async def leading(lease: Lease) -> None:
            self._lease = lease
            try:
                await work()
            finally:
                self._lease = None

        values = self._reached()
        return await Leader(values.engine, values.lease, self._node).lead(leading)

    @property
    def reached(self) -> bool:
        """Was the engine reached once? Before, nothing can be shared."""
        return self._values is not None

    def _reached(self) -> SharedValues:
        if self._values is None:
            raise StateUnavailable("the engine of shared state was not reached yet")
        return self._values

    def _led(self) -> tuple[SharedValues, Lease]:
        """Return what to write with, and under which lease."""
        if self._lease is None:
            raise LeaseLost("another node may talk to the authority by now")
        return self._reached(), self._lease

    async def present(self, challenges: list[Challenge]) -> None:
        """Have every node answer these challenges and no others; return once they do. Only while leading.

        Raises what `answer` raises, and StateError once this node answers. A node that lives but does not answer is
        waited for in vain, and named in the log.
        """
        async with self._answering:
            self._answered = ""
            await self._answer(challenges)
            values, lease = self._led()
            self._sets += 1
            wanted = f"{lease.token}.{self._sets}"
            if not await values.keep_challenges(lease, ChallengeSet(wanted, challenges)):
                raise LeaseLost("another node talks to the authority")
            self._answered = wanted
        deadline = time.monotonic() + _PATIENCE
        while challenges and (behind := await values.behind(wanted)):
            if time.monotonic() > deadline:
                log.warning("%s: no answer to the challenge at %s", challenges[0].name, ", ".join(behind))
                return
            await asyncio.sleep(_LOOK)

    async def certificate(self, kind: Kind, name: str) -> SharedCertificate | None:
        """Return what nodes share of `name`. Raises StateUnavailable."""
        return await self._reached().certificate(kind, name)

    async def keep(self, kind: Kind, name: str, value: SharedCertificate) -> bool:
        """Share a certificate; False: a later leader did. Only while leading. Raises StateError."""
        values, lease = self._led()
        return await values.keep_certificate(lease, kind, name, value)

    async def share_account(self, store: Store, source: str) -> None:
        """Take the account at `source` that nodes share, or share this one's. Only while leading.

        Raises StateError, and OSError for an account that cannot be kept.
        """
        values, lease = self._led()
        shared = await values.account(source)
        key, url = store.account(source)
        if shared is not None and (shared.key != key or url is None):
            store.take_account(source, shared.key, shared.url)
        elif shared is None or shared.url != url:
            await values.keep_account(lease, source, SharedAccount(key, url))
