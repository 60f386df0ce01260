"""Keys with a time to live on a stream: what a stored message means, and how one is written."""

from __future__ import annotations

import math

from edgewise.contracts.state import Entry
from edgewise.state.nats.connection import MOST_SUBJECTS, Connection, Stored
from edgewise.state.nats.streams import ROOTS
from edgewise.state.nats.subjects import decode, encode

_TTL = "Edgewise-TTL"
"""Header: milliseconds. NATS's own knows whole seconds, at least one, and cuts off the rest."""
_DELETED = "Edgewise-Deleted"
_SERVER_TTL = "Nats-TTL"
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
TOMBSTONE_TTL = 86400
"""Seconds that a deletion is told to copies that were cut off."""


def expires(stored: Stored) -> float | None:
    """Return the server's Unix time at which a message's value ends; None: never. A deletion ended at once."""
    if _DELETED in stored.headers:
        return stored.at
    ttl = stored.headers.get(_TTL)
    return None if ttl is None else stored.at + int(ttl) / 1000


def key_of(stream: str, stored: Stored) -> str:
    """Return the key that a message belongs to."""
    return decode(stored.subject[len(ROOTS[stream]) + 1 :])


class Values:
    """The keys of one stream. A message whose time is over, or that says so, stands for no entry."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self.stream = stream

    def subject(self, key: str) -> str:
        """Return the subject of a key."""
        return f"{ROOTS[self.stream]}.{encode(key)}"

    async def find(self, key: str) -> tuple[Entry | None, int]:
        """Return the entry, and the last sequence of its subject (0: none), which a conditional write must name."""
        stored = await self._connection.last(self.stream, self.subject(key))
        if stored is None:
            return None, 0
        return self.entry(key, stored), stored.sequence

    async def find_all(self, keys: list[str]) -> list[Entry]:
        """Return the entries that are there, in the order of their keys."""
        found: list[Entry] = []
        for first in range(0, len(keys), MOST_SUBJECTS):
            subjects = [self.subject(key) for key in keys[first : first + MOST_SUBJECTS]]
            for stored in await self._connection.last_of_each(self.stream, subjects):
                entry = self.entry(key_of(self.stream, stored), stored)
                if entry is not None:
                    found.append(entry)
        return sorted(found)

    def entry(self, key: str, stored: Stored) -> Entry | None:
        """Return what a message holds now."""
        until = expires(stored)
        left = None if until is None else until - self._connection.now()
        if left is not None and (left <= 0 or _DELETED in stored.headers):
            return None
        return Entry(key, stored.data, stored.sequence, left)

    async def write(self, key: str, value: bytes, ttl: float | None, last: int | None = None) -> int | None:
        """Write and return the sequence; with `last` only where that is the subject's last, else return None."""
        headers = {}
        if ttl is not None:
            headers[_TTL] = str(max(1, round(ttl * 1000)))
            headers[_SERVER_TTL] = f"{math.ceil(ttl)}s"  # the value ends by its own header, at most a second before
        return await self._store(key, value, headers, last)

    async def bury(self, key: str, last: int) -> bool:
        """Delete where `last` is the subject's last sequence."""
        headers = {_DELETED: "1", _SERVER_TTL: f"{TOMBSTONE_TTL}s"}
        return await self._store(key, b"", headers, last) is not None

    async def _store(self, key: str, value: bytes, headers: dict[str, str], last: int | None) -> int | None:
        if last is not None:
            headers[_EXPECTED] = str(last)
        answer = await self._connection.publish(self.subject(key), value, headers or None, again=last is None)
        return None if answer is None else int(answer["seq"])

    async def write_over(self, key: str, value: bytes, ttl: float | None, revision: int) -> int | None:
        """Write where the entry is at `revision`, 0 for no entry: then over nothing, or over what is left of one."""
        written = await self.write(key, value, ttl, revision)
        if written is not None or revision != 0:
            return written
        entry, last = await self.find(key)
        if entry is not None or last == 0:
            return None
        return await self.write(key, value, ttl, last)

    async def delete(self, key: str, revision: int | None) -> bool:
        """Delete the entry; with `revision` only where it is at it."""
        while True:
            entry, last = await self.find(key)
            if entry is None or revision not in (None, entry.revision):
                return False
            if await self.bury(key, last):
                return True
