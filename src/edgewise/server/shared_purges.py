"""Purges of all nodes: a task of the control process tells this node's, does those of others, says how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from edgewise.cache.purges import Kind
from edgewise.contracts.state import VALUE_BYTES, Message, ReplayGap, StateEngine, StateError, StateUnavailable
from edgewise.server import messages as m
from edgewise.server.secret import state_directory
from edgewise.server.tasks import end
from edgewise.state import nodes
from edgewise.state.opening import Options, open_engine

if TYPE_CHECKING:
    from edgewise.config.state import State
    from edgewise.server.purge_ledger import PurgeLedger

log = logging.getLogger("edgewise.cache")
TOPIC = "cache-purges"
POSITIONS = "cache-purge-positions"
"""Topic on which nodes say how far they are, where somebody waits for that."""
HISTORY = "cache-purges-history"
"""Key of what an engine loses where it loses what was published: cursors of before mean nothing then."""
_RETRY = 1.0
_LOOK = 1.0
"""Seconds between two looks at whether everything was heard."""
_LAST = 1.0
"""Seconds for what waits when this node stops."""
_LIST = 1.0
"""Seconds between two looks at who is alive, while somebody waits for all."""
_MOST_BYTES = VALUE_BYTES - 1024
_MOST_NODES = 4096
_EVERYTHING = [m.PurgeSpec(Kind.ALL)]


class Told(msgspec.Struct):
    """What one node tells the others."""

    node: str
    purges: list[m.PurgeSpec]
    ask: bool
    """Are they to say when they have done it?"""


class Position(msgspec.Struct):
    """Every worker of a node has done what was published up to a cursor."""

    node: str
    cursor: int


class SharedPurges:
    """Runs from `start` to `close`. What is told and how far was heard survives it in the supervisor's ledger."""

    def __init__(
        self,
        state: State,
        node: str,
        ledger: PurgeLedger,
        purge: Callable[[list[m.PurgeSpec]], Awaitable[None]],
        send: Callable[[m.ToSupervisor], None],
    ) -> None:
        """`purge` has every worker of this node purge; `node` names it among the others."""
        self._state = state
        self._node = node
        self._cursor = ledger.cursor
        self._history = ledger.history
        self._waiting = list(ledger.waiting.values())
        self._more = asyncio.Event()
        self._purge = purge
        self._send = send
        self._looked = (0, 0.0)
        """The last cursor there was, and when."""
        self._published: dict[int, asyncio.Future[int]] = {}
        """Request -> cursor of its last message."""
        self._positions: dict[str, int] = {}
        self._moved = asyncio.Event()
        self._engine: StateEngine | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop, once other nodes are told of what waits, or cannot be within a moment."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST):
                    while self._waiting:
                        await asyncio.sleep(_LAST / 50)
            await end(self._task)

    def tell(self, told: m.PurgeTold) -> None:
        """Tell other nodes, now or when the engine answers again."""
        if told.purges == _EVERYTHING:
            self._waiting.clear()  # as the ledger does, when there is too much
        self._waiting.append(told)
        self._more.set()

    def expect(self, request: int) -> asyncio.Future[int]:
        """Return what becomes the cursor of a request's purges, once they are with the engine."""
        future = self._published[request] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: self._published.pop(request, None))
        return future

    async def everywhere(self, published: asyncio.Future[int], patience: float) -> tuple[int, tuple[str, ...]]:
        """Wait until every node that is alive has done what was expected; return (how many have, which have not).

        Raises StateUnavailable where others could not even be told within `patience` seconds.
        """
        deadline = monotonic() + patience
        late: tuple[str, ...] = ()
        listed: list[str] = []
        try:
            async with asyncio.timeout(patience):
                cursor = await published
                while True:
                    listed = await self._listed()
                    again = min(monotonic() + _LIST, deadline)
                    while (late := self._late(listed, cursor)) and monotonic() < again:
                        await self._wait_for_a_move(again)
                    if not late:
                        return max(len(listed), 1), ()
        except TimeoutError:
            if not published.done() or published.cancelled():
                raise StateUnavailable("it did not take what other nodes are to purge") from None
            if not listed:
                raise StateUnavailable("it did not say which nodes are alive") from None
            return len(listed) - len(late), late
        finally:
            published.cancel()

    async def _listed(self) -> list[str]:
        """Return the nodes that are alive; waits while the engine is away."""
        while True:
            if self._engine is not None:
                with contextlib.suppress(StateError):
                    found = [node.id for node in await nodes.nodes(self._engine)]
                    if len(self._positions) > _MOST_NODES:
                        self._positions = {node: self._positions[node] for node in found if node in self._positions}
                    return found
            await asyncio.sleep(_RETRY)

    def _late(self, listed: list[str], cursor: int) -> tuple[str, ...]:
        return tuple(node for node in listed if node != self._node and self._positions.get(node, 0) < cursor)

    async def _wait_for_a_move(self, until: float) -> None:
        self._moved.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until - monotonic()):
                await self._moved.wait()

    # ---- the task ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            engine = await self._opened()
            self._engine = engine
            try:
                async with asyncio.TaskGroup() as group:
                    for work in (self._tell_others, self._follow, self._look, self._hear_positions):
                        group.create_task(work(engine))
            except Exception:  # a defect, or a worker that does not answer, must not cut this node off for good
                log.exception("sharing purges with other nodes failed, and begins anew")
            finally:
                self._engine = None
                await engine.close()
            await asyncio.sleep(_RETRY)

    async def _opened(self) -> StateEngine:
        options = replace(Options.of(self._state, state_directory()), local_copy=None)
        while True:
            try:
                return await open_engine(self._state.url, options)
            except StateError as error:
                log.warning("purges are not shared with other nodes: %s", error)
            await asyncio.sleep(_RETRY)

    async def _tell_others(self, engine: StateEngine) -> None:
        """Publish what waits, all that came meanwhile together."""
        while True:
            batch = list(self._waiting)
            if not batch:
                self._more.clear()
                await self._more.wait()
                continue
            try:
                cursor = await self._publish(engine, batch)
            except StateError as error:
                log.warning("purges wait, as other nodes cannot be told: %s", error)
                await asyncio.sleep(_RETRY)
                continue
            numbers = [told.number for told in batch]
            self._waiting = [told for told in self._waiting if told.number not in numbers]
            self._send(m.PurgesPublished(numbers))
            for told in batch:
                expected = self._published.get(told.request)
                if expected is not None and not expected.done():
                    expected.set_result(cursor)

    async def _publish(self, engine: StateEngine, batch: list[m.PurgeTold]) -> int:
        """Publish in as few messages as they fit; return the last one's cursor. Raises StateError."""
        ask = any(told.request for told in batch)
        cursor = 0
        for purges in pieces([spec for told in batch for spec in told.purges]):
            cursor = await engine.publish(TOPIC, msgspec.json.encode(Told(self._node, purges, ask)))
        return cursor

    async def _follow(self, engine: StateEngine) -> None:
        """Do what other nodes tell, from where this node is; where that is not known, begin with nothing stored."""
        while True:
            try:
                history = await history_of(engine)
                if self._cursor is None or history != self._history:
                    now = await engine.last(TOPIC)
                    await self._purge(_EVERYTHING)
                    self._history = history
                    self._note(now)
                assert self._cursor is not None
                await self._tell_position(engine)
                log.info("purges of other nodes are heard from %d on", self._cursor)
                async for message in engine.subscribe(TOPIC, self._cursor):
                    await self._do(engine, message)
            except ReplayGap:
                log.warning("purges were missed that are not kept any more: everything is purged")
                self._cursor = None
            except StateError as error:
                log.debug("purges of other nodes cannot be heard: %s", error)
            await asyncio.sleep(_RETRY)

    async def _do(self, engine: StateEngine, message: Message) -> None:
        told = opened(message.payload)
        if told.node != self._node:
            await self._purge(told.purges)
        self._note(message.cursor)
        if told.ask and told.node != self._node:
            await self._tell_position(engine)

    async def _tell_position(self, engine: StateEngine) -> None:
        assert self._cursor is not None
        await engine.publish(POSITIONS, msgspec.json.encode(Position(self._node, self._cursor)))

    def _note(self, cursor: int) -> None:
        """Have the supervisor keep how far this node is."""
        self._cursor = cursor
        newest, at = self._looked
        self._send(m.PurgesHeard(cursor, self._history, at if cursor >= newest else 0.0))

    async def _look(self, engine: StateEngine) -> None:
        """Find out whether everything was heard. Raises ReplayGap where the engine lost what had been."""
        while True:
            now, before = monotonic(), self._cursor
            with contextlib.suppress(StateUnavailable):
                newest = await engine.last(TOPIC)
                if before is not None and (newest < before or await history_of(engine) != self._history):
                    self._cursor = None
                    raise ReplayGap(f"the engine lost purges: it knows of {newest}, this node of {before}")
                self._looked = newest, now
                if self._cursor is not None:
                    self._note(self._cursor)
            await asyncio.sleep(_LOOK)

    async def _hear_positions(self, engine: StateEngine) -> None:
        while True:
            with contextlib.suppress(StateError):
                async for message in engine.subscribe(POSITIONS, await engine.last(POSITIONS)):
                    with contextlib.suppress(msgspec.DecodeError):
                        position = msgspec.json.decode(message.payload, type=Position)
                        self._positions[position.node] = position.cursor
                        self._moved.set()
            await asyncio.sleep(_RETRY)


async def history_of(engine: StateEngine) -> str:
    """Return what names the engine's history, as the first node that asked began it. Raises StateUnavailable."""
    if await engine.get(HISTORY) is None:
        await engine.compare_and_set(HISTORY, token_hex(16).encode(), 0)
    found = await engine.get(HISTORY)
    if found is None:
        raise StateUnavailable("it lost what it was just told")
    return found.value.decode("latin-1")


def opened(payload: bytes) -> Told:
    """Return what another node told; what this release does not understand may concern everything."""
    try:
        told = msgspec.json.decode(payload, type=Told)
        for spec in told.purges:
            Kind(spec.kind)
            spec.value.encode("latin-1")
    except (msgspec.DecodeError, ValueError):
        log.warning("another node purged what this release does not understand: everything is purged")
        return Told("", _EVERYTHING, True)
    return told


def pieces(purges: list[m.PurgeSpec]) -> Iterator[list[m.PurgeSpec]]:
    """Yield purges in lists that fit in a message each."""
    piece: list[m.PurgeSpec] = []
    size = 0
    for spec in purges:
        length = len(msgspec.json.encode(spec)) + 1
        if piece and size + length > _MOST_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(spec)
        size += length
    yield piece
