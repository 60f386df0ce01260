"""Reloading: reads the configuration again and carries it to every process, one transaction at a time."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING

from edgewise.config import ConfigError
from edgewise.contracts.shared import SlotsExhaustedError
from edgewise.server import messages as m
from edgewise.server import notify
from edgewise.server.apps import app_specs
from edgewise.server.listeners import ListenError, wanted
from edgewise.server.run_directory import RunDirectoryError
from edgewise.server.secret import SecretError
from edgewise.server.transaction import Change, ReloadReport, Transaction, restart_only, with_lasting
from edgewise.tls.errors import TlsError
from edgewise.tls.managed import build_contexts

if TYPE_CHECKING:
    from edgewise.server.generation import Generation
    from edgewise.server.supervisor import Supervisor

log = logging.getLogger("edgewise")
_PATIENCE = 90.0
"""Seconds within which every process must have built the generation, managed apps included."""
_APPS = "apps"


class Reloads:
    """Runs one reload after another; those asked for meanwhile become one that follows, candidates one each."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._transaction: Transaction | None = None
        self._waiting: list[ReloadReport] = []
        self._candidates: deque[tuple[str, ReloadReport]] = deque()
        """Published versions to be tried, by their ids."""
        self._reports: list[ReloadReport] = []
        self._notes: list[str] = []
        self.last: dict[str, object] | None = None
        """How the last reload ended, for `status`."""

    def request(self, report: ReloadReport, candidate: str = "") -> None:
        """Reload now, or after the reload under way; `report` is told how it ended.

        With `candidate`, the id of a published version, that is tried, and kept where it can be used.
        """
        supervisor = self._supervisor
        if supervisor.draining or not supervisor.serving:
            reason = "edgewise is stopping" if supervisor.draining else "edgewise is still starting"
            log.error("not reloaded: %s", reason)
            report(supervisor.generation.number, [m.Problem(reason)])
        elif self._transaction is None:
            self._reports = [report]
            self._begin(candidate)
        elif candidate:
            self._candidates.append((candidate, report))
        else:
            self._waiting.append(report)

    def _begin(self, candidate: str = "") -> None:
        notify.reloading()
        supervisor = self._supervisor
        try:
            loaded = supervisor.instance.load(candidate)
            config = with_lasting(supervisor.generation.config, loaded)
            generation = supervisor.generation.next(config, supervisor.instance.common.version)
            contexts = build_contexts(config, supervisor.certificates.contexts)
            listeners = wanted(config)
            added = supervisor.listeners.add(listeners)
        except ConfigError as error:
            for problem in error.problems:
                log.error("reload: %s", problem)
            self._end([m.Problem(**asdict(problem)) for problem in error.problems])
            return
        except (SlotsExhaustedError, ListenError, SecretError, RunDirectoryError, TlsError) as error:
            self._refuse(str(error))
            return
        except Exception as error:  # a defect must not take down what runs
            log.exception("reload failed")
            self._refuse(f"{type(error).__name__}: {error}")
            return
        self._notes = restart_only(supervisor.generation.config, loaded)
        change = Change(added, supervisor.listeners.not_in(listeners), contexts)
        supervisor.shared.clear_fresh(generation)
        self._prepare(generation, change)

    def _prepare(self, generation: Generation, change: Change) -> None:
        supervisor = self._supervisor
        children = supervisor.children.connected()
        transaction = self._transaction = Transaction(
            generation,
            [_APPS, *(child.name for child in children)],
            lambda: self._commit(generation, change),
            lambda problem: self._abort(generation, change, problem),
            lambda: self._finish(generation),
        )
        message = m.Prepare(generation.number, generation.dump())
        for child in children:
            supervisor.children.send(child, message)
        supervisor.reactor.timers.after(_PATIENCE, lambda: transaction.cancel(f"not ready within {_PATIENCE:g} s"))
        try:
            supervisor.apps.prepare(app_specs(generation.config), lambda error: transaction.prepared(_APPS, error))
        except OSError as error:
            transaction.prepared(_APPS, error.strerror or str(error))

    def prepared(self, name: str, generation: int, error: str) -> None:
        """Note a child's answer to Prepare."""
        if self._transaction is not None and self._transaction.generation.number == generation:
            self._transaction.prepared(name, error)

    def committed(self, name: str, generation: int) -> None:
        """Note a child's answer to Commit."""
        if self._transaction is not None and self._transaction.generation.number == generation:
            self._transaction.committed(name)

    def lost(self, name: str) -> None:
        """Note the death of a child."""
        if self._transaction is not None:
            self._transaction.lost(name)

    def cancel(self, reason: str) -> None:
        """Give up the reload under way, if it still can be."""
        if self._transaction is not None:
            self._transaction.cancel(reason)

    def _commit(self, generation: Generation, change: Change) -> None:
        supervisor = self._supervisor
        supervisor.generation = generation
        supervisor.purging.follow(generation.config)
        supervisor.shared = supervisor.shared.of(generation)
        supervisor.certificates.contexts = change.contexts
        added = [(listening.listener.kind, listening.listener.address) for listening in change.added]
        removed = [(listener.kind, listener.address) for listener in change.removed]
        for child in supervisor.children.connected():
            if child.slot is None:
                supervisor.children.send(child, m.Commit(generation.number, [], []))
            else:
                descriptors = [listening.sockets[child.slot].fileno() for listening in change.added]
                supervisor.children.send(child, m.Commit(generation.number, added, removed), descriptors)
        supervisor.listeners.remove(change.removed)
        assert self._transaction is not None
        self._transaction.committed(_APPS)

    def _abort(self, generation: Generation, change: Change, problem: str) -> None:
        supervisor = self._supervisor
        for child in supervisor.children.connected():
            supervisor.children.send(child, m.Abort(generation.number))
        supervisor.listeners.remove([listening.listener for listening in change.added])
        supervisor.apps.abort()
        self._refuse(problem)

    def _finish(self, generation: Generation) -> None:
        self._supervisor.apps.commit()
        if generation.version is not None:
            self._supervisor.instance.common.accept(generation.version)
        for note in self._notes:
            log.warning("reload: %s", note)
        log.info("reloaded: %s runs", generation)
        self._end([])

    def _refuse(self, problem: str) -> None:
        log.error("reload: %s", problem)
        self._end([m.Problem(problem)])

    def _end(self, problems: list[m.Problem]) -> None:
        number = self._supervisor.generation.number
        if problems:
            log.error("not reloaded: generation %d goes on", number)
        notify.notify("READY=1", f"STATUS=generation {number}")
        self.last = {
            "at": time.time(),
            "generation": number,
            "problems": [problem.message for problem in problems],
            "notes": [] if problems else self._notes,
        }
        self._transaction = None
        reports, self._reports = self._reports, []
        for report in reports:
            report(number, problems)
        self._supervisor.children.tell_state()
        if self._waiting:
            self._reports, self._waiting = self._waiting, []
            self._begin()
        elif self._candidates:
            candidate, report = self._candidates.popleft()
            self._reports = [report]
            self._begin(candidate)
