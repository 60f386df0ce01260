"""A reload as one transaction: every process builds the new generation first, then all run it, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING

from edgewise.config.state import without_password
from edgewise.server.messages import Problem

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.server.generation import Generation
    from edgewise.server.listeners import Listener, Listening
    from edgewise.tls.contexts import ContextSet

ReloadReport = Callable[[int, list[Problem]], None]
"""Told how a reload ended: (the generation that runs now, why it is not the new one)."""


class Phase(Enum):
    """Where a transaction stands."""

    PREPARING = "preparing"
    COMMITTING = "committing"
    DONE = "done"


class Transaction:
    """Counts the answers of those that take part; calls `commit`, `abort` and `finish` once each at most.

    `commit()` runs when all are prepared, `abort(problem)` at the first that is not, `finish()` when all committed.
    A participant that dies is `lost`: before the commit that aborts, after it its replacement runs the new generation.
    """

    def __init__(
        self,
        generation: Generation,
        participants: Iterable[str],
        commit: Callable[[], None],
        abort: Callable[[str], None],
        finish: Callable[[], None],
    ) -> None:
        self.generation = generation
        self.phase = Phase.PREPARING
        self._waiting = set(participants)
        self._participants = set(self._waiting)
        self._commit = commit
        self._abort = abort
        self._finish = finish

    def prepared(self, name: str, error: str = "") -> None:
        """Note that `name` built the generation, or why it could not."""
        if self.phase is not Phase.PREPARING or name not in self._waiting:
            return
        if error:
            self.cancel(f"{name}: {error}")
            return
        self._waiting.discard(name)
        if not self._waiting:
            self.phase = Phase.COMMITTING
            self._waiting = set(self._participants)
            self._commit()

    def committed(self, name: str) -> None:
        """Note that `name` runs the generation."""
        if self.phase is not Phase.COMMITTING:
            return
        self._waiting.discard(name)
        if not self._waiting:
            self.phase = Phase.DONE
            self._finish()

    def lost(self, name: str) -> None:
        """Note that `name` died."""
        if self.phase is Phase.PREPARING and name in self._participants:
            self.cancel(f"{name}: the process ended")
        else:
            self.committed(name)

    def cancel(self, problem: str) -> None:
        """Give the generation up; no longer possible once it is being committed."""
        if self.phase is Phase.PREPARING:
            self.phase = Phase.DONE
            self._abort(problem)


class Change:
    """What a reload changes beside the routes."""

    def __init__(self, added: list[Listening], removed: list[Listener], contexts: ContextSet | None) -> None:
        self.added = added
        self.removed = removed
        self.contexts = contexts
        """TLS contexts for the workers that are forked from then on."""


def with_lasting(running: Config, wanted: Config) -> Config:
    """Return `wanted` with what must stay as it is until a restart, since processes have it open."""
    lasting = {name: getattr(running.cache, name) for name in ("disk", "directory", "second_hit")}
    return wanted.model_copy(update={"cache": wanted.cache.model_copy(update=lasting)})


def restart_only(running: Config, wanted: Config) -> list[str]:
    """Return a note for each changed key that only a restart applies."""
    notes = []
    if running.server.workers != wanted.server.workers:
        notes.append(f"server.workers stays {running.server.workers} until edgewise is restarted")
    if running.server.admin != wanted.server.admin:
        notes.append(f"server.admin stays {running.server.admin or 'off'} until edgewise is restarted")
    before, after = running.state, wanted.state
    if before != after:
        stays = without_password(before.url) if before is not None else "off"
        notes.append(f"state stays {stays}, as it was set up, until edgewise is restarted")
    if (running.cache.disk, running.cache.directory) != (wanted.cache.disk, wanted.cache.directory):
        notes.append("cache.disk and cache.directory stay as they were until edgewise is restarted")
    if running.cache.second_hit != wanted.cache.second_hit:
        stays = "on" if running.cache.second_hit else "off"
        notes.append(f"cache.second_hit stays {stays} until edgewise is restarted")
    if running.cluster != wanted.cluster:
        notes.append("cluster stays as it was until edgewise is restarted")
    return notes
