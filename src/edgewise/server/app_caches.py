"""The caches of apps on this node's state engine, as the control process purges them by tag."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from edgewise.contrib.cache.memory import Memory
from edgewise.contrib.cache.store import Store, namespaces, tag_digests
from edgewise.router.sessions import EngineOpening

if TYPE_CHECKING:
    from edgewise.config.state import State


class AppCaches:
    """All namespaces there are. The engine is opened when it is first needed; without one there are no such caches."""

    def __init__(self, state: State | None) -> None:
        self._opening = EngineOpening(state) if state is not None else None

    async def purge(self, tags: Iterable[str], *, everything: bool = False) -> float:
        """Let no app use what has one of the tags, or anything, that was begun before this returns. Raises StateError.

        Returns the seconds for which a process may go on with it, on engines that cannot tell it at once.
        """
        digests = [tag_digests([tag]) for tag in tags]
        if self._opening is None or not (digests or everything):
            return 0.0
        engine = await self._opening()
        found = await namespaces(engine)
        stores = [Store(engine, Memory(0), name, 0.0) for name in found]
        if everything:
            await asyncio.gather(*(store.purge_all() for store in stores))
        else:
            await asyncio.gather(*(store.purge(digest) for store in stores for digest in digests))
        return max(found.values(), default=0.0)
