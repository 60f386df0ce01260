"""Messages that every worker answers: tells when all have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass
class _Round:
    waiting: set[str]
    done: Callable[[int], None]
    total: int = 0


class Rounds:
    """Keeps count of who still has to answer what."""

    def __init__(self) -> None:
        self._rounds: dict[int, _Round] = {}

    def begin(self, number: int, names: Iterable[str], done: Callable[[int], None]) -> None:
        """Wait for these workers to answer `number`, then call `done` with the sum of what they answered."""
        self._rounds[number] = _Round(set(names), done)
        self._check(number)

    def answered(self, name: str, number: int, amount: int = 0) -> None:
        """Take a worker's answer."""
        found = self._rounds.get(number)
        if found is not None and name in found.waiting:
            found.waiting.discard(name)
            found.total += amount
            self._check(number)

    def lost(self, name: str) -> None:
        """A worker died: nothing is to be waited for."""
        for number in list(self._rounds):
            self.answered(name, number)

    def _check(self, number: int) -> None:
        found = self._rounds[number]
        if not found.waiting:
            del self._rounds[number]
            found.done(found.total)
