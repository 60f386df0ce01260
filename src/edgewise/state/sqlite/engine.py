"""The embedded engine as its clients see it: writes go to the writer, reads to the files."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from edgewise.contracts import state as s
from edgewise.state.clock import since_boot
from edgewise.state.sqlite import wire
from edgewise.state.sqlite.client import WriterClient
from edgewise.state.sqlite.reader import Reader

_LOOK_AGAIN = 1.0
"""Seconds after which a subscriber looks by itself, should a notice have been lost with a connection."""
_BLOBS_OF_A_PAGE = 16


class SqliteEngine:
    """`contracts.state.StateEngine` on the files of one directory. Make it on the running event loop.

    A read is a call into SQLite on the calling thread (microseconds, from the page cache as a rule).
    """

    def __init__(self, directory: Path, *, patience: float = 2.0, steady: Callable[[], float] = since_boot) -> None:
        self._reader = Reader(directory, steady)
        self._waiting: set[asyncio.Event] = set()
        self._client = WriterClient(directory, patience, lambda topics: self._wake(), self._wake)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()

    async def get(self, key: str, *, stale: bool = False) -> s.Entry | None:
        """Read the file: no writer is needed, so `stale` changes nothing."""
        return self._reader.get("keys", s.check_key(key))

    async def get_all(self, keys: list[str]) -> list[s.Entry]:
        """Return the entries that are there."""
        return [entry for key in keys if (entry := self._reader.get("keys", s.check_key(key))) is not None]

    def snapshot(self, key: str) -> s.Snapshot:
        """Read the file, and be able to tell later whether that still holds."""
        return self._reader.snapshot(s.check_key(key))

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Write; acknowledged after the commit."""
        return await self._set("keys", key, s.check_value(value), ttl, None) or 0

    async def compare_and_set(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int | None:
        """Write where the key is at `revision`."""
        return await self._set("keys", key, s.check_value(value), ttl, revision)

    async def _set(
        self, space: wire.Space, key: str, value: bytes, ttl: float | None, revision: int | None
    ) -> int | None:
        request = wire.Set(self._client.next_id(), space, s.check_key(key), value, _ms(s.check_ttl(ttl)), revision)
        result: int | None = await self._client.ask(request)
        return result

    async def touch(self, key: str, ttl: float) -> bool:
        """Change the time to live."""
        request = wire.Touch(self._client.next_id(), s.check_key(key), _ms(s.check_ttl(ttl)) or 1)
        return bool(await self._client.ask(request))

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete an entry."""
        return bool(await self._client.ask(wire.Delete(self._client.next_id(), "keys", s.check_key(key), revision)))

    async def entries(self, prefix: str, after: str = "", limit: int = s.PAGE) -> list[s.Entry]:
        """Return entries by prefix."""
        return self._reader.entries("keys", s.check_prefix(prefix), after, s.check_limit(limit))

    async def add(self, name: str, amount: int = 1, window: float | None = None) -> s.Count:
        """Add to a counter."""
        window_ms = _ms(s.check_window(window))
        request = wire.Add(self._client.next_id(), s.check_key(name), s.check_amount(amount), window_ms)
        value, left = await self._client.ask(request)
        return s.Count(value, None if left is None else left / 1000)

    async def count(self, name: str, window: float | None = None) -> int:
        """Return a counter."""
        return self._reader.count(s.check_key(name), _ms(s.check_window(window)))

    async def publish(self, topic: str, payload: bytes) -> int:
        """Append to a topic."""
        request = wire.Publish(self._client.next_id(), s.check_topic(topic), s.check_value(payload))
        cursor: int = await self._client.ask(request)
        return cursor

    async def subscribe(self, topic: str, after: int) -> AsyncIterator[s.Message]:
        """Yield messages; the file is read again whenever the writer says that topics grew, or was away."""
        s.check_topic(topic)
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            while True:
                event.clear()
                found: list[s.Message] = []
                with contextlib.suppress(s.StateUnavailable):
                    found = self._reader.messages(topic, after, s.PAGE)
                for message in found:
                    yield message
                    after = message.cursor
                if not found:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(event.wait(), _LOOK_AGAIN)
        finally:
            self._waiting.discard(event)

    async def messages(self, topic: str, after: int, limit: int = s.PAGE) -> list[s.Message]:
        """Return messages after a cursor."""
        return self._reader.messages(s.check_topic(topic), after, s.check_limit(limit))

    async def last(self, topic: str) -> int:
        """Return a topic's last cursor."""
        return self._reader.last(s.check_topic(topic))

    async def acquire(self, name: str, owner: str, ttl: float) -> s.Lease | None:
        """Take a lease."""
        s.check_ttl(ttl, 1.0)
        asked = time.monotonic()
        request = wire.Acquire(self._client.next_id(), s.check_key(name), s.check_key(owner), _ms(ttl) or 0)
        token = await self._client.ask(request)
        return None if token is None else s.Lease(name, owner, token, asked + ttl)

    async def renew(self, lease: s.Lease, ttl: float) -> s.Lease | None:
        """Prolong a lease."""
        s.check_ttl(ttl, 1.0)
        asked = time.monotonic()
        request = wire.Renew(self._client.next_id(), lease.name, lease.token, _ms(ttl) or 0)
        return lease._replace(deadline=asked + ttl) if await self._client.ask(request) else None

    async def release(self, lease: s.Lease) -> None:
        """Give a lease back."""
        await self._client.ask(wire.Release(self._client.next_id(), lease.name, lease.token))

    async def put_blob(self, key: str, data: bytes, ttl: float | None = None) -> None:
        """Keep a blob."""
        await self._set("blobs", key, s.check_value(data, s.BLOB_BYTES), ttl, None)

    async def get_blob(self, key: str) -> bytes | None:
        """Return a blob."""
        found = self._reader.get("blobs", s.check_key(key))
        return None if found is None else found.value

    async def delete_blob(self, key: str) -> bool:
        """Delete a blob."""
        return bool(await self._client.ask(wire.Delete(self._client.next_id(), "blobs", s.check_key(key), None)))

    async def scan(self) -> AsyncIterator[list[s.Entry]]:
        """Yield every entry, in pages."""
        async for page in self._pages("keys"):
            yield page

    async def scan_blobs(self) -> AsyncIterator[list[s.Entry]]:
        """Yield every blob, in pages."""
        async for page in self._pages("blobs"):
            yield page

    async def _pages(self, space: wire.Space) -> AsyncIterator[list[s.Entry]]:
        after = ""
        while page := self._reader.entries(space, "", after, s.PAGE if space == "keys" else _BLOBS_OF_A_PAGE):
            yield page
            after = page[-1].key

    async def scan_counters(self) -> AsyncIterator[list[tuple[str, int]]]:
        """Yield every counter without a window, in pages."""
        after = ""
        while page := self._reader.counters(after, s.PAGE):
            yield page
            after = page[-1][0]

    async def restore_counter(self, name: str, value: int) -> None:
        """Have a counter be at least `value`."""
        await self._client.ask(wire.Restore(self._client.next_id(), s.check_key(name), value, None))

    async def floors(self) -> tuple[int, int]:
        """Return the last revision and the last fencing token."""
        return self._reader.floors()

    async def raise_floors(self, revision: int, token: int) -> bool:
        """Have revisions and tokens go on above these."""
        await self._client.ask(wire.Raise(self._client.next_id(), revision, token))
        return True

    async def status(self) -> s.EngineStatus:
        """Return how much there is."""
        return self._reader.status()

    async def close(self) -> None:
        """Disconnect from the writer and close the files."""
        await self._client.close()
        self._reader.close()


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, round(seconds * 1000))
