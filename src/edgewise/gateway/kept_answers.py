"""What the state engine holds under an idempotency key: that a request is under way, then its answer.

The value begins with its kind and the request's fingerprint. Behind it: of a request under way a token of its worker's;
of an answer its status, its fields and its content, or where they are longer than a value may be, the key of blobs.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future, Task, TimerHandle
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING

from edgewise.contracts.plan import Answer
from edgewise.contracts.state import BLOB_BYTES, VALUE_BYTES, Entry, StateEngine, StateError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.policies import Fields

FINGERPRINT = 32
"""Bytes of the fingerprint of a request."""
_UNDER_WAY, _ANSWER, _BLOBS = b"w", b"a", b"b"
_SECRET = frozenset((b"set-cookie", b"set-cookie2"))
"""Fields that are for the first client alone: they are not kept, and nobody gets them again."""
_LONGER = 60.0
"""Seconds that blobs outlive what names them."""
_AGAIN = 0.5
_log = logging.getLogger("edgewise.gateway")


class Claim:
    """A key taken for one request: held while it is under way, then left with its answer, or given back.

    It is a `contracts.recording.Recorder`.
    """

    def __init__(
        self,
        engine: StateEngine,
        name: str,
        fingerprint: bytes,
        keep: float,
        lock: float,
        most: int,
        not_kept: tuple[tuple[int, int], ...],
    ) -> None:
        """`keep`: seconds that the answer is kept, `lock`: seconds that the key is held where nobody renews it."""
        self._engine = engine
        self._name = name
        self._fingerprint = fingerprint
        self._value = _UNDER_WAY + fingerprint + token_hex(8).encode()
        self._revision = 0
        self._keep = keep
        self._lock = lock
        self.most = most
        self._not_kept = not_kept
        self._timer: TimerHandle | None = None
        self._work: set[Task[None]] = set()
        """What goes on aside from the request."""

    # ---- while the request is under way ------------------------------------------------------------------------------

    async def take(self) -> bool:
        """Take the key; False where it is taken. Raises StateError."""
        revision = await self._engine.compare_and_set(self._name, self._value, 0, self._lock)
        if revision is None:
            return False
        self._revision = revision
        self._renew_later()
        return True

    def leave(self, taken: Future[bool]) -> None:
        """Give the key back: whoever wanted it was gone when it was had."""
        if not taken.cancelled() and taken.exception() is None and taken.result():
            self._aside(self._given_back())

    def _renew_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._lock / 3, self._renew)

    def _renew(self) -> None:
        self._timer = None
        self._aside(self._renewed())

    async def _renewed(self) -> None:
        try:
            held = await self._write(self._value, self._lock)
        except StateError as error:
            _log.warning("an idempotency key could not be renewed: %s", error)
            held = True
        if held:
            self._renew_later()

    async def _settled(self) -> None:
        """Renew no more."""
        while self._work:
            await asyncio.wait(set(self._work))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _aside(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    # ---- its end -----------------------------------------------------------------------------------------------------

    def wanted(self, exchange: Exchange, status: int) -> bool:
        """Answers of servers are kept, but those that say that the request is better tried again."""
        return not exchange.end and not any(low <= status <= high for low, high in self._not_kept)

    async def keep(self, answer: Answer) -> None:
        """Keep the answer. Without the engine it is tried on aside, for as long as the key would be held."""
        await self._settled()
        try:
            await self._kept(answer)
        except StateError as error:
            _log.warning("an answer under an idempotency key could not be kept yet: %s", error)
            self._aside(self._tried_on(answer, monotonic() + self._lock))

    async def _tried_on(self, answer: Answer, deadline: float) -> None:
        while True:
            await asyncio.sleep(_AGAIN)
            try:
                await self._kept(answer)
                return
            except StateError as error:
                if monotonic() > deadline:
                    _log.error("an answer under an idempotency key was not kept: %s", error)
                    return

    async def _kept(self, answer: Answer) -> None:
        packed = pack(answer)
        value = _ANSWER + self._fingerprint + packed
        if len(value) > VALUE_BYTES:
            name, count = f"{self._name}/{token_hex(8)}", -(-len(packed) // BLOB_BYTES)
            for number in range(count):
                piece = packed[number * BLOB_BYTES : (number + 1) * BLOB_BYTES]
                await self._engine.put_blob(f"{name}/{number}", piece, self._keep + _LONGER)
            value = _BLOBS + self._fingerprint + f"{count} {name}".encode()
        if not await self._write(value, self._keep):
            _log.error("an idempotency key was lost while its request was under way: its answer was not kept")

    async def drop(self) -> None:
        """Give the key back; where the engine is lost, it becomes free by itself."""
        await self._settled()
        await self._given_back()

    async def _given_back(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            await self._engine.delete(self._name, self._revision)
        except StateError as error:
            _log.warning("an idempotency key could not be given back: %s", error)

    async def _write(self, value: bytes, ttl: float) -> bool:
        """Write where the key is still held; a write that took place unseen is found again. Raises StateError."""
        revision = await self._engine.compare_and_set(self._name, value, self._revision, ttl)
        if revision is None:
            entry = await self._engine.get(self._name)
            if entry is None or entry.value not in (value, self._value):
                return False
            if entry.value != value or value == self._value:
                revision = await self._engine.compare_and_set(self._name, value, entry.revision, ttl)
            else:
                revision = entry.revision
        if revision is None:
            return False
        self._revision = revision
        return True


async def read_answer(engine: StateEngine, entry: Entry) -> Answer | None:
    """Return the answer that an entry holds or names; None while its request is under way. Raises StateError."""
    kind, rest = entry.value[:1], entry.value[1 + FINGERPRINT :]
    if kind == _UNDER_WAY:
        return None
    if kind == _BLOBS:
        count, _, name = rest.decode().partition(" ")
        pieces = [await engine.get_blob(f"{name}/{number}") for number in range(int(count))]
        if None in pieces:
            raise StateError("a part of a kept answer is gone")
        rest = b"".join(piece for piece in pieces if piece is not None)
    return unpack(rest)


def pack(answer: Answer) -> bytes:
    """Return an answer as it is kept: without what is for the first client alone."""
    lines = b"".join(b"%b: %b\r\n" % field for field in answer.fields if field[0].lower() not in _SECRET)
    return b"%d %d\r\n%b%b" % (answer.status, len(lines), lines, answer.content)


def unpack(packed: bytes) -> Answer:
    """Return what `pack` was given."""
    numbers, _, rest = packed.partition(b"\r\n")
    status, length = map(int, numbers.split(b" "))
    fields: Fields = tuple(
        (name, value) for name, _, value in (line.partition(b": ") for line in rest[:length].split(b"\r\n")[:-1])
    )
    return Answer(status, fields, rest[length:])
