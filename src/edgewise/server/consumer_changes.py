"""Changes of consumers: every worker of this node reads them at once, and the control process waits for that."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewise.contracts.state import StateError
from edgewise.server import messages as m
from edgewise.server.answers import Answers
from edgewise.server.rounds import Rounds

if TYPE_CHECKING:
    from edgewise.gateway.stored_consumers import StoredConsumers
    from edgewise.server.processes import Child
    from edgewise.server.supervisor import Supervisor

log = logging.getLogger("edgewise.consumers")
_PATIENCE = 5.0
"""Seconds within which every worker must have answered."""


class ConsumerChanges:
    """The supervisor's part."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._numbers = itertools.count(1)
        self._rounds = Rounds()

    def publish(self, wanted: m.ConsumerWanted, sender: Child) -> None:
        """Have every worker read a consumer anew, and tell the sender when all have."""
        number = next(self._numbers)
        children = self._supervisor.children
        workers = [child for child in children.workers if child.channel is not None]
        for worker in workers:
            children.send(worker, m.ConsumerChanged(number, wanted.name))
        names = [worker.name for worker in workers]
        self._rounds.begin(number, names, lambda _: children.send(sender, m.ConsumerAnswer(wanted.request)))

    def answered(self, name: str, number: int) -> None:
        """Take a worker's answer."""
        self._rounds.answered(name, number)

    def lost(self, name: str) -> None:
        """Note the death of a worker: its successor reads all consumers anew."""
        self._rounds.lost(name)


class ConsumerTaking:
    """A worker's part."""

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[m.ToSupervisor], None]) -> None:
        self._loop = loop
        self._send = send
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, changed: m.ConsumerChanged, stored: StoredConsumers | None) -> None:
        """Have the consumer read, where a route asks for consumers, and answer when it is."""
        task = self._loop.create_task(self._take(changed, stored))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, changed: m.ConsumerChanged, stored: StoredConsumers | None) -> None:
        """An engine that is lost is no answer: who waits for one is told that it did not come."""
        if stored is not None:
            try:
                await stored.refresh(changed.name)
            except StateError as error:
                log.error("consumer %s could not be read: %s", changed.name, error)
                return
        self._send(m.ConsumerTaken(changed.number))


class ConsumerOrders:
    """The control process's part."""

    def __init__(self, send: Callable[[m.ToSupervisor], None]) -> None:
        self._send = send
        self._answers: Answers[None] = Answers()

    async def changed(self, name: str) -> None:
        """Wait until every worker of this node goes by what is now kept of a consumer. Raises TimeoutError."""
        request = self._answers.number()
        await self._answers.ask(request, lambda: self._send(m.ConsumerWanted(request, name)), _PATIENCE)

    def answered(self, request: int) -> None:
        """Take the supervisor's answer."""
        self._answers.take(request, None)
