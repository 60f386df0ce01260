"""A connection to the writer that comes back: requests of one turn of the loop travel in one frame."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgewise.contracts.state import StateUnavailable
from edgewise.state.sqlite import wire
from edgewise.state.sqlite.files import SOCKET

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5
_MOST_WAITING = 20_000
"""Requests without a reply at most; more are refused at once."""


class WriterClient(asyncio.Protocol):
    """Sends requests, hands out replies. `grown(topics)` is called as topics grow, `connected()` after each connect.

    While the writer is away, requests wait for up to `patience` seconds. One whose connection broke before the reply
    is sent again where twice is as good as once; else it raises StateUnavailable, since it may have been carried out.
    """

    def __init__(
        self,
        directory: Path,
        patience: float,
        grown: Callable[[list[str]], None],
        connected: Callable[[], None],
    ) -> None:
        self._path = str(directory / SOCKET)
        self._patience = patience
        self._grown = grown
        self._connected = connected
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._frames = wire.Frames()
        self._last_id = 0
        self._pending: dict[int, tuple[wire.AnyRequest, asyncio.Future[Any]]] = {}
        """Sent or to be sent, oldest first."""
        self._queue: list[wire.AnyRequest] = []
        """Not sent yet."""
        self._flushing = False
        self._closed = False
        self._connecting = self._loop.create_task(self._connect())

    def next_id(self) -> int:
        """Return the id for the next request."""
        self._last_id += 1
        return self._last_id

    async def ask(self, request: wire.AnyRequest) -> Any:
        """Return the result of a request. Raises StateUnavailable."""
        if self._closed:
            raise StateUnavailable("the engine was closed")
        if len(self._pending) >= _MOST_WAITING:
            raise StateUnavailable(f"{_MOST_WAITING} requests already wait for the writer of the state")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._pending[request.id] = (request, future)
        self._queue.append(request)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        timer = self._loop.call_later(self._patience, self._give_up, request.id)
        try:
            return await future
        finally:
            timer.cancel()
            self._pending.pop(request.id, None)

    def _give_up(self, number: int) -> None:
        held = self._pending.pop(number, None)
        if held is None:
            return
        request, future = held
        if request in self._queue:
            self._queue.remove(request)
        if not future.done():
            future.set_exception(StateUnavailable(f"the writer of the state did not answer in {self._patience:g} s"))

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None or not self._queue:
            return
        queue, self._queue = self._queue, []
        batch: list[wire.AnyRequest] = []
        size = 0
        for request in queue:
            batch.append(request)
            size += len(request.value) if isinstance(request, wire.Set) else 256
            if size > wire.FULL_FRAME:
                self._transport.write(wire.frame(batch))
                batch, size = [], 0
        if batch:
            self._transport.write(wire.frame(batch))

    def data_received(self, data: bytes) -> None:
        """Hand out what the writer answered."""
        try:
            bodies = self._frames.feed(data)
            answers = [reply for body in bodies for reply in wire.replies(body)]
        except (wire.FrameError, msgspec.MsgspecError):
            assert self._transport is not None
            self._transport.abort()
            return
        for number, error, result in answers:
            if number == 0:
                self._grown(result)
                continue
            held = self._pending.get(number)
            if held is not None and not held[1].done():
                if error:
                    held[1].set_exception(StateUnavailable(f"not written: {error}"))
                else:
                    held[1].set_result(result)

    def connection_lost(self, exc: Exception | None) -> None:
        """Come back; what is not sure to be undone fails."""
        established, self._transport = self._transport is not None, None
        self._frames = wire.Frames()
        if self._closed or not established:
            return
        unsent = {request.id for request in self._queue}
        self._queue = []
        for request, future in self._pending.values():
            if future.done():
                continue
            if request.id in unsent or _repeatable(request):
                self._queue.append(request)
            else:
                future.set_exception(StateUnavailable("the writer of the state ended before it answered"))
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closed:
            with contextlib.suppress(OSError):
                transport, _protocol = await self._loop.create_unix_connection(lambda: self, self._path)
                if transport.is_closing():
                    raise ConnectionResetError
                self._transport = transport
                self._connected()
                self._flush()
                return
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(_LONGEST_PAUSE, 2 * pause)

    async def close(self) -> None:
        """Disconnect; calls under way raise StateUnavailable."""
        self._closed = True
        self._connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._connecting
        if self._transport is not None:
            self._transport.close()
        for _request, future in list(self._pending.values()):
            if not future.done():
                future.set_exception(StateUnavailable("the engine was closed"))


def _repeatable(request: wire.AnyRequest) -> bool:
    return isinstance(request, wire.REPEATABLE) or (isinstance(request, wire.Set) and request.revision is None)
