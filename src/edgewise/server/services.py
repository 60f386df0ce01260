"""What policies need done beside requests: each service has a task of its own, over reloads too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from edgewise.contracts.policies import Service

_PAUSE = 5.0
"""Seconds after which a service that failed is run again."""
_LAST_WORDS = 2.0
"""Seconds for what services do at their end."""
_log = logging.getLogger("edgewise.gateway")


class Services:
    """The services that run in this worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._running: dict[Service, asyncio.Task[None]] = {}

    def follow(self, services: Iterable[Service]) -> None:
        """Run these and no others; those that run already go on."""
        wanted = set(services)
        for service in self._running.keys() - wanted:
            self._running.pop(service).cancel()
        for service in wanted - self._running.keys():
            self._running[service] = self._loop.create_task(_run(service))

    def close(self) -> None:
        """End all of them, once the loop has stopped; what they do when cancelled has a moment."""
        ending = list(self._running.values())
        self.follow(())
        if ending:
            self._loop.run_until_complete(asyncio.wait(ending, timeout=_LAST_WORDS))


async def _run(service: Service) -> None:
    while True:
        try:
            await service.run()
            return
        except Exception:
            _log.exception("%s failed, and is run again", type(service).__name__)
        await asyncio.sleep(_PAUSE)
