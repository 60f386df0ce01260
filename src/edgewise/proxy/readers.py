"""Clients' ways through content that is stored, or that is being fetched for several of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edgewise.contracts.cache import Delivery
from edgewise.protocols.http1_chunked import encode_chunk
from edgewise.proxy import lifecycle
from edgewise.proxy.content import UNREAD
from edgewise.proxy.pieces import Pieces
from edgewise.proxy.wire import Buffer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

_LAST_CHUNK = b"0\r\n\r\n"
_UNKNOWN = 1 << 62
_BODILESS = (204, 304)


class Supply(Protocol):
    """Where content comes from that is not whole yet."""

    def progressed(self) -> None:
        """A reader took some."""

    def left(self, reader: Reader) -> None:
        """A reader is gone."""


class Reader:
    """One exchange that is answered from the cache: waits for the head, then sends content as it comes."""

    __slots__ = ("_at", "_chunked", "_content", "_end", "_exchange", "_paused", "_supply", "request")

    def __init__(self, exchange: Exchange, request: Any, supply: Supply | None = None) -> None:
        """With `supply`, the exchange waits for it; `request` is what its head says to the cache."""
        self._exchange = exchange
        self._supply = supply
        self.request = request
        self._content: Pieces | None = None
        self._at = 0
        self._end = 0
        self._chunked = False
        self._paused = False
        if supply is not None:
            exchange.upstream = self

    @property
    def exchange(self) -> Exchange:
        """Whose answer it is."""
        return self._exchange

    @property
    def at(self) -> int:
        """Offset of the first byte that was not given to the client."""
        return self._at

    def begin(self, delivery: Delivery, content: Pieces) -> None:
        """Send a head, and what there is of the content."""
        exchange = self._exchange
        client = exchange.client
        self._content, self._at = content, delivery.start
        self._end = delivery.end if delivery.end >= 0 else _UNKNOWN
        head = delivery.head + self._framing(delivery)
        if exchange.plan.is_head or delivery.status in _BODILESS:
            self._end = self._at
        data, last = self._next()
        if self._content is None:
            return
        exchange.status, exchange.answered = delivery.status, True
        exchange.response_bytes += len(head) + len(data)
        client.source = self
        self._paused = not client.send_head(head, data, end=last)
        if last:
            self._finish()
        elif not self._paused:
            self.more()

    def _framing(self, delivery: Delivery) -> bytes:
        """Return the lines that frame content of unknown length, and the end of the head (RFC 9112 section 6)."""
        exchange = self._exchange
        plan, client = exchange.plan, exchange.client
        minor = plan.request.minor
        close = plan.close or client.closing
        framing = b""
        if delivery.end >= 0 or delivery.status in _BODILESS:
            pass
        elif minor == 1:
            self._chunked = not plan.is_head
            framing = b"Transfer-Encoding: chunked\r\n"
        elif not minor and not close:
            close = True
            exchange.body = UNREAD  # its end is the end of the connection
        if close and minor < 2:
            return framing + b"Connection: close\r\n\r\n"
        return framing + (b"\r\n" if minor else b"Connection: keep-alive\r\n\r\n")

    def pause(self) -> None:
        """Nothing to stop: pieces are taken only on `resume`."""

    def resume(self) -> None:
        """The client took what it was given: go on."""
        self._paused = False
        self.more()

    def more(self) -> None:
        """Send content that has come, until the client's socket is full or all is out."""
        exchange = self._exchange
        client = exchange.client
        while self._content is not None and not (self._paused or client.broken):
            data, last = self._next()
            if not data and not last:
                break
            exchange.response_bytes += len(data)
            self._paused = not client.send(data, end=last)
            if last:
                self._finish()
        if self._supply is not None:
            self._supply.progressed()

    def _next(self) -> tuple[Buffer, bool]:
        """Take the next piece, framed for the client; is it the last? The exchange ends where it cannot be read."""
        content = self._content
        assert content is not None
        try:
            piece = content.piece(self._at, self._end)
        except OSError as error:
            lifecycle.fail(self._exchange, 500, "edge-cache", f"what is stored cannot be read: {error}")
            return b"", False
        self._at += len(piece)
        last = self._at == self._end or (content.whole and self._at == content.size)
        if self._chunked:
            piece = encode_chunk(bytes(piece)) + (_LAST_CHUNK if last else b"")
        return piece, last

    def _finish(self) -> None:
        """All of it was given to the client."""
        exchange = self._exchange
        client = exchange.client
        self._content = None
        exchange.upstream = None
        client.source = None
        supply, self._supply = self._supply, None
        if supply is not None:
            supply.left(self)
        if client.flushed:
            lifecycle.finish(exchange)
        else:
            client.finishing = True

    def leave(self) -> Exchange:
        """Wait no longer; return the exchange, to be answered in another way."""
        self._supply = None
        self._exchange.upstream = None
        return self._exchange

    def abandon(self) -> None:
        """The client is gone, or its exchange failed."""
        self._content = None
        supply, self._supply = self._supply, None
        if supply is not None:
            supply.left(self)
