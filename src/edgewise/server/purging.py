"""What the supervisor does of purges: hands each to every worker, and tells who asked when all are done.

Where answers are kept on disk, it first gives each a number and keeps it there.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from edgewise.cache.purges import Mark, Purge, Purges
from edgewise.config.state import without_password
from edgewise.router.caching import purges, url_rules
from edgewise.server import messages as m
from edgewise.server.purge_ledger import PurgeLedger
from edgewise.server.rounds import Rounds
from edgewise.state.opening import shared_by_nodes

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.server.processes import Child
    from edgewise.server.supervisor import Supervisor

log = logging.getLogger("edgewise.cache")
_VALIDATION = [m.PurgeSpec("all", soft=True)]


class Purging:
    """Passes purges on. A worker that starts later has nothing in memory that they could concern."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._numbers = itertools.count(1)
        self._rounds = Rounds()
        self._log = None if supervisor.cache_directory is None else supervisor.cache_directory.log
        self.ledger = self._ledger(supervisor.generation.config)
        """What is to be kept where nodes share state."""
        self.caught_up = self.ledger is None or self._log is None
        """Is what other nodes purged while this one was away known, or is all validated that was there?"""
        self.follow(supervisor.generation.config)

    def _ledger(self, config: Config) -> PurgeLedger | None:
        if config.state is None or not shared_by_nodes(config.state.url):
            return None
        timers = self._supervisor.reactor.timers
        if self._log is None:
            return PurgeLedger(timers, self._offline, self._validate)
        engine = without_password(config.state.url)
        keep = partial(self._log.heard, engine)
        return PurgeLedger(timers, self._offline, self._validate, keep, self._log.heard_of(engine))

    def _offline(self) -> float:
        return self._supervisor.generation.config.cache.offline

    @property
    def numbered(self) -> Purges | None:
        """The purges with numbers that a new child is to heed; None where nothing is on disk."""
        return None if self._log is None else self._log.purges

    def follow(self, config: Config) -> None:
        """Read URLs as `config` does from now on."""
        rules = url_rules(config)
        self._reading = list(rules.values())
        if self._log is not None and not self._log.obeys(rules):
            log.info("routes read URLs in a way that is new: what is stored is validated before it is used")
            self._spread(_VALIDATION)

    # ---- passing on --------------------------------------------------------------------------------------------------

    def publish(self, wanted: m.PurgeWanted, sender: Child) -> None:
        """Have every worker but the sender purge, then answer it, where it wants that; have other nodes told."""
        children = self._supervisor.children
        if self.ledger is not None and not (wanted.count or wanted.heard):
            request = wanted.request if sender.slot is None else 0
            children.tell_control(self.ledger.add(wanted.purges, request))

        def done(counted: int, kept: bool) -> None:
            if wanted.request:
                children.send(sender, m.PurgeAnswer(wanted.request, counted, kept))

        self._spread(wanted.purges, done, count=wanted.count, but=sender)

    def _spread(
        self,
        specs: list[m.PurgeSpec],
        done: Callable[[int, bool], None] = lambda counted, kept: None,
        *,
        count: bool = False,
        but: Child | None = None,
    ) -> None:
        numbered, kept = ([], True) if count else self._numbered(specs)
        number = next(self._numbers)
        children = self._supervisor.children
        workers = [child for child in children.workers if child.channel is not None and child is not but]
        for worker in workers:
            children.send(worker, m.Purge(number, specs, count, numbered))
        if self._log is not None and not count:
            children.tell_control(m.PurgesNumbered(numbered))
            if but is not None and but.slot is not None:
                children.send(but, m.PurgesNumbered(numbered))
        self._rounds.begin(number, [worker.name for worker in workers], lambda counted: done(counted, kept))

    def _validate(self) -> None:
        """Have every worker validate what is stored before it is used again."""
        self._spread(_VALIDATION)
        self._know()

    # ---- what is on disk ---------------------------------------------------------------------------------------------

    def _numbered(self, specs: list[m.PurgeSpec]) -> tuple[list[Mark], bool]:
        """Give purges their numbers and keep them; return also whether that is sure."""
        if self._log is None:
            return [], True
        if self._log.full:
            log.warning("too many different purges to remember: what was on disk before is not used any more")
            self.forget(self._log.purges.epoch)
        orders: list[list[Purge]] = []
        for spec in specs:
            try:
                orders.append(purges(spec.kind, spec.value, soft=spec.soft, reading=self._reading))
            except ValueError as error:  # the workers say the same
                log.debug("nothing to purge by: %s", error)
        return self._log.add(orders)

    def forget(self, epoch: int) -> None:
        """What is on disk was compared with the purges up to `epoch`, or is not to be used any more: forget them."""
        if self._log is None:
            return
        self._log.forget(epoch)
        children = self._supervisor.children
        for worker in children.workers:
            children.send(worker, m.PurgesForgotten(epoch))
        children.tell_control(m.PurgesForgotten(epoch))

    def _know(self) -> None:
        """Let what is on disk be used: nothing that was purged elsewhere is among it, or all of it is validated."""
        if not self.caught_up:
            self.caught_up = True
            log.info("what is on disk is used: what other nodes purged meanwhile is known, or all of it is validated")
            children = self._supervisor.children
            for worker in children.workers:
                children.send(worker, m.PurgesCaughtUp())

    # ---- other nodes -------------------------------------------------------------------------------------------------

    def published(self, numbers: list[int]) -> None:
        """Other nodes can hear of these."""
        if self.ledger is not None:
            self.ledger.published(numbers)

    def heard(self, told: m.PurgesHeard) -> None:
        """Note how far other nodes' purges were heard."""
        if self.ledger is not None:
            self.ledger.heard(told.cursor, told.history, told.known)
            if told.known:
                self._know()

    # ---- answers -----------------------------------------------------------------------------------------------------

    def answered(self, name: str, number: int, counted: int) -> None:
        """Note a worker's answer."""
        self._rounds.answered(name, number, counted)

    def lost(self, name: str) -> None:
        """Note the death of a worker."""
        self._rounds.lost(name)
