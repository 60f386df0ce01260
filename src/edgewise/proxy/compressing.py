"""Content compressed: a response's on its way to the client, in a thread where a piece of it takes long."""

from __future__ import annotations

import logging
from asyncio import get_running_loop
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from edgewise.protocols.content_coding import Encoder, make_encoder
from edgewise.protocols.http1_chunked import encode_chunk
from edgewise.proxy import attempts, lifecycle
from edgewise.proxy.relay import Relay
from edgewise.proxy.wire import Buffer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import ResponsePlan
    from edgewise.proxy.lifecycle import Connection

_AT_ONCE = 16384
"""Bytes compressed on the spot: a third of a millisecond at most. More goes to a thread, which holds up nobody."""
_threads = ThreadPoolExecutor(2, "compress")
_log = logging.getLogger("edgewise.compress")


def aside(work: Callable[[], bytes], then: Callable[[bytes | None], None]) -> None:
    """Have a thread do `work`; then tell `then`, in the running loop, what came of it: None where it failed."""
    loop = get_running_loop()

    def done(working: Future[bytes]) -> None:
        error = working.exception()
        if error is not None:
            _log.error("content could not be compressed", exc_info=error)
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(then, None if error is not None else working.result())

    _threads.submit(work).add_done_callback(done)


class CompressingRelay(Relay):
    """A relay that encodes. One piece at a time is in work, and the server waits meanwhile.

    Content of unknown length is flushed piece by piece, as it came: whoever sends that way wants it seen.
    """

    __slots__ = ("_busy", "_clean", "_encoder", "_ended", "_flush", "_queue", "_trailers")

    def __init__(self, exchange: Exchange, connection: Connection, plan: ResponsePlan, head: bytes) -> None:
        super().__init__(exchange, connection, plan, head)
        compression = exchange.route.compression
        assert compression is not None
        self._encoder: Encoder = make_encoder(plan.coding, compression.levels[plan.coding], plan.body)
        self._flush = plan.body < 0
        self._queue: list[bytes] = []
        """What came while a piece is in work."""
        self._busy = False
        self._ended = False
        """All of the content came."""
        self._trailers = b""
        self._clean = False

    # ---- from the server ---------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Read once; not behind the end, which may still be in work."""
        if self._ended:
            self._connection.pause()
        else:
            super().read()

    def pass_on(self, content: Buffer) -> None:
        """Encode content and send it on."""
        if content:
            self._take(bytes(content))

    def end(self, content: Buffer, trailers: bytes, *, clean: bool) -> None:
        """Encode the last content, and send what ends it."""
        self._ended, self._trailers, self._clean = True, trailers, clean
        self._take(bytes(content))

    def _feed_counted(self, data: Buffer) -> None:
        self._remaining -= len(data)
        if self._remaining > 0:
            self.pass_on(data)
        else:  # what is more than was announced belongs to nobody
            self.end(data[: len(data) + self._remaining], b"", clean=self._remaining == 0)

    # ---- encoding ----------------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        if self._busy:
            self._queue.append(data)
            self._connection.pause()
        elif len(data) <= _AT_ONCE:
            self._give(self._encode(data, self._ended), self._ended)
        else:
            self._hand_over(data, self._ended)

    def _encode(self, data: bytes, last: bool) -> bytes:
        return self._encoder.finish(data) if last else self._encoder.encode(data, flush=self._flush)

    def _hand_over(self, data: bytes, last: bool) -> None:
        """Have a thread encode a piece."""
        self._busy = True
        self._connection.pause()
        loop = self._exchange.client.engine.loop
        working = _threads.submit(self._encode, data, last)
        working.add_done_callback(lambda done: loop.call_soon_threadsafe(self._done, done, last))

    def _done(self, done: Future[bytes], last: bool) -> None:
        """A thread encoded a piece: send it, and go on with what came meanwhile."""
        self._busy = False
        exchange = self._exchange
        if self._connection.exchange is not exchange:
            return  # given up meanwhile
        error = done.exception()
        if error is not None:
            attempts.ended(exchange, ok=True)
            lifecycle.fail(exchange, 500, "edge-compress", f"{type(error).__name__}: {error}")
            return
        self._give(done.result(), last)
        if last:
            return
        if self._queue:
            data = b"".join(self._queue)
            self._queue.clear()
            self._take(data)
        if not self._busy and self._connection.exchange is exchange and exchange.client.flushed:
            self._connection.resume()

    # ---- to the client -----------------------------------------------------------------------------------------------

    def _give(self, coded: bytes, last: bool) -> None:
        chunked = not self._exchange.client.multiplexed
        if last:
            self._conclude(coded, chunked=chunked)
        elif coded:
            self._send(encode_chunk(coded) if chunked else coded)

    def _conclude(self, coded: bytes, *, chunked: bool) -> None:
        trailers = self._trailers
        if chunked:
            self._finish(b"%b0\r\n%b\r\n" % (encode_chunk(coded) if coded else b"", trailers), clean=self._clean)
        elif trailers:
            self._send(coded)
            self._exchange.client.send_trailers(trailers)
            self._whole(clean=self._clean)
        else:
            self._finish(coded, clean=self._clean)
