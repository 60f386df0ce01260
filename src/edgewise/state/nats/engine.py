"""The engine on NATS JetStream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

from edgewise.contracts import state as s
from edgewise.state.nats.connection import Connection, Refused, Stored, not_found
from edgewise.state.nats.copy import CopyReader, keep_copy
from edgewise.state.nats.following import follow
from edgewise.state.nats.streams import (
    BLOBS,
    COUNTERS,
    KEYS,
    LEASES,
    ROOTS,
    configurations,
    topic_configuration,
    topic_stream,
    topic_subject,
    window_stream,
)
from edgewise.state.nats.subjects import decode, encode, wildcard
from edgewise.state.nats.values import Values

log = logging.getLogger("edgewise.state")
_TOKEN = struct.Struct("!Q")
_ROOM = 4096
"""Bytes of a message beside a blob: subject and headers."""
_LOOK_AT_CLOCK = 60.0
_BLOBS_OF_A_PAGE = 16
_AT_ONCE = 64
"""Reads under way for one list."""


async def open_nats(url: str, *, patience: float, replicas: int, local_copy: Path | None) -> NatsEngine:
    """Return an engine. Where NATS is out of reach and there is a local copy, it serves that and goes on to connect.

    Raises StateError where JetStream cannot be used as it is set up, StateUnavailable where it is out of reach.
    """
    engine = NatsEngine(Connection(url, patience, replicas), local_copy)
    try:
        await engine.start()
    except s.StateUnavailable:
        if local_copy is None:
            await engine.close()
            raise
        log.warning("NATS is out of reach: reads that allow it are answered from the copy in %s", local_copy)
    except BaseException:
        await engine.close()
        raise
    return engine


class NatsEngine:
    """`contracts.state.StateEngine`; see `open_nats`."""

    def __init__(self, connection: Connection, local_copy: Path | None) -> None:
        self._connection = connection
        self._directory = local_copy
        self._copy = CopyReader(local_copy) if local_copy is not None else None
        self._keys = Values(connection, KEYS)
        self._blobs = Values(connection, BLOBS)
        self._leases = Values(connection, LEASES)
        self._topics: set[str] = set()
        """Topics whose stream is known to be there."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and make the streams; what could not be done in time goes on by itself. Raises StateError."""
        self._opening = asyncio.get_running_loop().create_task(self._open())
        try:
            await asyncio.wait_for(asyncio.shield(self._opening), self._connection.patience + 1.0)
        except TimeoutError:
            reason = self._connection.nats.last_error
            raise s.StateUnavailable(f"NATS is out of reach: {reason or 'no answer'}") from reason

    async def _open(self) -> None:
        await self._connection.open()
        room = self._connection.nats.max_payload
        if room < s.BLOB_BYTES + _ROOM:
            raise s.StateError(f"NATS takes messages of {room} bytes at most: set max_payload to 1MB or more")
        while True:
            try:
                await self._make_streams()
                break
            except s.StateUnavailable:
                await asyncio.sleep(0.1)
        self._tasks.add(asyncio.get_running_loop().create_task(self._keep_time()))

    async def _make_streams(self) -> None:
        try:
            for configuration in configurations(self._connection.replicas):
                await self._connection.make_stream(configuration)
        except Refused as refused:
            raise s.StateError(f"the streams cannot be made (JetStream of NATS 2.12 or later?): {refused}") from refused
        await self._connection.read_clock(KEYS)

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AT_CLOCK)
            with contextlib.suppress(s.StateError):
                await self._connection.read_clock(KEYS)

    async def get(self, key: str, *, stale: bool = False) -> s.Entry | None:
        """Ask NATS; with `stale`, read this node's copy while NATS is out of reach."""
        s.check_key(key)
        if stale and self._copy is not None and not self._connection.connected:
            return self._copy.get(key)
        try:
            return (await self._keys.find(key))[0]
        except s.StateUnavailable:
            if not stale or self._copy is None:
                raise
            return self._copy.get(key)

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Write."""
        s.check_ttl(ttl)
        return await self._keys.write(s.check_key(key), s.check_value(value), ttl) or 0

    async def compare_and_set(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int | None:
        """Write where the key is at `revision`."""
        s.check_ttl(ttl)
        return await self._keys.write_over(s.check_key(key), s.check_value(value), ttl, revision)

    async def touch(self, key: str, ttl: float) -> bool:
        """Write the same value with another time to live."""
        s.check_ttl(ttl)
        while True:
            entry, last = await self._keys.find(s.check_key(key))
            if entry is None:
                return False
            if await self._keys.write(key, entry.value, ttl, last) is not None:
                return True

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete an entry."""
        return await self._keys.delete(s.check_key(key), revision)

    async def entries(self, prefix: str, after: str = "", limit: int = s.PAGE) -> list[s.Entry]:
        """Return entries by prefix: the subjects from the stream's own list, then a read of each."""
        s.check_prefix(prefix)
        s.check_limit(limit)
        keys = [key for key in await self._names(KEYS, prefix) if key > after]
        found: list[s.Entry] = []
        while keys and len(found) < limit:
            wanted, keys = keys[: limit - len(found)], keys[limit - len(found) :]
            found += await self._keys.find_all(wanted)
        return found

    async def _names(self, stream: str, prefix: str = "") -> list[str]:
        """Return the keys that a stream has messages of, in their order."""
        root = ROOTS[stream]
        names: list[str] = []
        offset = 0
        while True:
            body = {"subjects_filter": f"{root}.{wildcard(prefix)}", "offset": offset}
            info = await self._connection.api(f"STREAM.INFO.{stream}", body)
            page = info["state"].get("subjects") or {}
            names += [decode(subject[len(root) + 1 :]) for subject in page]
            offset += len(page)
            if not page or offset >= info.get("total", 0):
                return sorted(name for name in names if name.startswith(prefix))

    async def get_all(self, keys: list[str]) -> list[s.Entry]:
        """Return the entries that are there."""
        return await self._keys.find_all(keys)

    def _counter(self, name: str, window: float | None) -> tuple[str, str, float | None]:
        """Return stream and subject of a counter, in its present window, and the seconds until that ends."""
        s.check_key(name)
        if s.check_window(window) is None or window is None:
            return COUNTERS, f"{ROOTS[COUNTERS]}.{encode(name)}", None
        stream = window_stream(window)
        now, length = round(self._connection.now() * 1000), round(window * 1000)
        number, past = divmod(now, length)
        return stream, f"{ROOTS[stream]}.{number}.{encode(name)}", (length - past) / 1000

    async def add(self, name: str, amount: int = 1, window: float | None = None) -> s.Count:
        """Add to a counter."""
        _stream, subject, left = self._counter(name, window)
        answer = await self._connection.publish(subject, b"", {"Nats-Incr": f"{s.check_amount(amount):+d}"})
        assert answer is not None
        return s.Count(int(answer["val"]), left)

    async def count(self, name: str, window: float | None = None) -> int:
        """Return a counter."""
        stream, subject, _left = self._counter(name, window)
        stored = await self._connection.last(stream, subject)
        return 0 if stored is None else int(json.loads(stored.data)["val"])

    async def _make_topic(self, topic: str) -> None:
        if topic not in self._topics:
            await self._connection.make_stream(topic_configuration(topic, self._connection.replicas))
            self._topics.add(topic)

    async def publish(self, topic: str, payload: bytes) -> int:
        """Append to a topic."""
        s.check_value(payload)
        await self._make_topic(s.check_topic(topic))
        answer = await self._connection.publish(topic_subject(topic), payload)
        assert answer is not None
        return int(answer["seq"])

    async def subscribe(self, topic: str, after: int) -> AsyncIterator[s.Message]:
        """Yield messages; after each connect it is looked whether those after the cursor are still there."""
        s.check_topic(topic)
        stream = topic_stream(topic)

        async def begin() -> int:
            await self._make_topic(topic)
            await self._check_gap(topic, after)
            return after

        async for stored in follow(self._connection, stream, topic_subject(topic), begin):
            if stored.sequence != after + 1:
                raise s.ReplayGap(f"{topic}: messages {after + 1} to {stored.sequence - 1} are gone")
            after = stored.sequence
            yield s.Message(stored.sequence, stored.data)

    async def _check_gap(self, topic: str, after: int) -> int:
        """Return a topic's last cursor. Raises ReplayGap."""
        first, last = await self._bounds(topic)
        if after > last or after + 1 < first:
            raise s.ReplayGap(f"{topic}: {after} is not among the messages {first} to {last} that are kept")
        return last

    async def _bounds(self, topic: str) -> tuple[int, int]:
        try:
            state = await self._connection.stream_state(topic_stream(topic))
        except Refused as refused:
            if not_found(refused):
                return 1, 0
            raise
        return state["first_seq"], state["last_seq"]

    async def messages(self, topic: str, after: int, limit: int = s.PAGE) -> list[s.Message]:
        """Return messages after a cursor."""
        s.check_limit(limit)
        last = await self._check_gap(s.check_topic(topic), after)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def read(cursor: int) -> Stored | None:
            async with gate:
                return await self._connection.message(topic_stream(topic), cursor)

        found = await asyncio.gather(*(read(cursor) for cursor in range(after + 1, min(last, after + limit) + 1)))
        if None in found:  # dropped by the stream's bounds between the two steps
            raise s.ReplayGap(f"{topic}: messages after {after} are gone")
        return [s.Message(stored.sequence, stored.data) for stored in found if stored is not None]

    async def last(self, topic: str) -> int:
        """Return a topic's last cursor."""
        return (await self._bounds(s.check_topic(topic)))[1]

    async def acquire(self, name: str, owner: str, ttl: float) -> s.Lease | None:
        """Take a lease: the sequence of the message that took it is the token."""
        s.check_ttl(ttl, 1.0)
        asked = time.monotonic()
        s.check_key(owner)
        token = await self._leases.write_over(s.check_key(name), _TOKEN.pack(0) + owner.encode(), ttl, 0)
        return None if token is None else s.Lease(name, owner, token, asked + ttl)

    async def renew(self, lease: s.Lease, ttl: float) -> s.Lease | None:
        """Prolong a lease: the same token in a new message."""
        s.check_ttl(ttl, 1.0)
        asked = time.monotonic()
        entry, last = await self._leases.find(lease.name)
        if entry is None or _token(entry) != lease.token:
            return None
        value = _TOKEN.pack(lease.token) + lease.owner.encode()
        written = await self._leases.write(lease.name, value, ttl, last)
        return None if written is None else lease._replace(deadline=asked + ttl)

    async def release(self, lease: s.Lease) -> None:
        """Give a lease back."""
        entry, last = await self._leases.find(lease.name)
        if entry is not None and _token(entry) == lease.token:
            await self._leases.bury(lease.name, last)

    async def put_blob(self, key: str, data: bytes, ttl: float | None = None) -> None:
        """Keep a blob."""
        s.check_ttl(ttl)
        await self._blobs.write(s.check_key(key), s.check_value(data, s.BLOB_BYTES), ttl)

    async def get_blob(self, key: str) -> bytes | None:
        """Return a blob."""
        entry, _last = await self._blobs.find(s.check_key(key))
        return None if entry is None else entry.value

    async def delete_blob(self, key: str) -> bool:
        """Delete a blob."""
        return await self._blobs.delete(s.check_key(key), None)

    async def scan(self) -> AsyncIterator[list[s.Entry]]:
        """Yield every entry, in pages."""
        names = await self._names(KEYS)
        for start in range(0, len(names), s.PAGE):
            yield await self._keys.find_all(names[start : start + s.PAGE])

    async def scan_blobs(self) -> AsyncIterator[list[s.Entry]]:
        """Yield every blob, in pages."""
        names = await self._names(BLOBS)
        for start in range(0, len(names), _BLOBS_OF_A_PAGE):
            yield await self._blobs.find_all(names[start : start + _BLOBS_OF_A_PAGE])

    async def scan_counters(self) -> AsyncIterator[list[tuple[str, int]]]:
        """Yield every counter without a window."""
        for name in await self._names(COUNTERS):
            yield [(name, await self.count(name))]

    async def restore_counter(self, name: str, value: int) -> None:
        """Have a counter be at least `value`, a little at a time where it is far."""
        while (missing := value - await self.count(name)) > 0:
            await self.add(name, min(missing, s.MOST_ADDED))

    async def floors(self) -> tuple[int, int]:
        """Return the last sequences of keys and of leases: revisions and fencing tokens."""
        keys, leases = [await self._connection.stream_state(name) for name in (KEYS, LEASES)]
        return keys["last_seq"], leases["last_seq"]

    async def raise_floors(self, revision: int, token: int) -> bool:
        """Have the sequences go on above these, which an empty stream alone allows."""
        done = True
        for stream, floor in ((KEYS, revision), (LEASES, token)):
            state = await self._connection.stream_state(stream)
            if state["last_seq"] < floor and state["messages"] == 0:
                await self._connection.api(f"STREAM.PURGE.{stream}", {"seq": floor + 1})
                state = await self._connection.stream_state(stream)
            done = done and state["last_seq"] >= floor
        return done

    async def status(self) -> s.EngineStatus:
        """Return how much there is, and what may cost data."""
        keys = await self._connection.stream_state(KEYS)
        size = sum([(await self._connection.stream_state(name))["bytes"] for name in ROOTS])
        warnings = []
        if self._connection.replicas == 1:
            warnings.append(
                "one server keeps each stream: unless its sync_interval is always, a loss of its power costs what was "
                "written in the last two minutes"
            )
        server = self._connection.nats.connected_server_version
        version = f"{server.major}.{server.minor}.{server.patch}"
        return s.EngineStatus("nats", version, keys["messages"], size, tuple(warnings))

    def keep_copy(self) -> None:
        """Have this process keep the node's copy up to date; the processes of the node read it."""
        if self._directory is not None:
            task = asyncio.get_running_loop().create_task(keep_copy(self._connection, self._directory))
            self._tasks.add(task)

    async def close(self) -> None:
        """Disconnect."""
        for task in [*self._tasks, *([self._opening] if self._opening is not None else [])]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        await self._connection.close()
        if self._copy is not None:
            self._copy.close()


def _token(entry: s.Entry) -> int:
    """Return the token of a lease: told by its renewals, else the revision of the message that took it."""
    return int(_TOKEN.unpack_from(entry.value)[0]) or entry.revision
