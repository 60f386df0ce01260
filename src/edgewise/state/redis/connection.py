"""A pipelined connection to a Redis server that comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections import deque
from collections.abc import Callable
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
    deadline: float
    """Of the loop's clock."""
    future: asyncio.Future[Any]
    pair: bool = False
    """It is two commands; the result is both replies, or the first that is an error."""


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
    """Sends commands of one turn of the loop in one write and hands out the replies, which come in the same order. One
    that comes while nothing is under way is sent at once: alone it would wait for the next turn in vain.

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
        self._first: list[Any] = []
        """The reply to the first half of the oldest, where that is a pair and the other half is still to come."""
        self._queue: list[Command] = []
        """Not sent yet."""
        self._flushing = self._closed = False
        self._watching: asyncio.TimerHandle | None = None
        """One timer for all that is under way; one for each command would cost a tenth of it."""
        self._refused = "there is no connection to the Redis server"
        self._connecting = self._loop.create_task(self._connect())

    async def run(self, script: Script, keys: list[str], *arguments: Argument, again: bool = False) -> Any:
        """Run a script and return its result; `again`: it may be sent twice."""
        words = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        result = await self._ask(_packed(words), again, self._loop.time() + self.patience)
        if not isinstance(result, hiredis.HiredisError):
            return result
        if "NOSCRIPT" in str(result):
            words = ("EVAL", script.source, *words[2:])
        return await self.command(*words, again=again)

    async def command(self, *words: Argument, again: bool = False) -> Any:
        """Send a command and return its result. Raises StateUnavailable, or StateError where it is refused."""
        deadline = self._loop.time() + self.patience
        packed = _packed(words)
        return await self._accepted(lambda: self._ask(packed, again, deadline), deadline)

    async def read_both(self, packed: bytes) -> tuple[Any, Any]:
        """Send two packed commands that only read, in one piece, so that the server runs them one behind the other."""
        deadline = self._loop.time() + self.patience
        result = await self._ask(packed, True, deadline, True)
        if isinstance(result, hiredis.HiredisError):
            result = await self._accepted(lambda: self._ask(packed, True, deadline, True), deadline)
        both: tuple[Any, Any] = result
        return both

    async def _accepted(self, ask: Callable[[], asyncio.Future[Any]], deadline: float) -> Any:
        """Return what the server answers, asking again while it says that it cannot yet."""
        while True:
            result = await ask()
            if not isinstance(result, hiredis.HiredisError):
                return result
            text = str(result)
            if not text.startswith(_NOT_NOW):
                raise StateError(f"the Redis server refuses: {text}")
            if self._loop.time() + _TRY_AGAIN > deadline:
                raise StateUnavailable(f"the Redis server does not answer: {text}")
            await asyncio.sleep(_TRY_AGAIN)

    def _ask(self, packed: bytes, again: bool, deadline: float, pair: bool = False) -> asyncio.Future[Any]:
        """Send a command now or in this turn of the loop; return its result to come."""
        if self._closed:
            raise StateUnavailable("the engine was closed")
        if len(self._sent) + len(self._queue) >= _MOST_WAITING:
            raise StateUnavailable(f"{_MOST_WAITING} commands already wait for the Redis server")
        future: asyncio.Future[Any] = self._loop.create_future()
        command = Command(packed, again, deadline, future, pair)
        if self._watching is None:
            self._watching = self._loop.call_at(deadline, self._watch)
        if self._transport is not None and not self._sent and not self._queue:
            self._sent.append(command)
            self._transport.write(packed)
            return future
        self._queue.append(command)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return future

    def _watch(self) -> None:
        """Give up what was not answered in time; look again when the next may have to be."""
        self._watching = None
        now = self._loop.time()
        late = [command for command in self._queue if command.deadline <= now]
        self._queue = [command for command in self._queue if command.deadline > now]
        for command in late:
            self._fail(command, self._refused)
        silent = [command for command in self._sent if command.deadline <= now and not command.future.done()]
        for command in silent:
            self._fail(command, f"no answer in {self.patience:g} s")
        waiting = [command.deadline for command in (*self._sent, *self._queue) if not command.future.done()]
        if waiting:
            self._watching = self._loop.call_at(min(waiting), self._watch)
        if silent and self._transport is not None:
            self._transport.abort()  # its answer may still come; and what is behind this silence is likely lost

    def _fail(self, command: Command, reason: object) -> None:
        if not command.future.done():
            command.future.set_exception(StateUnavailable(f"the Redis server does not answer: {reason}"))

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
                _packed, _again, _deadline, future, pair = self._sent[0]
                if pair:
                    if not self._first:
                        self._first.append(reply)
                        continue
                    reply = _both(self._first.pop(), reply)
                self._sent.popleft()
                if not future.done():
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            assert self._transport is not None
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Come back; what is not sure to be undone fails."""
        established, self._transport = self._transport is not None, None
        self._reader = hiredis.Reader()
        self._first.clear()
        sent, self._sent = self._sent, deque()
        again = []
        for command in sent:
            if command.future.done():
                continue
            if command.again and not self._closed:
                again.append(command)
            else:
                self._fail(command, exc or "the connection was closed")
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
            command = Command(_packed(words), False, self._loop.time() + self.patience, self._loop.create_future())
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
        if self._watching is not None:
            self._watching.cancel()
        if self._transport is not None:
            self._transport.abort()
        for command in [*self._sent, *self._queue]:
            if not command.future.done():
                command.future.set_exception(StateUnavailable("the engine was closed"))


def _both(first: Any, second: Any) -> Any:
    """Return both replies, or the first that is an error."""
    if isinstance(first, hiredis.HiredisError):
        return first
    return second if isinstance(second, hiredis.HiredisError) else (first, second)


def _packed(words: tuple[Argument, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub says: of one word
    return packed
