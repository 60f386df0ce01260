"""The door for state that outlives a process and is shared by processes or nodes.

Keys, counters, topics, leases and blobs, each in a space of its own. docs/state.md says what each engine promises and
what a caller may expect when the engine is lost.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol, runtime_checkable

KEY_BYTES = 256
VALUE_BYTES = 65536
"""Bytes of a key's value, and of a message, at most."""
BLOB_BYTES = 1_000_000
"""Bytes of a blob at most: with its headers it fits in one message of NATS (max_payload, 1 MiB by default)."""
PAGE = 1000
"""Entries or messages of one answer at most."""
LEAST_TTL = 0.001
LONGEST_TTL = 10 * 365 * 86400.0
LONGEST_WINDOW = 86400.0
MOST_ADDED = 2**31
TOPIC_MESSAGES = 10_000
"""Messages kept of a topic; older ones can no longer be replayed."""
TOPIC_AGE = 86400.0
"""Seconds a message is kept."""

_KEY = re.compile(r"[!-~]{1,256}")
_TOPIC = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class StateError(Exception):
    """The engine refused; the text says why."""


class StateUnavailable(StateError):
    """The engine does not answer. Whether a write that raised this took place is not known."""


class ReplayGap(StateError):
    """Messages after the cursor are gone, or the cursor is of another history: begin anew with `last` of the topic."""


class Entry(NamedTuple):
    """A key and what it holds."""

    key: str
    value: bytes
    revision: int
    """Grows with each write of any key; never used twice. Meaningful only to the engine that gave it."""
    ttl: float | None
    """Seconds left; None: until deleted."""


class Count(NamedTuple):
    """A counter after an addition."""

    value: int
    resets_in: float | None
    """Seconds until its window ends; None without a window."""


class Message(NamedTuple):
    """What was published. Cursors of a topic count up from 1 without holes, in the order of publishing."""

    cursor: int
    payload: bytes


class Lease(NamedTuple):
    """The right to do something alone, for a while."""

    name: str
    owner: str
    token: int
    """Fencing token: greater than that of every earlier holder. What the lease protects must refuse lower ones
    (`contracts.fencing`), since a holder that was paused may believe in its lease beyond its end."""
    deadline: float
    """Monotonic seconds of this process after which it must no longer act; counted from before the request."""


class EngineStatus(NamedTuple):
    """How an engine is doing."""

    engine: str
    """sqlite, nats, redis or memory."""
    version: str
    keys: int
    """Entries, expired ones that were not removed yet included."""
    bytes: int
    """Held on disk or in memory by the engine."""
    warnings: tuple[str, ...] = ()
    """What may cost data, for an operator."""


class Snapshot(Protocol):
    """What was read of a key, and whether that is still so."""

    @property
    def entry(self) -> Entry | None:
        """What was read; its `ttl` is of that moment."""

    def left(self) -> float:
        """Return the seconds that the entry lives on as things are, infinity for one without an end, or for none.

        0 or less: read again. The entry expired, or a write of its key began since the read, or nobody can tell.
        """


@runtime_checkable
class Snapshots(Protocol):
    """What an engine offers beside the contract where it can tell, by a look at memory, whether a read still holds."""

    def snapshot(self, key: str) -> Snapshot | None:
        """Read; None where it cannot be told for how long that holds. Raises StateUnavailable.

        What `left` finds positive is what `get` would have returned in that moment.
        """


class StateEngine(Protocol):
    """Used on one event loop. Every method raises StateUnavailable where the engine does not answer in time, and
    ValueError for a key, size or time out of bounds.

    What was acknowledged is read by every later call of any client. Times to live: an entry is there until its `ttl`
    and gone a second after it at the latest; steps of the wall clock change nothing while the engine runs.
    """

    async def get(self, key: str, *, stale: bool = False) -> Entry | None:
        """Return the entry; None where there is none. `stale`: when the engine is lost, this node's copy will do."""

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Write, whatever is there; return the new revision."""

    async def compare_and_set(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int | None:
        """Write where the key is still at `revision` (0: where there is no such key); None: it is not.

        After StateUnavailable, read again before trying again: the write may have taken place.
        """

    async def touch(self, key: str, ttl: float) -> bool:
        """Give the entry another time to live; False where there is none. Its revision may change."""

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete; with `revision` only where the key is still at it. False: nothing was deleted."""

    async def entries(self, prefix: str, after: str = "", limit: int = PAGE) -> list[Entry]:
        """Return the entries whose key begins with `prefix` and is greater than `after`, in the order of bytes."""

    async def add(self, name: str, amount: int = 1, window: float | None = None) -> Count:
        """Add to a counter that begins at 0, in each window anew; return what it is now.

        Windows are aligned to the engine's clock, in seconds, at most a day. A counter keeps to one window.
        """

    async def count(self, name: str, window: float | None = None) -> int:
        """Return a counter, 0 where nothing was added (in this window)."""

    async def publish(self, topic: str, payload: bytes) -> int:
        """Append to a topic; return the message's cursor."""

    def subscribe(self, topic: str, after: int) -> AsyncIterator[Message]:
        """Yield the messages after a cursor, then those to come, each once and in order, across reconnections.

        0 is the beginning, `last(topic)` is now. Raises ReplayGap; a lost engine is waited for.
        """

    async def messages(self, topic: str, after: int, limit: int = PAGE) -> list[Message]:
        """Return messages after a cursor, none where there are none yet. Raises ReplayGap."""

    async def last(self, topic: str) -> int:
        """Return the cursor of the last message published, 0 where there was none."""

    async def acquire(self, name: str, owner: str, ttl: float) -> Lease | None:
        """Take a lease (at least a second) that nobody holds; None: somebody does, `owner` itself included."""

    async def renew(self, lease: Lease, ttl: float) -> Lease | None:
        """Hold on to a lease for `ttl` from now, with the same token; None: it was lost."""

    async def release(self, lease: Lease) -> None:
        """Give a lease back, if it is still held."""

    async def put_blob(self, key: str, data: bytes, ttl: float | None = None) -> None:
        """Keep a blob."""

    async def get_blob(self, key: str) -> bytes | None:
        """Return a blob; None where there is none."""

    async def delete_blob(self, key: str) -> bool:
        """Delete a blob; False where there was none."""

    async def status(self) -> EngineStatus:
        """Return how the engine is doing."""

    async def close(self) -> None:
        """Let go of connections; calls under way raise StateUnavailable."""


def check_key(key: str) -> str:
    """Return a key, or the name of a counter or lease: 1 to 256 visible ASCII characters. Raises ValueError."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key[:80]!r} is not a key: 1 to {KEY_BYTES} visible ASCII characters")
    return key


def check_prefix(prefix: str) -> str:
    """Return a prefix of keys, which may be empty. Raises ValueError."""
    return prefix and check_key(prefix)


def check_topic(topic: str) -> str:
    """Return the name of a topic: a-z, 0-9 and "-", at most 64. Raises ValueError."""
    if not _TOPIC.fullmatch(topic):
        raise ValueError(f'{topic[:80]!r} is not a topic: 1 to 64 of a-z, 0-9 and "-", no "-" first')
    return topic


def check_value(value: bytes, most: int = VALUE_BYTES) -> bytes:
    """Return a value within its bound. Raises ValueError."""
    if len(value) > most:
        raise ValueError(f"{len(value)} bytes are more than the {most} that a value may have")
    return value


def check_ttl(ttl: float | None, least: float = LEAST_TTL) -> float | None:
    """Return a time to live within its bounds. Raises ValueError."""
    if ttl is not None and not least <= ttl <= LONGEST_TTL:
        raise ValueError(f"{ttl} is not a time to live: {least:g} s to 10 years")
    return ttl


def check_window(window: float | None) -> float | None:
    """Return the window of a counter within its bounds, in whole milliseconds. Raises ValueError."""
    if window is not None and not 0.1 <= window <= LONGEST_WINDOW:
        raise ValueError(f"{window} is not a window: 0.1 s to a day")
    return window


def check_amount(amount: int) -> int:
    """Return what may be added at once. Raises ValueError."""
    if not -MOST_ADDED <= amount <= MOST_ADDED:
        raise ValueError(f"{amount} is more than may be added to a counter at once")
    return amount


def check_limit(limit: int) -> int:
    """Return how many entries may be asked for. Raises ValueError."""
    if not 1 <= limit <= PAGE:
        raise ValueError(f"{limit} is not between 1 and {PAGE}")
    return limit
