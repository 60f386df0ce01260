"""Nodes tell each other which servers they find failing. A hint makes a node look for itself, and nothing more.

So a node whose own network is broken, which finds every server failing, takes none of them from the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from edgewise.contracts.state import StateError

if TYPE_CHECKING:
    from edgewise.contracts.sealing import Sealer
    from edgewise.contracts.state import StateEngine

log = logging.getLogger("edgewise.cluster")
PURPOSE = "health hints"
"""What the nodes' secret is used for here; see `Sealer`."""
LIFE = 15.0
"""Seconds for which a hint is heeded, by the clocks of both nodes."""
QUIET = 10.0
"""Seconds between two hints about one server, told or heeded."""
_KEYS = 4096
_RETRY = 1.0
_WAITING = 64

Cause = Literal["check", "ejection"]


class Hint(msgspec.Struct):
    """What one node tells the others."""

    node: str
    server: str
    """`upstream/server`."""
    cause: Cause
    """A check that failed, or requests that did."""
    at: float
    """Unix time."""


class Bounds:
    """At most one hint about a server in QUIET seconds, and `burst` of all, refilled by `rate` a second."""

    def __init__(self, burst: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._rate = rate
        self._clock = clock
        self._left = burst
        self._filled = clock()
        self._last: dict[str, float] = {}

    def allow(self, server: str) -> bool:
        """Take one, if that is within the bounds."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._filled) * self._rate)
        self._filled = now
        if now - self._last.get(server, now - QUIET) < QUIET or self._left < 1 or not self._room(now):
            return False
        self._left -= 1
        self._last[server] = now
        return True

    def note(self, server: str) -> None:
        """Count a hint about a server that came another way."""
        now = self._clock()
        if self._room(now):
            self._last[server] = now

    def _room(self, now: float) -> bool:
        if len(self._last) >= _KEYS:
            self._last = {server: at for server, at in self._last.items() if now - at < QUIET}
        return len(self._last) < _KEYS


class Hints:
    """Tells what is found here, and has `look(server)` look where others found something.

    `look` returns whether there is anything to do about a server here.
    """

    def __init__(self, sealer: Sealer, node: str, look: Callable[[str], bool]) -> None:
        self._sealer = sealer
        self._node = node
        self._look = look
        self._topic = f"health-hints-{sealer.group}"
        self._telling = Bounds(burst=10, rate=1.0)
        self._heeding = Bounds(burst=20, rate=5.0)
        self._waiting: asyncio.Queue[Hint] = asyncio.Queue(_WAITING)
        self.counts: Counter[str] = Counter()
        """Hints told, heeded and passed over."""

    def found(self, server: str, cause: Cause) -> None:
        """Tell the others that a server fails here, if this was not told lately."""
        if self._waiting.full() or not self._telling.allow(server):
            self.counts["withheld"] += 1
            return
        self._waiting.put_nowait(Hint(self._node, server, cause, time.time()))

    async def run(self, engine: StateEngine) -> None:
        """Tell and listen until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell(engine))
            group.create_task(self._listen(engine))

    async def _tell(self, engine: StateEngine) -> None:
        while True:
            hint = await self._waiting.get()
            sealed = self._sealer.seal(msgspec.json.encode(hint), self._topic)
            try:
                await engine.publish(self._topic, sealed)
            except StateError as error:
                log.debug("other nodes are not told of %s: %s", hint.server, error)
            else:
                self.counts["told"] += 1

    async def _listen(self, engine: StateEngine) -> None:
        while True:
            with contextlib.suppress(StateError):
                after = await engine.last(self._topic)
                log.info("hints of other nodes are heard")
                async for message in engine.subscribe(self._topic, after):
                    self.heard(message.payload)
            await asyncio.sleep(_RETRY)

    def heard(self, payload: bytes) -> None:
        """Look for oneself, where another node told of a failure lately and that is within the bounds."""
        hint = self._opened(payload)
        if hint is not None and hint.node == self._node:
            return
        if hint is None or abs(time.time() - hint.at) > LIFE or not self._heeding.allow(hint.server):
            self.counts["passed over"] += 1
            return
        self._telling.note(hint.server)  # the others know
        if self._look(hint.server):
            self.counts["heeded"] += 1
            log.info("%s: node %s finds it failing (%s), looking", hint.server, hint.node, hint.cause)

    def _opened(self, payload: bytes) -> Hint | None:
        plain = self._sealer.open(payload, self._topic)
        try:
            return None if plain is None else msgspec.json.decode(plain, type=Hint)
        except msgspec.DecodeError:  # of another release
            return None
