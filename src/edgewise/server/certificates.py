"""What the supervisor tells workers of certificates: challenges to answer, and that there is something to load."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewise.server import messages as m
from edgewise.server.rounds import Rounds

if TYPE_CHECKING:
    from edgewise.server.supervisor import Supervisor
    from edgewise.tls.contexts import ContextSet


class Certificates:
    """Passes on what the control process wants, and tells it when every worker has it.

    A worker that starts later gets the same with its setup, so none is ever without.
    """

    def __init__(self, supervisor: Supervisor, contexts: ContextSet | None) -> None:
        self._supervisor = supervisor
        self._rounds = Rounds()
        self.contexts = contexts
        """What workers inherit: made once, so that all of them have the keys of sessions in common."""
        self.current = m.Certificates(0)

    def publish(self, tokens: dict[str, str], challenges: dict[str, str], done: Callable[[], None]) -> None:
        """Have every worker load certificates and answer these challenges, no others; then call `done`."""
        number = self.current.number + 1
        self.current = m.Certificates(number, tokens, challenges)
        if self.contexts is not None:
            self.contexts.refresh({})
        children = self._supervisor.children
        workers = [child for child in children.workers if child.channel is not None]
        for worker in workers:
            children.send(worker, self.current)
        self._rounds.begin(number, [worker.name for worker in workers], lambda _: done())

    def taken(self, name: str, number: int) -> None:
        """Note a worker's answer."""
        self._rounds.answered(name, number)

    def lost(self, name: str) -> None:
        """Note the death of a worker; its replacement knows what is current."""
        self._rounds.lost(name)
