"""What the supervisor keeps of purges that nodes share: like what workers store, it outlives the control process."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewise.server import messages as m

if TYPE_CHECKING:
    from edgewise.server.timers import Timers

log = logging.getLogger("edgewise.cache")
MOST_WAITING = 10_000
"""Purges that wait to be told; before there are more, other nodes are told to purge everything."""


class PurgeLedger:
    """Purges that other nodes are to be told of, how far theirs were heard, and what follows where they are not."""

    def __init__(
        self,
        timers: Timers,
        bound: Callable[[], float],
        validate: Callable[[], None],
        keep: Callable[[int, str], None] = lambda cursor, history: None,
        heard: tuple[int, str] | None = None,
    ) -> None:
        """Call `validate` once in each `bound()` seconds in which it is not known what was purged.

        `keep(cursor, history)` keeps how far purges were heard beyond the end of this process; `heard` was kept so.
        """
        self._timers = timers
        self._bound = bound
        self._validate = validate
        self._keep = keep
        self._numbers = itertools.count(1)
        self.waiting: dict[int, m.PurgeTold] = {}
        """Not known to be published."""
        self.cursor: int | None = None
        """Every worker has done what was published up to here; None: nothing is known."""
        self.history = ""
        """Of the engine, in which the cursor means something."""
        if heard is not None:
            self.cursor, self.history = heard
        self._due = timers.clock() + bound()
        self._cut_off = False
        timers.after(bound(), self._look)

    def add(self, purges: list[m.PurgeSpec], request: int) -> m.PurgeTold:
        """Keep what is to be published; return what the control process is told."""
        if len(purges) + sum(len(told.purges) for told in self.waiting.values()) > MOST_WAITING:
            self.waiting.clear()
            purges = [m.PurgeSpec("all")]
        told = m.PurgeTold(next(self._numbers), purges, request)
        self.waiting[told.number] = told
        return told

    def published(self, numbers: list[int]) -> None:
        """Forget what is with the engine."""
        for number in numbers:
            self.waiting.pop(number, None)

    def heard(self, cursor: int, history: str, known: float) -> None:
        """Note that purges up to a cursor were done, and that there were no others up to the time `known`."""
        if (cursor, history) != (self.cursor, self.history):
            self._keep(cursor, history)
        self.cursor, self.history = cursor, history
        self._due = max(self._due, known + self._bound())
        if known and self._cut_off:
            self._cut_off = False
            log.info("purges of other nodes are heard again")

    def _look(self) -> None:
        now = self._timers.clock()
        if now >= self._due:
            if not self._cut_off:
                log.warning("purges of other nodes are not heard: what is stored is validated before it is used")
            self._cut_off = True
            self._validate()
            self._due = now + self._bound()
        self._timers.after(self._due - now, self._look)
