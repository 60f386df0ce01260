"""Waits for the first addresses of upstreams whose servers are names, so that no request comes before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewise.router.discovery import Discovery

if TYPE_CHECKING:
    import asyncio

    from edgewise.contracts.table import Table

PATIENCE = 3.0
"""Seconds after which a generation is taken over even though a name has no address yet."""


class Resolution:
    """Looks up the names of a table that has not served yet; `done` runs once, at once where nothing is missing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, table: Table, done: Callable[[], None]) -> None:
        self._loop = loop
        self._table = table
        self._done: Callable[[], None] | None = done
        self._discovery: Discovery | None = None
        self._timeout: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        if not self._missing():
            self._finish()
            return
        self._timeout = self._loop.call_later(PATIENCE, self._finish)
        self._discovery = Discovery(self._found)
        self._loop.call_soon(self._follow)

    def _follow(self) -> None:
        """Look the names up; runs within the loop, whose tasks do the work."""
        if self._discovery is not None:
            self._discovery.follow(self._table)

    def _missing(self) -> bool:
        return any(upstream.names and not upstream.endpoints for upstream in self._table.upstreams.values())

    def _found(self) -> None:
        if not self._missing():
            self._finish()

    def _finish(self) -> None:
        done, self._done = self._done, None
        self.cancel()
        if done is not None:
            done()

    def cancel(self) -> None:
        """Stop; `done` does not run any more."""
        self._done = None
        if self._timeout is not None:
            self._timeout.cancel()
        if self._discovery is not None:
            self._discovery.close()
            self._discovery = None
