"""A response's content on its way to the client: checked, re-framed, with back-pressure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.http.head import CHUNKED, UNTIL_CLOSE
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1_chunked import ChunkedDecoder, encode_chunk
from edgewise.proxy import attempts, lifecycle
from edgewise.proxy.content import UNREAD
from edgewise.proxy.wire import WOULD_BLOCK, Buffer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import ResponsePlan
    from edgewise.proxy.lifecycle import Connection


class Relay:
    """Content of one response. Each read is passed on at once: events and unknown-length bodies are never held back."""

    __slots__ = ("_connection", "_decoder", "_exchange", "_head", "_plan", "_remaining", "until_close")

    def __init__(self, exchange: Exchange, connection: Connection, plan: ResponsePlan, head: bytes) -> None:
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
        assert connection.sock is not None
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
            self.end(b"", b"", clean=True)  # which ends content of unknown length
        else:
            connection.lost("closed by the server")

    def feed(self, data: Buffer) -> None:
        """Take bytes read from the server."""
        if self._decoder is not None:
            self._feed_chunked(bytes(data))
        elif self.until_close:
            self.pass_on(data)
        else:
            self._feed_counted(data)

    def begin(self) -> None:
        """Send the head where no content has taken it along yet."""
        if self._head:
            self._send(b"")

    def pass_on(self, content: Buffer) -> None:
        """Send content on, in a chunk where the client needs it so."""
        self._send(encode_chunk(bytes(content)) if self._plan.chunk and content else content)

    def end(self, content: Buffer, trailers: bytes, *, clean: bool) -> None:
        """Send the last content on, and what ends it; `clean`: nothing unasked came behind it."""
        if self._plan.chunk:
            chunk = encode_chunk(bytes(content)) if content else b""
            self._finish(b"%b0\r\n%b\r\n" % (chunk, trailers), clean=clean)
        elif trailers and self._exchange.client.multiplexed:
            self._send(content)
            self._exchange.client.send_trailers(trailers)
            self._whole(clean=clean)
        else:
            self._finish(content, clean=clean)

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
        if decoder.done:
            self.end(content, b"".join([field.line for field in decoder.trailers]), clean=not decoder.rest)
        else:
            self.pass_on(content)

    def _send(self, data: Buffer, *, end: bool = False) -> None:
        exchange = self._exchange
        exchange.response_bytes += len(data)
        if self._head:
            head, self._head = self._head, b""
            exchange.response_bytes += len(head)
            taken = exchange.client.send_head(head, data, end=end)
        else:
            taken = (not data and not end) or exchange.client.send(data, end=end)
        if not taken:
            self._connection.pause()

    def _finish(self, data: Buffer, *, clean: bool) -> None:
        self._send(data, end=True)
        self._whole(clean=clean)

    def _whole(self, *, clean: bool) -> None:
        """All content is on its way to the client."""
        self._connection.resume()
        if self._plan.close and not self._exchange.plan.close:
            self._exchange.body = UNREAD  # the client was told that its connection ends here
        lifecycle.whole(self._exchange, self._connection, self._plan, reusable=clean and self._plan.keep_alive)

    def close(self) -> None:
        """Nothing is held that would have to be given back."""
