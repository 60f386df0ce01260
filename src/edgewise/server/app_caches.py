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

    async def purge(self, tags: Iterable[str]) -> None:
        """Let no app use what has one of the tags and was begun before this returns. Raises StateError."""
        digests = [tag_digests([tag]) for tag in tags]
        if self._opening is None or not digests:
            return
        engine = await self._opening()
        stores = [Store(engine, Memory(0), name, 0.0) for name in await namespaces(engine)]
        await asyncio.gather(*(store.purge(digest) for store in stores for digest in digests))
