"""Large content of known length between two plain sockets, moved by the kernel through a pipe (splice(2)).

The bytes are never copied into this process: half the CPU of reading and sending them.
"""

from __future__ import annotations

import fcntl
import os
import ssl
from typing import TYPE_CHECKING

from edgewise.proxy import lifecycle
from edgewise.proxy.interposed import Interposed
from edgewise.proxy.wire import FOREVER

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import ResponsePlan
    from edgewise.proxy.upstream import UpstreamConnection

WORTHWHILE = 262144
"""Bytes still to come below which an ordinary read is cheaper than two more system calls."""
_PIPE_SIZE = 1 << 20
_KEPT_PIPES = 64
_FLAGS = 3
"""SPLICE_F_MOVE | SPLICE_F_NONBLOCK."""
AVAILABLE = hasattr(os, "splice")


class Pipe:
    """A pipe of the worker's pool; always empty while it is there."""

    __slots__ = ("read_end", "write_end")

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        except OSError:  # over the user's share of pipe buffers: the default size works too
            return

    def close(self) -> None:
        """Close both ends."""
        os.close(self.read_end)
        os.close(self.write_end)


def possible(exchange: Exchange, connection: UpstreamConnection, plan: ResponsePlan, size: int) -> bool:
    """May the rest of a response, of which `size` bytes came with the head, be spliced?"""
    if not AVAILABLE or plan.chunk or plan.body - size < WORTHWHILE:
        return False
    client = exchange.client
    looked_at = client.tls or client.multiplexed or isinstance(client, Interposed)
    return not (looked_at or isinstance(connection.sock, ssl.SSLSocket))


class Splice:
    """Moves the rest of one response, a pipe's fill at a time, as the client takes it."""

    __slots__ = ("_connection", "_exchange", "_pending", "_pipe", "_plan", "_remaining")

    def __init__(self, exchange: Exchange, connection: UpstreamConnection, plan: ResponsePlan, remaining: int) -> None:
        self._exchange = exchange
        self._connection = connection
        self._plan = plan
        self._remaining = remaining
        """Bytes still to come from the server."""
        self._pending = 0
        """Bytes in the pipe."""
        pipes: list[Pipe] = connection.engine.pipes
        self._pipe: Pipe | None = pipes.pop() if pipes else Pipe()

    def read(self) -> None:
        """The server's socket is readable: fill the pipe, then empty it toward the client."""
        pipe, connection = self._pipe, self._connection
        assert pipe is not None
        try:
            size = os.splice(connection.fd, pipe.write_end, min(self._remaining, _PIPE_SIZE), flags=_FLAGS)
        except BlockingIOError:
            return
        except OSError as error:
            connection.lost(str(error))
            return
        if not size:
            connection.lost("closed by the server")
            return
        connection.await_answer()
        self._remaining -= size
        self._pending += size
        self._empty()

    def _empty(self) -> None:
        exchange, pipe = self._exchange, self._pipe
        assert pipe is not None
        client = exchange.client
        while self._pending:
            try:
                size = os.splice(pipe.read_end, client.fd, self._pending, flags=_FLAGS)
            except BlockingIOError:
                self._wait()
                return
            except OSError:
                client.lost()
                self._connection.pause()
                return
            self._pending -= size
            exchange.response_bytes += size
            client.wrote(size)
        if client.splicing:
            self._go_on()
        if not self._remaining:
            self.close()
            lifecycle.whole(exchange, self._connection, self._plan, reusable=self._plan.keep_alive)

    def _wait(self) -> None:
        """The client's socket is full: read no more until it has taken what is in the pipe."""
        client = self._exchange.client
        if not client.splicing:
            client.splicing = True
            client.begin_write()
            self._connection.pause()
            self._connection.engine.add_writer(client.fd, self._empty)

    def _go_on(self) -> None:
        client = self._exchange.client
        client.splicing = False
        client.deadline = FOREVER
        self._connection.engine.remove_writer(client.fd)
        if self._remaining:
            self._connection.resume()

    def close(self) -> None:
        """Give the pipe back, or close it where bytes are left in it; idempotent."""
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return
        pipes = self._connection.engine.pipes
        if self._pending or len(pipes) >= _KEPT_PIPES:
            pipe.close()
        else:
            pipes.append(pipe)
