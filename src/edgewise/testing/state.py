"""A state engine in memory, for tests of what stands on one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from edgewise.contracts import state as s


class MemoryStateEngine:
    """`contracts.state.StateEngine` in this process. `clock` returns seconds; `lost = True` makes it unavailable."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.lost = False
        self._keys: dict[str, tuple[bytes, int, float | None]] = {}
        self._blobs: dict[str, tuple[bytes, float | None]] = {}
        self._counters: dict[str, tuple[int, int]] = {}
        self._topics: dict[str, list[bytes]] = {}
        self._leases: dict[str, tuple[int, float]] = {}
        self._numbers = 0
        self._published = asyncio.Condition()

    def _check(self) -> None:
        if self.lost:
            raise s.StateUnavailable("the engine was lost by the test")

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _until(self, ttl: float | None) -> float | None:
        return None if s.check_ttl(ttl) is None or ttl is None else self.clock() + ttl

    def _entry(self, key: str) -> s.Entry | None:
        found = self._keys.get(key)
        if found is None:
            return None
        value, revision, until = found
        left = None if until is None else until - self.clock()
        if left is not None and left <= 0:
            del self._keys[key]
            return None
        return s.Entry(key, value, revision, left)

    async def get(self, key: str, *, stale: bool = False) -> s.Entry | None:
        """Return the entry; with `stale` even when the engine is lost."""
        if not stale:
            self._check()
        return self._entry(s.check_key(key))

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Write."""
        self._check()
        revision = self._number()
        self._keys[s.check_key(key)] = (s.check_value(value), revision, self._until(ttl))
        return revision

    async def compare_and_set(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int | None:
        """Write where the key is at `revision`."""
        entry = await self.get(key)
        if (entry.revision if entry else 0) != revision:
            return None
        return await self.set(key, value, ttl)

    async def touch(self, key: str, ttl: float) -> bool:
        """Change the time to live."""
        entry = await self.get(key)
        if entry is not None:
            self._keys[key] = (entry.value, entry.revision, self._until(ttl))
        return entry is not None

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete an entry."""
        entry = await self.get(key)
        if entry is None or revision not in (None, entry.revision):
            return False
        del self._keys[key]
        return True

    async def entries(self, prefix: str, after: str = "", limit: int = s.PAGE) -> list[s.Entry]:
        """Return entries by prefix."""
        self._check()
        s.check_prefix(prefix)
        keys = sorted(key for key in self._keys if key.startswith(prefix) and key > after)
        found = [entry for key in keys if (entry := self._entry(key)) is not None]
        return found[: s.check_limit(limit)]

    def _window(self, window: float | None) -> tuple[int, float | None]:
        if s.check_window(window) is None or window is None:
            return 0, None
        now = self.clock()
        return int(now // window), window - now % window

    async def add(self, name: str, amount: int = 1, window: float | None = None) -> s.Count:
        """Add to a counter."""
        number, left = self._window(window)
        value = await self.count(name, window) + s.check_amount(amount)
        self._counters[name] = (value, number)
        return s.Count(value, left)

    async def count(self, name: str, window: float | None = None) -> int:
        """Return a counter."""
        self._check()
        value, number = self._counters.get(s.check_key(name), (0, 0))
        return value if number == self._window(window)[0] else 0

    async def publish(self, topic: str, payload: bytes) -> int:
        """Append to a topic."""
        self._check()
        messages = self._topics.setdefault(s.check_topic(topic), [])
        messages.append(s.check_value(payload))
        async with self._published:
            self._published.notify_all()
        return len(messages)

    async def subscribe(self, topic: str, after: int) -> AsyncIterator[s.Message]:
        """Yield messages."""
        while True:
            for message in await self.messages(topic, after):
                yield message
                after = message.cursor
            async with self._published:
                while len(self._topics.get(topic, ())) == after:
                    await self._published.wait()

    async def messages(self, topic: str, after: int, limit: int = s.PAGE) -> list[s.Message]:
        """Return messages after a cursor."""
        self._check()
        kept = self._topics.get(s.check_topic(topic), [])
        if not max(0, len(kept) - s.TOPIC_MESSAGES) <= after <= len(kept):
            raise s.ReplayGap(f"{topic}: {after} is not among the messages that are kept")
        wanted = kept[after : after + s.check_limit(limit)]
        return [s.Message(cursor, payload) for cursor, payload in enumerate(wanted, after + 1)]

    async def last(self, topic: str) -> int:
        """Return a topic's last cursor."""
        self._check()
        return len(self._topics.get(s.check_topic(topic), ()))

    async def acquire(self, name: str, owner: str, ttl: float) -> s.Lease | None:
        """Take a lease."""
        self._check()
        s.check_ttl(ttl, 1.0)
        _token, until = self._leases.get(s.check_key(name), (0, 0.0))
        if until > self.clock():
            return None
        token = self._number()
        self._leases[name] = (token, self.clock() + ttl)
        return s.Lease(name, s.check_key(owner), token, self.clock() + ttl)

    async def renew(self, lease: s.Lease, ttl: float) -> s.Lease | None:
        """Prolong a lease."""
        self._check()
        s.check_ttl(ttl, 1.0)
        token, until = self._leases.get(lease.name, (0, 0.0))
        if token != lease.token or until <= self.clock():
            return None
        self._leases[lease.name] = (token, self.clock() + ttl)
        return lease._replace(deadline=self.clock() + ttl)

    async def release(self, lease: s.Lease) -> None:
        """Give a lease back."""
        self._check()
        if self._leases.get(lease.name, (0, 0.0))[0] == lease.token:
            del self._leases[lease.name]

    async def put_blob(self, key: str, data: bytes, ttl: float | None = None) -> None:
        """Keep a blob."""
        self._check()
        self._blobs[s.check_key(key)] = (s.check_value(data, s.BLOB_BYTES), self._until(ttl))

    async def get_blob(self, key: str) -> bytes | None:
        """Return a blob."""
        self._check()
        data, until = self._blobs.get(s.check_key(key), (b"", -1.0))
        return data if until is None or until > self.clock() else None

    async def delete_blob(self, key: str) -> bool:
        """Delete a blob."""
        found = await self.get_blob(key) is not None
        self._blobs.pop(key, None)
        return found

    async def status(self) -> s.EngineStatus:
        """Return how much there is."""
        self._check()
        return s.EngineStatus("memory", "", len(self._keys), sum(len(value) for value, _, _ in self._keys.values()))

    async def close(self) -> None:
        """Keep everything: another test step may go on."""
