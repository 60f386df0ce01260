"""What the supervisor does of purges: hands each to every worker, and tells who asked when all are done."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from edgewise.server import messages as m
from edgewise.server.rounds import Rounds

if TYPE_CHECKING:
    from edgewise.server.processes import Child
    from edgewise.server.supervisor import Supervisor


class Purging:
    """Passes purges on. A worker that starts later has nothing stored that they could concern."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._numbers = itertools.count(1)
        self._rounds = Rounds()

    def publish(self, wanted: m.PurgeWanted, sender: Child) -> None:
        """Have every worker but the sender purge; then answer the sender, where it wants that."""
        number = next(self._numbers)
        children = self._supervisor.children
        workers = [child for child in children.workers if child.channel is not None and child is not sender]
        for worker in workers:
            children.send(worker, m.Purge(number, wanted.purges, wanted.count))

        def done(counted: int) -> None:
            if wanted.request:
                children.send(sender, m.PurgeAnswer(wanted.request, counted))

        self._rounds.begin(number, [worker.name for worker in workers], done)

    def answered(self, name: str, number: int, counted: int) -> None:
        """Note a worker's answer."""
        self._rounds.answered(name, number, counted)

    def lost(self, name: str) -> None:
        """Note the death of a worker."""
        self._rounds.lost(name)
