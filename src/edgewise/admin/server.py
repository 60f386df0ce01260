"""Runs the admin application on sockets that are already open, in a loop that is already running."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

_GRACE = 1
"""Seconds that answers under way get at the end."""


class AdminServer:
    """uvicorn without its signal handlers, its notes of what goes well, and its lifespan.

    `sockets` are bound (TCP or Unix); they are closed by `stop`.
    """

    def __init__(self, app: Starlette, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self._server = _Server(
            uvicorn.Config(
                app,
                loop="none",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve; raises what uvicorn raises where it cannot."""
        self._task = asyncio.create_task(self._server.serve(self._sockets), name="edgewise-admin")
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0)
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        """Answer what is under way, within a second, and close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        for each in self._sockets:
            each.close()


class _Server(uvicorn.Server):
    """The signals belong to the process that edgewise runs, not to its admin address."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
