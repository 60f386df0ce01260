"""Takes the configuration versions that are published: one task of the control process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from edgewise.config import Problem
from edgewise.contracts.state import StateError, StateUnavailable
from edgewise.state.adoption import Adoption, Standing
from edgewise.state.versions import NotSealed, Version, Versions

if TYPE_CHECKING:
    from edgewise.admin.control import ReloadProblem, ReloadResult
    from edgewise.contracts.sealing import Sealer
    from edgewise.contracts.state import StateEngine
    from edgewise.server.kept_versions import KeptVersions

log = logging.getLogger("edgewise.cluster")
EVERY = 10.0
"""Seconds between two looks at what is published, where nothing is told."""
_RETRY = 1.0


class Following:
    """Tries what is published by the normal reload, and tells of it by `tell`."""

    def __init__(
        self,
        sealer: Sealer,
        kept: KeptVersions,
        running: Version | None,
        reload: Callable[[str], Awaitable[ReloadResult]],
        tell: Callable[[Standing], None],
    ) -> None:
        """`running`: version in force; `reload(id)` tries the candidate of this id."""
        self._sealer = sealer
        self._kept = kept
        self._adoption = Adoption(running)
        self._reload = reload
        self._tell = tell
        self._trying: Version | None = None
        self._serving = False
        self._look = asyncio.Event()
        self._odd = ""
        self.settled = running is not None
        """Does this node run what is published, as far as it can know?"""

    @property
    def standing(self) -> Standing:
        """Return how far this node is."""
        return self._adoption.standing()._replace(group=self._sealer.group)

    def serve(self, serving: bool) -> None:
        """Note whether reloads are possible: not while edgewise starts or stops."""
        if serving is not self._serving:
            self._serving = serving
            self._look.set()

    def loaded(self, running: Version | None) -> None:
        """Note a reload that this did not ask for: what was refused is tried again."""
        if self._trying is None or running != self._trying:
            self._adoption.reloaded(running)
            self._look.set()

    async def run(self, engine: StateEngine) -> None:
        """Follow until cancelled."""
        versions = Versions(engine, self._sealer)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(engine, versions.topic))
            group.create_task(self._follow(versions))

    async def _follow(self, versions: Versions) -> None:
        """Take what is published, now and whenever there may be something new."""
        while True:
            self._look.clear()
            try:
                await self._take(versions)
            except StateUnavailable as error:
                log.debug("published configurations cannot be read: %s", error)
            except (StateError, OSError) as error:
                log.error("published configurations are not taken: %s", error)
            self.settled = self.settled or self._serving
            self._tell(self.standing)
            with contextlib.suppress(
                TimeoutError
            ):  # not wait_for, whose cancellation is lost where the event comes along
                async with asyncio.timeout(EVERY):
                    await self._look.wait()

    async def _listen(self, engine: StateEngine, topic: str) -> None:
        """Look whenever there is something new."""
        while True:
            with contextlib.suppress(StateError):
                async for _ in engine.subscribe(topic, await engine.last(topic)):
                    self._look.set()
            await asyncio.sleep(_RETRY)
            self._look.set()

    async def _take(self, versions: Versions) -> None:
        """Try what is wanted, until nothing is. Raises StateError and OSError."""
        while True:
            wanted = self._adoption.wanted((await versions.published()).versions)
            if (odd := self._adoption.odd()) != self._odd:
                self._odd = odd
                if odd:
                    log.error("%s: it goes on", odd)
            if wanted is None:
                return
            if not self._serving:
                self._adoption.waits("edgewise starts or stops")
                return
            await self._try(versions, wanted)
            self._tell(self.standing)

    async def _try(self, versions: Versions, version: Version) -> None:
        """Try a version. Raises StateError and OSError."""
        try:
            content = await versions.content(version)
        except NotSealed as error:
            self._refuse(version, str(error))
            return
        if content is None:
            self._refuse(version, "its content is no longer kept")
            return
        self._adoption.waits("it is being loaded")
        self._tell(self.standing)
        self._kept.propose(version, content)
        self._trying = version
        try:
            result = await self._reload(version.id)
        finally:
            self._trying = None
            self._kept.drop()
        if result.problems:
            self._refuse(version, "; ".join(map(_text, result.problems)))
        else:
            self._adoption.took(version)
            log.info("configuration version %d by %s runs", version.number, version.by)

    def _refuse(self, version: Version, reason: str) -> None:
        log.error("configuration version %d by %s is refused: %s", version.number, version.by, reason)
        self._adoption.refused(version, reason)


def _text(problem: ReloadProblem) -> str:
    found = Problem(problem.file, problem.line or 0, problem.key, problem.message, problem.expected, problem.nearest)
    return str(found)
