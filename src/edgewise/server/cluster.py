"""What a node does together with others: its control process follows published configurations and heeds hints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgewise.contracts.sealing import NoSecretError, Sealer, read_secret
from edgewise.contracts.state import StateEngine, StateError
from edgewise.server import hints
from edgewise.server.following import Following
from edgewise.server.hints import Hints
from edgewise.server.kept_versions import KeptVersions, kept_directory
from edgewise.server.secret import state_directory
from edgewise.server.tasks import end
from edgewise.state import versions
from edgewise.state.opening import Options, open_engine

if TYPE_CHECKING:
    from edgewise.admin.control import ReloadResult
    from edgewise.config.state import State
    from edgewise.server.generation import Generation, Shared
    from edgewise.server.health import HealthChecks
    from edgewise.state.adoption import Standing

log = logging.getLogger("edgewise.cluster")
_RETRY = 2.0
_WATCH = 1.0
"""Seconds between two looks for ejections."""


class ClusterTasks:
    """Runs from `start` to `close`; without a [cluster] table it does nothing. Changes of it take a restart."""

    def __init__(self, generation: Generation, shared: Shared, health: HealthChecks, node: str, label: str) -> None:
        """`node` names this one among the others, `label` its configuration on this machine."""
        self._generation = generation
        self._shared = shared
        self._health = health
        self._node = node
        self._label = label
        self.following: Following | None = None
        self.hints: Hints | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, reload: Callable[[str], Awaitable[ReloadResult]], tell: Callable[[Standing], None]) -> None:
        """Begin; see `Following`."""
        settings, state = self._generation.config.cluster, self._generation.config.state
        if settings is None or state is None:
            return
        try:
            secret = read_secret(settings.key, settings.key_file)
        except NoSecretError as error:
            log.error("this node acts alone: %s", error)
            return
        if settings.configuration:
            sealer = Sealer(secret, versions.PURPOSE)
            kept = KeptVersions(kept_directory(state_directory(), self._label), sealer)
            self.following = Following(sealer, kept, self._generation.version, reload, tell)
            tell(self.following.standing)
        if settings.health_hints:
            self.hints = Hints(Sealer(secret, hints.PURPOSE), self._node, self._doubt)
            self._health.on_failure = lambda server: self._found(server, "check")
        self._task = asyncio.get_running_loop().create_task(self._run(state))

    def serve(self, serving: bool) -> None:
        """Note whether edgewise serves, so that reloads are possible."""
        if self.following is not None:
            self.following.serve(serving)

    @property
    def settled(self) -> bool:
        """Does this node run what is published, as far as it can know?"""
        return self.following is None or self.following.settled

    def load(self, generation: Generation) -> None:
        """Go on with another generation."""
        self._generation = generation
        if self.following is not None:
            self.following.loaded(generation.version)

    def figures(self) -> dict[str, int]:
        """Return what there is to tell in metrics."""
        found: dict[str, int] = {}
        if self.following is not None:
            standing = self.following.standing
            found |= {"applied": standing.applied, "newest": standing.newest}
            found["refused"] = int(standing.outcome == "refused")
        if self.hints is not None:
            found |= {name: self.hints.counts[name] for name in ("told", "withheld", "heeded", "passed over")}
        return found

    async def _run(self, state: State) -> None:
        while True:
            engine = await self._opened(state)
            try:
                async with asyncio.TaskGroup() as group:
                    for work in self._work(engine):
                        group.create_task(work)
            except Exception:  # a defect must not cut this node off for good
                log.exception("acting together with other nodes failed, and begins anew")
            finally:
                await engine.close()
            await asyncio.sleep(_RETRY)

    def _work(self, engine: StateEngine) -> Iterator[Coroutine[Any, Any, None]]:
        if self.following is not None:
            yield self.following.run(engine)
        if self.hints is not None:
            yield self.hints.run(engine)
            yield self._watch()

    async def _opened(self, state: State) -> StateEngine:
        options = replace(Options.of(state, state_directory()), local_copy=None)
        while True:
            try:
                return await open_engine(state.url, options)
            except StateError as error:
                log.warning("the other nodes cannot be reached: %s", error)
            if self.following is not None:
                self.following.settled = True  # with its own file, for want of anything better
            await asyncio.sleep(_RETRY)

    def _found(self, server: str, cause: hints.Cause) -> None:
        if self.hints is not None:
            self.hints.found(server, cause)

    async def _watch(self) -> None:
        """Tell of the servers that a worker ejects."""
        before = self._ejections()
        while True:
            await asyncio.sleep(_WATCH)
            now = self._ejections()
            for server, count in now.items():
                if count > before.get(server, 0):
                    self._found(server, "ejection")
            before = now

    def _ejections(self) -> dict[str, int]:
        read = self._shared.memory.endpoints.read
        return {server: read(slot).ejections for server, slot in self._generation.endpoints.present.items()}

    def _doubt(self, server: str) -> bool:
        """Another node finds a server failing: check it where it is checked, else have workers bear with it less."""
        slot = self._generation.endpoints.present.get(server)
        if slot is None:
            return False
        if not self._health.doubt(server):
            self._shared.suspicions.add(slot)
        return True

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            await end(self._task)
