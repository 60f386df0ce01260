"""The control process's part in shared state: signs of life, and the housekeeping that one process of a node does."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import socket
import time
from typing import TYPE_CHECKING

from edgewise import __version__
from edgewise.contracts.state import StateError, StateUnavailable
from edgewise.server.secret import state_directory
from edgewise.server.tasks import end
from edgewise.state import nodes
from edgewise.state.opening import Options, open_engine

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.server.generation import Generation
    from edgewise.state.adoption import Standing
    from edgewise.state.transfer import Portable

log = logging.getLogger("edgewise.state")
_RETRY = 2.0
_UNFIT = re.compile(r"[^A-Za-z0-9._-]")


class Membership:
    """Keeps this node listed at the engine; without [state] it does nothing."""

    def __init__(self, generation: Generation) -> None:
        self._state = generation.config.state
        host = socket.gethostname()
        self._node = nodes.Node(
            id=f"{_UNFIT.sub('-', host)[:64]}-{secrets.token_hex(4)}",
            host=host,
            pid=os.getppid(),
            version=__version__,
            started=time.time(),
            generation=generation.number,
            config=configuration_digest(generation.config),
        )
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def id(self) -> str:
        """Name of this node among those that share the engine; another one after each start."""
        return self._node.id

    def start(self) -> None:
        """Begin."""
        if self._state is not None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def load(self, generation: Generation) -> None:
        """Tell of another generation from the next sign of life on."""
        self._node.generation = generation.number
        self._node.config = configuration_digest(generation.config)
        self._changed.set()

    def acknowledge(self, standing: Standing) -> None:
        """Tell at once how far this node is with the published configuration."""
        if self._node.standing != standing:
            self._node.standing = standing
            self._changed.set()

    async def _run(self) -> None:
        assert self._state is not None
        options = Options.of(self._state, state_directory())
        while True:
            try:
                engine = await open_engine(self._state.url, options)
                break
            except StateError as error:
                log.error("shared state cannot be used: %s", error)
                await asyncio.sleep(_RETRY)
        keep_copy = getattr(engine, "keep_copy", None)
        if keep_copy is not None:
            keep_copy()
        try:
            await self._tell(engine)
        finally:
            with contextlib.suppress(StateError, TimeoutError):
                await asyncio.wait_for(nodes.leave(engine, self._node), 1.0)
            await engine.close()

    async def _tell(self, engine: Portable) -> None:
        lost = False
        sweep = getattr(engine, "sweep", None)
        while True:
            self._changed.clear()
            try:
                await nodes.tell(engine, self._node)
                if sweep is not None:
                    await sweep()
                if lost:
                    log.info("the engine of shared state answers again")
                lost = False
            except StateUnavailable as error:
                if not lost:
                    log.error("the engine of shared state is lost: %s", error)
                lost = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY if lost else nodes.EVERY):
                    await self._changed.wait()

    async def close(self) -> None:
        """Leave."""
        if self._task is not None:
            await end(self._task)


def configuration_digest(config: Config) -> str:
    """Return 12 digits that are equal where configurations are, what is each node's own left out."""
    values = config.model_dump(mode="json", include={"routes", "tcp", "tls", "upstreams"})
    values["tls"].pop("directory")
    for upstream in values["upstreams"].values():
        if upstream["sticky"] is not None:
            upstream["sticky"].pop("secret")
        if upstream["app"] is not None:
            upstream.pop("servers")
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
