"""What the supervisor does of purges: hands each to every worker, and tells who asked when all are done."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewise.server import messages as m
from edgewise.server.purge_ledger import PurgeLedger
from edgewise.server.rounds import Rounds
from edgewise.state.opening import shared_by_nodes

if TYPE_CHECKING:
    from edgewise.server.processes import Child
    from edgewise.server.supervisor import Supervisor


class Purging:
    """Passes purges on. A worker that starts later has nothing stored that they could concern."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._numbers = itertools.count(1)
        self._rounds = Rounds()
        self.ledger: PurgeLedger | None = None
        """What is to be kept where nodes share state."""
        state = supervisor.generation.config.state
        if state is not None and shared_by_nodes(state.url):
            timers = supervisor.reactor.timers
            self.ledger = PurgeLedger(timers, lambda: supervisor.generation.config.cache.offline, self._validate)

    def publish(self, wanted: m.PurgeWanted, sender: Child) -> None:
        """Have every worker but the sender purge, then answer it, where it wants that; have other nodes told."""
        children = self._supervisor.children
        if self.ledger is not None and not (wanted.count or wanted.heard):
            request = wanted.request if sender.slot is None else 0
            children.tell_control(self.ledger.add(wanted.purges, request))

        def done(counted: int) -> None:
            if wanted.request:
                children.send(sender, m.PurgeAnswer(wanted.request, counted))

        self._spread(wanted.purges, done, count=wanted.count, but=sender)

    def _spread(
        self,
        purges: list[m.PurgeSpec],
        done: Callable[[int], None],
        *,
        count: bool = False,
        but: Child | None = None,
    ) -> None:
        number = next(self._numbers)
        children = self._supervisor.children
        workers = [child for child in children.workers if child.channel is not None and child is not but]
        for worker in workers:
            children.send(worker, m.Purge(number, purges, count))
        self._rounds.begin(number, [worker.name for worker in workers], done)

    def _validate(self) -> None:
        """Have every worker validate what is stored before it is used again."""
        self._spread([m.PurgeSpec("all", soft=True)], lambda counted: None)

    def published(self, numbers: list[int]) -> None:
        """Other nodes can hear of these."""
        if self.ledger is not None:
            self.ledger.published(numbers)

    def heard(self, told: m.PurgesHeard) -> None:
        """Note how far other nodes' purges were heard."""
        if self.ledger is not None:
            self.ledger.heard(told.cursor, told.known)

    def answered(self, name: str, number: int, counted: int) -> None:
        """Note a worker's answer."""
        self._rounds.answered(name, number, counted)

    def lost(self, name: str) -> None:
        """Note the death of a worker."""
        self._rounds.lost(name)
