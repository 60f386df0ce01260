"""The engine on a Redis or Valkey server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from edgewise.contracts import state as s
from edgewise.state.redis import scripts
from edgewise.state.redis.connection import Connections
from edgewise.state.redis.safety import inspect_server, server_info

log = logging.getLogger("edgewise.state")
_REVISION, _TOKEN, _INDEX = "edgewise:revision", "edgewise:token", "edgewise:index"
_ENTRY, _BLOB, _COUNTER, _LEASE, _TOPIC = (f"edgewise:{kind}:" for kind in ("k", "b", "c", "l", "t"))
_READ = b"*2\r\n$4\r\nPTTL\r\n$%d\r\n%b\r\n*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n"
_NO_KEY = -2
"""In the place of the time that a key has left."""
_MOST_KEYS = 100
"""Read by one run of a script, for which the server does nothing else: some tenths of a millisecond."""
_BLOCK = 0.5
"""Of its patience a subscriber lets the server wait for messages at a time, so that a dead connection is noticed."""
_AWAY = 0.2
"""Seconds between two tries of a subscriber while the server is away."""


async def open_redis(url: str, *, patience: float, allow_eviction: bool) -> RedisEngine:
    """Return an engine once the server is known to keep what it is given.

    Raises StateError where it may drop keys at will and that was not allowed; logs what else may cost data.
    """
    connections = Connections(url, patience)
    try:
        warnings = await inspect_server(connections, allow_eviction)
    except BaseException:
        await connections.close()
        raise
    for warning in warnings:
        log.warning("state on Redis: %s", warning)
    return RedisEngine(connections)


class RedisEngine:
    """`contracts.state.StateEngine`; see `open_redis`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._run = connections.run

    async def get(self, key: str, *, stale: bool = False) -> s.Entry | None:
        """Ask the server; there is no copy that could be stale.

        Two commands cost both sides less than a script. Should the server run a write between them, the time left is
        that of the entry before.
        """
        name = (_ENTRY + s.check_key(key)).encode()
        size = len(name)
        left, found = await self._connections.read_both(_READ % (size, name, size, name))
        return None if found is None or left == _NO_KEY else _entry(key, found, left)

    async def get_all(self, keys: list[str]) -> list[s.Entry]:
        """Return the entries that are there."""
        found: list[s.Entry] = []
        for first in range(0, len(keys), _MOST_KEYS):
            some = keys[first : first + _MOST_KEYS]
            names = [_ENTRY + s.check_key(key) for key in some]
            entries = await self._run(scripts.GET_ALL, names, again=True)
            found += [_entry(some[number - 1], value, ttl) for number, value, ttl in entries]
        return found

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Write."""
        return await self._set(key, value, ttl, None) or 0

    async def compare_and_set(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int | None:
        """Write where the key is at `revision`."""
        return await self._set(key, value, ttl, revision)

    async def _set(self, key: str, value: bytes, ttl: float | None, revision: int | None) -> int | None:
        written = await self._run(
            scripts.SET,
            [_ENTRY + s.check_key(key), _REVISION, _INDEX],
            key,
            s.check_value(value),
            _ms(s.check_ttl(ttl)),
            "" if revision is None else revision,
            again=revision is None,
        )
        return None if written is None else int(written)

    async def touch(self, key: str, ttl: float) -> bool:
        """Change the time to live."""
        key = _ENTRY + s.check_key(key)
        return bool(await self._connections.command("PEXPIRE", key, _ms(s.check_ttl(ttl)), again=True))

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete an entry."""
        keys = [_ENTRY + s.check_key(key), _INDEX]
        return bool(await self._run(scripts.DELETE, keys, key, "" if revision is None else revision))

    async def entries(self, prefix: str, after: str = "", limit: int = s.PAGE) -> list[s.Entry]:
        """Return entries by prefix, from the index of keys; keys that expired leave the index here."""
        s.check_prefix(prefix)
        s.check_limit(limit)
        found: list[s.Entry] = []
        while len(found) < limit:
            start = f"({after}" if after >= prefix and after else f"[{prefix}" if prefix else "-"
            wanted = limit - len(found)
            last, page = await self._run(scripts.ENTRIES, [_INDEX], _ENTRY, start, f"({prefix}\x7f", wanted, again=True)
            if not last:
                break
            found += [_entry(key.decode(), value, ttl) for key, value, ttl in page]
            after = last.decode()
        return found

    async def sweep(self, tries: int = 200) -> int:
        """Try some keys of the index and remove those that expired; return how many."""
        return int(await self._run(scripts.SWEEP, [_INDEX], _ENTRY, tries, again=True))

    async def add(self, name: str, amount: int = 1, window: float | None = None) -> s.Count:
        """Add to a counter."""
        key = _COUNTER + s.check_key(name)
        window_ms = _ms(s.check_window(window)) or 0
        value, left = await self._run(scripts.ADD, [key], window_ms, s.check_amount(amount))
        return s.Count(int(value), left / 1000 if left >= 0 else None)

    async def count(self, name: str, window: float | None = None) -> int:
        """Return a counter."""
        key = _COUNTER + s.check_key(name)
        return int(await self._run(scripts.COUNT, [key], _ms(s.check_window(window)) or 0, again=True))

    async def publish(self, topic: str, payload: bytes) -> int:
        """Append to a topic."""
        arguments = (s.check_value(payload), s.TOPIC_MESSAGES)
        return int(await self._run(scripts.PUBLISH, _topic(topic), *arguments))

    async def subscribe(self, topic: str, after: int) -> AsyncIterator[s.Message]:
        """Yield messages; the server says when there are more, over a connection that it may block."""
        stream = _topic(topic)[0]
        waiting = Connections(self._connections.url, self._connections.patience)
        block = int(waiting.patience * _BLOCK * 1000)
        try:
            while True:
                try:
                    found = await self.messages(topic, after)
                    if not found:
                        await waiting.command(
                            "XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", stream, f"{after}-0", again=True
                        )
                except s.StateUnavailable:
                    await asyncio.sleep(_AWAY)
                    continue
                for message in found:
                    yield message
                    after = message.cursor
        finally:
            await waiting.close()

    async def messages(self, topic: str, after: int, limit: int = s.PAGE) -> list[s.Message]:
        """Return messages after a cursor."""
        kept, last, *found = await self._run(scripts.MESSAGES, _topic(topic), after, s.check_limit(limit), again=True)
        if kept:
            raise s.ReplayGap(f"{topic}: {after} is not among the messages {kept} to {last} that are kept")
        return [s.Message(int(name.partition(b"-")[0]), fields[1]) for name, fields in found[0]]

    async def last(self, topic: str) -> int:
        """Return a topic's last cursor."""
        return int(await self._connections.command("GET", _topic(topic)[1], again=True) or 0)

    async def acquire(self, name: str, owner: str, ttl: float) -> s.Lease | None:
        """Take a lease."""
        s.check_ttl(ttl, 1.0)
        asked = time.monotonic()
        keys = [_LEASE + s.check_key(name), _TOKEN]
        token = await self._run(scripts.ACQUIRE, keys, s.check_key(owner), _ms(ttl))
        return None if token is None else s.Lease(name, owner, int(token), asked + ttl)

    async def renew(self, lease: s.Lease, ttl: float) -> s.Lease | None:
        """Prolong a lease."""
        s.check_ttl(ttl, 1.0)
        asked = time.monotonic()
        held = await self._run(scripts.RENEW, [_LEASE + lease.name], lease.token, _ms(ttl), again=True)
        return lease._replace(deadline=asked + ttl) if held else None

    async def release(self, lease: s.Lease) -> None:
        """Give a lease back."""
        await self._run(scripts.RENEW, [_LEASE + lease.name], lease.token, "", again=True)

    async def put_blob(self, key: str, data: bytes, ttl: float | None = None) -> None:
        """Keep a blob."""
        lifetime = () if s.check_ttl(ttl) is None else ("PX", _ms(ttl))
        words = ("SET", _BLOB + s.check_key(key), s.check_value(data, s.BLOB_BYTES), *lifetime)
        await self._connections.command(*words, again=True)

    async def get_blob(self, key: str) -> bytes | None:
        """Return a blob."""
        data: bytes | None = await self._connections.command("GET", _BLOB + s.check_key(key), again=True)
        return data

    async def delete_blob(self, key: str) -> bool:
        """Delete a blob."""
        return bool(await self._connections.command("DEL", _BLOB + s.check_key(key)))

    async def status(self) -> s.EngineStatus:
        """Return how much there is, and what may cost data."""
        info = await server_info(self._connections)
        warnings = await inspect_server(self._connections, allow_eviction=True)
        keys = await self._connections.command("ZCARD", _INDEX, again=True)
        version = info.get("valkey_version") or info.get("redis_version", "")
        return s.EngineStatus("redis", version, int(keys), int(info.get("used_memory", 0)), tuple(warnings))

    async def scan(self) -> AsyncIterator[list[s.Entry]]:
        """Yield every entry, in pages."""
        after = ""
        while page := await self.entries("", after):
            yield page
            after = page[-1].key

    async def scan_blobs(self) -> AsyncIterator[list[s.Entry]]:
        """Yield every blob, in pages."""
        async for keys in self._names(_BLOB):
            for key in keys:
                data = await self.get_blob(key)
                ttl = await self._connections.command("PTTL", _BLOB + key, again=True)
                if data is not None and ttl != _NO_KEY:
                    yield [s.Entry(key, data, 0, ttl / 1000 if ttl >= 0 else None)]

    async def scan_counters(self) -> AsyncIterator[list[tuple[str, int]]]:
        """Yield every counter without a window: those that do not expire."""
        async for names in self._names(_COUNTER):
            lasting = [n for n in names if await self._connections.command("PTTL", _COUNTER + n, again=True) == -1]
            yield [(name, await self.count(name)) for name in lasting]

    async def _names(self, prefix: str) -> AsyncIterator[list[str]]:
        """Yield what follows a prefix in the server's keys, each once."""
        seen: set[bytes] = set()
        position = b"0"
        while True:
            position, found = await self._connections.command(
                "SCAN", position, "MATCH", prefix + "*", "COUNT", s.PAGE, again=True
            )
            yield [key[len(prefix) :].decode() for key in set(found) - seen]
            seen.update(found)
            if position == b"0":
                return

    async def restore_counter(self, name: str, value: int) -> None:
        """Have a counter be at least `value`."""
        await self._run(scripts.RESTORE, [_COUNTER + s.check_key(name)], 0, value, again=True)

    async def floors(self) -> tuple[int, int]:
        """Return the last revision and the last fencing token."""
        revision, token = await self._connections.command("MGET", _REVISION, _TOKEN, again=True)
        return int(revision or 0), int(token or 0)

    async def raise_floors(self, revision: int, token: int) -> bool:
        """Have revisions and tokens go on above these."""
        await self._run(scripts.RAISE, [_REVISION, _TOKEN], revision, token, again=True)
        return True

    async def close(self) -> None:
        """Disconnect."""
        await self._connections.close()


def _topic(topic: str) -> list[str]:
    """Return the keys of a topic's stream and of its last cursor."""
    name = _TOPIC + s.check_topic(topic)
    return [name, name + ":last"]


def _entry(key: str, stored: bytes, ttl: int) -> s.Entry:
    digits = scripts.REVISION_DIGITS
    return s.Entry(key, stored[digits:], int(stored[:digits]), ttl / 1000 if ttl >= 0 else None)


def _ms(seconds: float | None) -> int | str:
    return "" if seconds is None else max(1, round(seconds * 1000))
