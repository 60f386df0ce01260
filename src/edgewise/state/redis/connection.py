"""A pipelined connection to a Redis server that comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections import deque
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import hiredis

from edgewise.contracts.state import StateError, StateUnavailable
from edgewise.state.redis.scripts import Script

Argument = str | bytes | int | float
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.25
_MOST_WAITING = 20_000
"""Commands without a reply at most; more are refused at once."""
_NOT_NOW = ("LOADING", "MASTERDOWN", "READONLY", "BUSY ")
"""Beginnings of answers after which the command, which was not carried out, may be sent again."""
_TRY_AGAIN = 0.1


class Command(NamedTuple):
    """A command on its way."""

    packed: bytes
    again: bool
    """It may be sent twice."""
    future: asyncio.Future[Any]


class Server(NamedTuple):
    """Where a server is and how to introduce oneself."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    greeting: tuple[tuple[Argument, ...], ...]


def parse_url(url: str) -> Server:
    """Return the server of a redis:// or rediss:// URL."""
    parts = urlsplit(url)
    greeting: list[tuple[Argument, ...]] = []
    if parts.password is not None:
        user = (unquote(parts.username),) if parts.username else ()
        greeting.append(("AUTH", *user, unquote(parts.password)))
    if (database := parts.path.strip("/")) not in ("", "0"):
        greeting.append(("SELECT", database))
    tls = ssl.create_default_context() if parts.scheme == "rediss" else None
    return Server(parts.hostname or "localhost", parts.port or 6379, tls, tuple(greeting))


class Connections(asyncio.Protocol):
    """Sends commands of one turn of the loop in one write and hands out the replies, which come in the same order.

    A command may take `patience` seconds, waiting for the server included. One whose connection broke before the reply
    is sent again where twice is as good as once; else it raises StateUnavailable, since it may have been carried out.
    """

    def __init__(self, url: str, patience: float) -> None:
        self.url = url
        self.patience = patience
        self._server = parse_url(url)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader()
        self._sent: deque[Command] = deque()
        """Waiting for their replies, oldest first."""
        self._queue: list[Command] = []
        """Not sent yet."""
        self._flushing = self._closed = False
        self._refused = "there is no connection to the Redis server"
        self._connecting = self._loop.create_task(self._connect())

    async def run(self, script: Script, keys: list[str], *arguments: Argument, again: bool = False) -> Any:
        """Run a script and return its result; `again`: it may be sent twice."""
        try:
            return await self.command("EVALSHA", script.sha, len(keys), *keys, *arguments, again=again)
        except StateError as error:
            if "NOSCRIPT" not in str(error):
                raise
        return await self.command("EVAL", script.source, len(keys), *keys, *arguments, again=again)

    async def command(self, *words: Argument, again: bool = False) -> Any:
        """Send a command and return its result. Raises StateUnavailable, or StateError where it is refused."""
        deadline = self._loop.time() + self.patience
        packed = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub says: of one word
        while True:
            result = await self._ask(packed, again, deadline)
            if not isinstance(result, hiredis.HiredisError):
                return result
            text = str(result)
            if not text.startswith(_NOT_NOW):
                raise StateError(f"the Redis server refuses: {text}")
            if self._loop.time() + _TRY_AGAIN > deadline:
                raise StateUnavailable(f"the Redis server does not answer: {text}")
            await asyncio.sleep(_TRY_AGAIN)

    async def _ask(self, packed: bytes, again: bool, deadline: float) -> Any:
        if self._closed:
            raise StateUnavailable("the engine was closed")
        if len(self._sent) + len(self._queue) >= _MOST_WAITING:
            raise StateUnavailable(f"{_MOST_WAITING} commands already wait for the Redis server")
        command = Command(packed, again, self._loop.create_future())
        self._queue.append(command)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        timer = self._loop.call_at(deadline, self._give_up, command)
        try:
            return await command.future
        finally:
            timer.cancel()

    def _give_up(self, command: Command) -> None:
        if command.future.done():
            return
        if command in self._queue:
            self._queue.remove(command)
            reason = self._refused
        else:
            reason = f"no answer in {self.patience:g} s"
        command.future.set_exception(StateUnavailable(f"the Redis server does not answer: {reason}"))
        if self._transport is not None and command in self._sent:
            self._transport.abort()  # its answer may still come; and what is behind this silence is likely lost

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None or not self._queue:
            return
        queue, self._queue = self._queue, []
        wanted = [command for command in queue if not command.future.done()]
        self._sent.extend(wanted)
        self._transport.write(b"".join([command.packed for command in wanted]))

    def data_received(self, data: bytes) -> None:
        """Hand out what the server answered."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                future = self._sent.popleft().future
                if not future.done():
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            assert self._transport is not None
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Come back; what is not sure to be undone fails."""
        established, self._transport = self._transport is not None, None
        self._reader = hiredis.Reader()
        sent, self._sent = self._sent, deque()
        again = []
        for command in sent:
            if command.future.done():
                continue
            if command.again and not self._closed:
                again.append(command)
            else:
                reason = exc or "the connection was closed"
                command.future.set_exception(StateUnavailable(f"the Redis server does not answer: {reason}"))
        self._queue[:0] = again
        if established and not self._closed:
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closed:
            try:
                await asyncio.wait_for(self._meet(), self.patience)
                return
            except (OSError, TimeoutError, StateError) as error:
                self._refused = str(error) or type(error).__name__
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(_LONGEST_PAUSE, 2 * pause)

    async def _meet(self) -> None:
        """Connect and introduce oneself; commands go out once that was accepted. Raises OSError or StateError."""
        server = self._server
        transport, _protocol = await self._loop.create_connection(
            lambda: self, server.host, server.port, ssl=server.tls
        )
        for words in server.greeting:
            packed = hiredis.pack_command(words)  # type: ignore[arg-type]
            command = Command(packed, False, self._loop.create_future())
            self._sent.append(command)
            transport.write(command.packed)
            answer = await command.future
            if isinstance(answer, hiredis.HiredisError):
                transport.abort()
                raise StateError(str(answer))
        if transport.is_closing():
            raise ConnectionResetError("the connection was closed at once")
        self._transport = transport
        self._flush()

    async def close(self) -> None:
        """Disconnect; commands under way raise StateUnavailable."""
        self._closed = True
        self._connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._connecting
        if self._transport is not None:
            self._transport.abort()
        for command in [*self._sent, *self._queue]:
            if not command.future.done():
                command.future.set_exception(StateUnavailable("the engine was closed"))
