"""Records an answer while it goes to its client, and to its end where the client leaves.

All but the end is passed on as it comes; the end waits until the answer is kept. So whoever has a whole answer can rely
on it, and an answer of one piece costs its client the time that keeping it takes.
"""

from __future__ import annotations

import logging
from asyncio import Task
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from edgewise.contracts.plan import Answer
from edgewise.http.head import CHUNKED
from edgewise.protocols.http1 import parse_response_head
from edgewise.protocols.http1_chunked import ChunkedDecoder
from edgewise.proxy import lifecycle
from edgewise.proxy.interposed import Interposed
from edgewise.proxy.wire import Buffer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.recording import Recorder

_log = logging.getLogger("edgewise.gateway")
_OF_THE_CONNECTION = frozenset((
    b"cache-status", b"connection", b"content-length", b"date", b"keep-alive", b"trailer", b"transfer-encoding",
    b"upgrade",
))  # fmt: skip
"""Fields that are of one exchange alone, or written anew when an answer is sent again."""
_LEFT = "client closed the connection; the answer was waited for"


def record(exchange: Exchange, recorder: Recorder) -> None:
    """Have the answer recorded (`contracts.recording.Record`)."""
    Recording(exchange, recorder)


class Recording(Interposed):
    """The client, in the eyes of an exchange whose answer is recorded."""

    def __init__(self, exchange: Exchange, recorder: Recorder) -> None:
        super().__init__(exchange)
        self._recorder = recorder
        self._answer: Answer | None = None
        """Status and fields, once they are known and wanted."""
        self._pieces: list[bytes] = []
        self._size = 0
        self._decoder: ChunkedDecoder | None = None
        self._task: Task[None] | None = None
        """Keeps the answer; what it waits for is whole, or is not wanted."""
        self._last: Callable[[], Any] | None = None
        """Gives the client the end of the answer."""
        self._finishing = False
        self._left = False
        """There is no client any more."""
        self._over = False

    # ---- the answer --------------------------------------------------------------------------------------------------

    def send_head(self, head: bytes, content: Buffer, *, end: bool) -> bool:
        """Take a head, and the content that is at hand."""
        response = parse_response_head(head)
        if self._recorder.wanted(self.own, response.status):
            fields = tuple(
                (field.line.partition(b":")[0], field.value)
                for field in response.fields
                if field.name not in _OF_THE_CONNECTION
            )
            self._answer = Answer(response.status, fields, b"")
            self._decoder = ChunkedDecoder(status=502) if response.body == CHUNKED else None
        self._take(content)
        if end:
            return self._whole(partial(self.client.send_head, head, bytes(content), end=True))
        return self._left or super().send_head(head, content, end=False)

    def send(self, data: Buffer, *, end: bool = False) -> bool:
        """Take content."""
        self._take(data)
        if end:
            return self._whole(partial(self.client.send, bytes(data), end=True))
        return self._left or super().send(data)

    def send_trailers(self, lines: bytes) -> None:
        """The content ended; trailers are not kept."""
        self._whole(partial(self.client.send_trailers, lines))

    def send_interim(self, head: bytes) -> None:
        """Send a 1xx response."""
        if not self._left:
            self.client.send_interim(head)

    def _take(self, data: Buffer) -> None:
        if self._answer is None:
            return
        piece = bytes(data) if self._decoder is None else b"".join(self._decoder.feed(bytes(data)))
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._recorder.most:
            self._answer = None
            self._pieces.clear()

    def _whole(self, last: Callable[[], Any]) -> bool:
        """All has come: keep it, then let the client have the end."""
        self._last = last
        if not self._left:
            self.client.finishing = False
        self._conclude(self._answer)
        return False

    def _conclude(self, answer: Answer | None) -> None:
        if self._task is None:
            self._task = self.client.engine.loop.create_task(self._hand_over(answer))

    async def _hand_over(self, answer: Answer | None) -> None:
        try:
            if answer is None:
                await self._recorder.drop()
            else:
                await self._recorder.keep(answer._replace(content=b"".join(self._pieces)))
        except Exception:
            _log.exception("an answer could not be kept")
        self._release()

    def _release(self) -> None:
        """It is known what became of the answer: the client gets the end of it."""
        last, self._last = self._last, None
        if self._over or last is None:
            return
        if not self._left:
            last()
        elif not self.own.end:
            self.own.end, self.own.failure = "client", _LEFT
        if not self._finishing:
            if self.client.source is not None:
                self.client.source.resume()
        elif self._left or self.client.flushed:
            lifecycle.finish(self.own)
        else:
            self.client.finishing = True

    # ---- as the exchange sees its client -----------------------------------------------------------------------------

    @property
    def flushed(self) -> bool:
        """Is everything on its way?"""
        return self._last is None and (self._left or super().flushed)

    @property
    def finishing(self) -> bool:
        """The answer is whole, but not all of it is with the client."""
        return self._finishing

    @finishing.setter
    def finishing(self, value: bool) -> None:
        self._finishing = value
        if self._last is None and not self._left:
            self.client.finishing = value

    @property
    def sock(self) -> Any:
        """Something as long as the answer is of use."""
        return self if self._left else super().sock

    @property
    def broken(self) -> bool:
        """Is sending of no use?"""
        return not self._left and bool(self.client.broken)

    # ---- ends --------------------------------------------------------------------------------------------------------

    def goes_on(self) -> bool:
        """The client left: a server that was asked is heard to its end, since it may have done what was asked."""
        exchange = self.own
        if self._over or self._left or self._task is not None or exchange.upstream is None or not exchange.dispatched:
            return self._left
        self._left = True
        source, client = self.client.source, self.client
        client.source, client.finishing = None, False
        client.close()
        client.ended(monotonic(), close=True)
        if source is not None:
            source.resume()
        return True

    def ended(self, now: float, *, close: bool) -> None:
        """The exchange is over; without a whole answer, nothing is kept."""
        self._end()
        if not self._left:
            super().ended(now, close=close)

    def linger(self) -> None:
        """The same, of a client that still sends."""
        self._end()
        if not self._left:
            super().linger()

    def close(self, *, cut: bool = False) -> None:
        """Give the client up."""
        if not self._left:
            super().close(cut=cut)

    def _end(self) -> None:
        self._over = True
        self._conclude(None)
