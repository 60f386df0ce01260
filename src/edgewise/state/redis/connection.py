"""Commands to a server that may be away: what was not sent is sent again, what may have been carried out is not."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from edgewise.contracts.state import StateError, StateUnavailable
from edgewise.state.redis.scripts import Script

Argument = str | bytes | int | float
_MOST_CONNECTIONS = 64
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.25
_AWAY = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError)
_NOT_DONE = (exceptions.BusyLoadingError, exceptions.MasterDownError, exceptions.ReadOnlyError)
"""Answers after which the command may be sent again: it was refused for now."""


class Connections:
    """A bounded pool. `patience` in seconds is what a command may take, waiting for the server included.

    Speaks through redis-py's connections rather than its client: the client sends commands again by itself after a
    connection broke, additions to counters too.
    """

    def __init__(self, url: str, patience: float) -> None:
        self.patience = patience
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MOST_CONNECTIONS,
            timeout=patience,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            retry=Retry(NoBackoff(), 0),
        )
        self._closed = False

    async def run(self, script: Script, keys: list[str], *arguments: Argument, again: bool = False) -> Any:
        """Run a script and return its result; `again`: it may be sent twice."""
        head: tuple[Argument, ...] = (len(keys), *keys)
        try:
            return await self.command("EVALSHA", script.sha, *head, *arguments, again=again)
        except exceptions.NoScriptError:
            return await self.command("EVAL", script.source, *head, *arguments, again=again)

    async def command(self, *words: Argument, again: bool = False) -> Any:
        """Send a command and return its result. Raises StateUnavailable, or StateError where it is refused."""
        deadline = time.monotonic() + self.patience
        pause = _FIRST_PAUSE
        while True:
            sent = False
            try:
                connection = await self._connect()
                sent = True
                return await self._converse(connection, words)
            except _NOT_DONE as error:
                reason: Exception = error
                sent = False
            except _AWAY as error:
                reason = error
            except exceptions.NoScriptError:
                raise
            except exceptions.RedisError as error:
                raise StateError(f"the Redis server refuses: {error}") from error
            if self._closed:
                raise StateUnavailable("the engine was closed")
            if (sent and not again) or time.monotonic() + pause > deadline:
                raise StateUnavailable(f"the Redis server does not answer: {reason}") from reason
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)

    async def _connect(self) -> AbstractConnection:
        if self._closed:
            raise StateUnavailable("the engine was closed")
        connection: AbstractConnection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        return connection

    async def _converse(self, connection: AbstractConnection, words: tuple[Argument, ...]) -> Any:
        clean = False
        try:
            await connection.send_command(*words)
            result = await connection.read_response()
            clean = True
            return result
        except exceptions.ResponseError:
            clean = True
            raise
        finally:
            if not clean:  # an answer may still come, which must not be taken for the next one's
                await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    async def wait_for_stream(self, key: str, after: int, milliseconds: int) -> None:
        """Return once a stream has entries after an id, or after a while. Raises StateUnavailable."""
        await self.command("XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", key, f"{after}-0", again=True)

    async def close(self) -> None:
        """Disconnect."""
        self._closed = True
        await self._pool.disconnect()
