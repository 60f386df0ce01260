"""A response's content on its way to the client: checked, re-framed, with back-pressure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.http.head import CHUNKED, UNTIL_CLOSE
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1_chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk, encode_last_chunk
from edgewise.proxy import attempts, lifecycle
from edgewise.proxy.content import UNREAD
from edgewise.proxy.wire import WOULD_BLOCK, Buffer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import ResponsePlan
    from edgewise.proxy.upstream import UpstreamConnection


class Relay:
    """Content of one response. Each read is passed on at once: events and unknown-length bodies are never held back."""

    __slots__ = ("_connection", "_decoder", "_exchange", "_head", "_plan", "_remaining", "until_close")

    def __init__(self, exchange: Exchange, connection: UpstreamConnection, plan: ResponsePlan, head: bytes) -> None:
        self._exchange = exchange
        self._connection = connection
        self._plan = plan
        self._head = head
        """Goes out with the first content, in one write."""
        self._remaining = plan.body
        self._decoder = ChunkedDecoder(status=502) if plan.body == CHUNKED else None
        self.until_close = plan.body == UNTIL_CLOSE

    def read(self) -> None:
        """Read once, into the worker's buffer: a fresh one of this size would be mapped and unmapped at each read."""
        connection = self._connection
        scratch = connection.engine.scratch
        try:
            size = connection.sock.recv_into(scratch)
        except WOULD_BLOCK:
            return
        except OSError as error:
            connection.lost(str(error))
            return
        if size:
            connection.await_answer()
            self.feed(scratch[:size])
        elif self.until_close:
            self._end_of_file()
        else:
            connection.lost("closed by the server")

    def feed(self, data: Buffer) -> None:
        """Take bytes read from the server."""
        if self._decoder is not None:
            self._feed_chunked(bytes(data))
        elif self.until_close:
            self._send(encode_chunk(bytes(data)) if self._plan.chunk and data else data)
        else:
            self._feed_counted(data)

    def _feed_counted(self, data: Buffer) -> None:
        self._remaining -= len(data)
        if self._remaining > 0:
            self._send(data)
            return
        if self._remaining < 0:  # more than was announced: the rest belongs to nobody
            data = data[: self._remaining]
        self._finish(data, clean=self._remaining == 0)

    def _feed_chunked(self, data: bytes) -> None:
        decoder = self._decoder
        assert decoder is not None
        try:
            slices = decoder.feed(data)
        except ProtocolError as error:
            attempts.ended(self._exchange, ok=False)
            lifecycle.fail(self._exchange, 502, "upstream-body", error.detail)
            return
        content = slices[0] if len(slices) == 1 else b"".join(slices)
        message = encode_chunk(content) if self._plan.chunk and content else content
        if not decoder.done:
            self._send(message)
            return
        if self._plan.chunk:
            message += encode_last_chunk(decoder.trailers)
        self._finish(message, clean=not decoder.rest)

    def _end_of_file(self) -> None:
        """The server closed, which ends content of unknown length."""
        self._finish(LAST_CHUNK if self._plan.chunk else b"", clean=True)

    def _send(self, data: Buffer) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        self._exchange.response_bytes += len(data)
        if data and not self._exchange.client.send(data):
            self._connection.pause()

    def _finish(self, data: Buffer, *, clean: bool) -> None:
        self._send(data)
        self._connection.resume()
        if self._plan.close and not self._exchange.plan.close:
            self._exchange.body = UNREAD  # the client was told that its connection ends here
        lifecycle.whole(self._exchange, self._connection, self._plan, reusable=clean and self._plan.keep_alive)

    def close(self) -> None:
        """Nothing is held that would have to be given back."""
