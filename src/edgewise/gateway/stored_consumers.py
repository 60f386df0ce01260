"""Consumers that were added at run time: a copy in each worker, which follows the state engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from edgewise.contracts.state import PAGE, Entry, ReplayGap, StateEngine, StateError
from edgewise.gateway.consumer_records import PREFIX, TOPIC, decoded
from edgewise.gateway.consumers import Consumer

_RETRY = 0.5
_LOOK = 2.0
"""Seconds between two looks at whether the engine is there and everything was heard."""
_PATIENCE = 3.0
"""Seconds that a request waits for the first reading."""
_ANEW = 60.0
"""Seconds after which all are read again, at least; and a hundred times what that takes."""
_log = logging.getLogger("edgewise.gateway")


class StoredConsumers:
    """A `contracts.policies.Service`. While the engine is lost, what was known before goes on to hold."""

    def __init__(self, opening: Callable[[], Awaitable[StateEngine]]) -> None:
        """`opening` returns the engine, or raises StateError."""
        self._opening = opening
        self.named: dict[str, Consumer] = {}
        self.by_digest: dict[bytes, Consumer] = {}
        """By the SHA-256 of an API key."""
        self.version = 0
        """Changes with what is known."""
        self.loaded = asyncio.Event()
        """All were read once."""
        self._revisions: dict[str, int] = {}
        """Of what was read, by name; also of what could not be used."""
        self._lock = asyncio.Lock()
        """What is read of one consumer is taken before it is read again."""
        self._reread: set[str] = set()
        """Names that were read singly while all are read: that may be older."""
        self._heard = 0
        self._lost = False

    async def wait_loaded(self) -> bool:
        """Wait until all were read once, for a bounded time; False: they were not."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.loaded.wait()
        except TimeoutError:
            return False
        return True

    async def refresh(self, name: str) -> None:
        """Read a consumer anew, and go by that from now on. Raises StateError."""
        engine = await self._opening()
        async with self._lock:
            entry = await engine.get(PREFIX + name)
            self._reread.add(name)
            self._take(name, entry)

    # ---- the task ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the engine until cancelled."""
        while True:
            try:
                await self._follow(await self._opening())
            except ReplayGap as error:
                _log.warning("all consumers are read anew: %s", error)
            except StateError as error:
                self._note_lost(error)
            await asyncio.sleep(_RETRY)

    async def _follow(self, engine: StateEngine) -> None:
        """Read all, then what changes. Raises StateError."""
        self._heard = await engine.last(TOPIC)
        self._revisions = dict.fromkeys(self._revisions, -1)  # they may be those of a history that is lost
        await self._read_all(engine)
        self._note_back()
        tasks = [asyncio.create_task(work(engine)) for work in (self._hear, self._look)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, engine: StateEngine) -> None:
        async for message in engine.subscribe(TOPIC, self._heard):
            await self.refresh(message.payload.decode("utf-8", "replace"))
            self._heard = message.cursor

    async def _look(self, engine: StateEngine) -> None:
        """Find out whether the engine is there, and whether something was missed. Raises StateError."""
        anew = monotonic() + _ANEW
        behind = -1
        while True:
            await asyncio.sleep(_LOOK)
            heard = self._heard
            newest = await engine.last(TOPIC)
            if newest < heard or (newest > heard and behind == heard):
                raise ReplayGap(f"the engine knows of {newest} changes, this worker of {heard}")
            behind = heard if newest > heard else -1
            if monotonic() >= anew:
                took = -monotonic()
                await self._read_all(engine)
                took += monotonic()
                anew = monotonic() + max(_ANEW, 100 * took)

    async def _read_all(self, engine: StateEngine) -> None:
        self._reread.clear()
        gone = set(self._revisions)
        after = ""
        while True:
            page = await engine.entries(PREFIX, after)
            for entry in page:
                name = entry.key.removeprefix(PREFIX)
                gone.discard(name)
                if name not in self._reread and self._revisions.get(name) != entry.revision:
                    self._take(name, entry)
            if len(page) < PAGE:
                break
            after = page[-1].key
        for name in gone - self._reread:
            self._take(name, None)
        self.loaded.set()

    # ---- what is known -----------------------------------------------------------------------------------------------

    def _take(self, name: str, entry: Entry | None) -> None:
        """Go by what was read of a name; None: there is no such consumer any more."""
        self._revisions.pop(name, None)
        before = self.named.pop(name, None)
        if before is not None:
            for digest in before.digests:
                self.by_digest.pop(digest, None)
        if entry is not None:
            self._revisions[name] = entry.revision
            try:
                consumer = _consumer(entry)
            except (StateError, ValueError) as error:
                _log.error("consumer %s cannot be used: %s", name, error)
            else:
                self.named[name] = consumer
                self.by_digest.update(dict.fromkeys(consumer.digests, consumer))
        self.version += 1

    def _note_lost(self, error: StateError) -> None:
        if not self._lost:
            known = "what was known holds on" if self.loaded.is_set() else "none is known"
            _log.warning("consumers cannot be followed, %s: %s", known, error)
        self._lost = True

    def _note_back(self) -> None:
        if self._lost:
            _log.info("consumers are followed again")
        self._lost = False


def _consumer(entry: Entry) -> Consumer:
    """Raises StateError and ValueError for what cannot be read."""
    record = decoded(entry.value)
    return Consumer(
        record.name,
        digests=[bytes.fromhex(key.digest) for key in record.keys],
        passwords=record.passwords,
        groups=record.groups,
        scopes=record.scopes,
        claims=record.claims,
    )
