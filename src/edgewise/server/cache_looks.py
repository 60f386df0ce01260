"""What the workers store of a URL: asked by the control process, gathered by the supervisor."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgewise.cache.key import Keys, KeySettings, purge_url
from edgewise.server import messages as m
from edgewise.server.answers import Answers
from edgewise.server.rounds import Rounds

if TYPE_CHECKING:
    from edgewise.server.processes import Child
    from edgewise.server.supervisor import Supervisor

_PATIENCE = 10.0
"""Seconds within which every worker must have answered."""
Told = dict[int, list[dict[str, Any]]]
"""Slot of a worker -> what it stores, by route."""


class CacheLooks:
    """The supervisor's part."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._numbers = itertools.count(1)
        self._rounds = Rounds()
        self._told: dict[int, Told] = {}

    def publish(self, wanted: m.CacheLookWanted, sender: Child) -> None:
        """Ask every worker, and tell the sender what they told."""
        number = next(self._numbers)
        children = self._supervisor.children
        workers = [child for child in children.workers if child.channel is not None]
        told = self._told[number] = {}

        def done(_: int) -> None:
            del self._told[number]
            children.send(sender, m.CacheLookAnswer(wanted.request, told))

        for worker in workers:
            children.send(worker, m.CacheLook(number, wanted.url))
        self._rounds.begin(number, [worker.name for worker in workers], done)

    def answered(self, child: Child, looked: m.CacheLooked) -> None:
        """Take a worker's answer."""
        if looked.number in self._told and child.slot is not None:
            self._told[looked.number][child.slot] = looked.routes
            self._rounds.answered(child.name, looked.number)

    def lost(self, name: str) -> None:
        """Note the death of a worker."""
        self._rounds.lost(name)


class CacheLookOrders:
    """The control process's part."""

    def __init__(self, send: Callable[[m.ToSupervisor], None]) -> None:
        self._send = send
        self._answers: Answers[Told] = Answers()

    async def look(self, url: str) -> Told:
        """Return what the workers store of a URL. Raises ValueError where it is none with a host, and TimeoutError."""
        purge_url(url, Keys(KeySettings()))
        request = self._answers.number()
        return await self._answers.ask(request, lambda: self._send(m.CacheLookWanted(request, url)), _PATIENCE)

    def answered(self, request: int, workers: Told) -> None:
        """Take the supervisor's answer."""
        self._answers.take(request, workers)
