"""A request's content on its way upstream: checked, counted, re-framed, and kept for a retry within bounds."""

from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from edgewise.contracts.policies import Denial, Refused
from edgewise.http.head import CHUNKED
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1_chunked import ChunkedDecoder, encode_chunk
from edgewise.proxy import lifecycle, plans
from edgewise.proxy.wire import FOREVER

if TYPE_CHECKING:
    from asyncio import Future

    from edgewise.contracts.exchange import Exchange
    from edgewise.proxy.downstream import Downstream
    from edgewise.proxy.http2_downstream import Http2Stream
    from edgewise.proxy.lifecycle import Connection

_HOLD = 65536
"""Bytes held while no server is connected; past that the client is not read."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BUFFER_LIMIT = 1 << 20
"""Bytes `buffer_request` gathers at most before a server is chosen; a longer content streams from there on."""


class RequestContent:
    """Content of one request, from client to upstream connection."""

    __slots__ = (
        "_chunked", "_client", "_decoder", "_exchange", "_gathering", "_hold", "_limit", "_policy", "_remaining",
        "_replay", "_replay_limit", "_started", "buffering", "complete", "continued", "pending", "pending_bytes",
        "trailers", "upstream",
    )  # fmt: skip

    timed: ClassVar[bool] = True
    """The client has its own time to send; else the server's counts from what came of the request too."""

    def __init__(self, exchange: Exchange, client: Downstream | Http2Stream, replay_limit: int) -> None:
        self._exchange = exchange
        self._client = client
        body = exchange.plan.body
        self._chunked = body == CHUNKED
        self._decoder = ChunkedDecoder(status=400) if self._chunked else None
        self._remaining = body
        self._limit = exchange.route.body_limit
        self.complete = False
        self.trailers = b""
        """Lines of the trailers that are forwarded, once `complete`."""
        self.continued = False
        """100 (Continue) was sent."""
        self.upstream: Connection | None = None
        """Where content goes; None while it is held."""
        self.pending: list[bytes] = []
        """Content not yet given to an upstream connection."""
        self.pending_bytes = 0
        self._replay: list[bytes] | None = []
        self._replay_limit = replay_limit
        self._started = monotonic()
        self.buffering = exchange.route.buffer_request
        self._hold = BUFFER_LIMIT if self.buffering else _HOLD
        self._gathering: Future[bytes] | None = None
        """A policy waits for the whole content."""
        self._policy = ""
        """That policy."""
        self.extend_deadline()

    def feed(self, data: bytes) -> None:
        """Take bytes read from an HTTP/1 client; what follows the content goes back to its buffer."""
        try:
            content = self._decoded(data)
        except ProtocolError as error:
            lifecycle.fail(self._exchange, error.status, "client-body", error.detail)
            return
        self._take(content)

    def feed_content(self, content: bytes, *, end: bool, trailers: bytes = b"") -> None:
        """Take what came in an HTTP/2 frame; its codec has checked and counted it."""
        self.complete = end
        self.trailers = self._allowed(trailers) if trailers else trailers
        self._exchange.request_bytes += len(content)
        self._take(content)

    def _take(self, content: bytes) -> None:
        exchange = self._exchange
        if self._limit and exchange.request_bytes > self._limit:
            lifecycle.fail(exchange, 413, "client-body", "request content over the route's limit")
            return
        if exchange.waiting:
            pass  # the queue's own deadline holds
        elif self.complete:
            self._client.deadline = FOREVER
        else:
            self.extend_deadline()
        if content or self.complete:
            self._forward(content)

    def _decoded(self, data: bytes) -> bytes:
        """Check the framing and take it off (RFC 9112 sections 6 and 7.1); sets `complete`."""
        exchange = self._exchange
        decoder = self._decoder
        if decoder is None:
            if len(data) > self._remaining:
                self._client.buffer = data[self._remaining :]
                data = data[: self._remaining]
            self._remaining -= len(data)
            exchange.request_bytes += len(data)
            self.complete = not self._remaining
            return data
        content = b"".join(decoder.feed(data))
        exchange.request_bytes += len(content)
        if decoder.done:
            self.complete = True
            self._client.buffer = decoder.rest
            self.trailers = self._allowed(b"".join([field.line for field in decoder.trailers]))
        return content

    def _allowed(self, trailers: bytes) -> bytes:
        """Return trailers without those that only policies speak in: a server may take them for fields of the head."""
        stripped = self._exchange.route.stripped
        if not stripped:
            return trailers
        lines = trailers.splitlines(keepends=True)
        return b"".join([one for one in lines if _name(one) not in stripped])

    def framed(self, content: bytes) -> bytes:
        """Return content as an HTTP/1.1 server gets it, with what ends it where nothing more follows."""
        if not self._chunked:
            return content
        data = encode_chunk(content) if content else b""
        return b"%b0\r\n%b\r\n" % (data, self.trailers) if self.complete else data

    def _forward(self, data: bytes) -> None:
        if self._replay is not None:
            self._replay.append(data)
            self._replay_limit -= len(data)
            if self._replay_limit < 0:
                self._replay = None
        if self.upstream is not None:
            if not self.upstream.send_content(data, self):
                self._client.pause_reading()
                self._client.deadline = FOREVER  # it is the server that keeps the client waiting
            if self.complete or not self.timed:
                self.upstream.await_answer()
            return
        self.pending.append(data)
        self.pending_bytes += len(data)
        if self._gathering is not None and (self.complete or self.pending_bytes > self._hold):
            self._end_gathering(self._gathering)
        elif self.buffering and (self.complete or self.pending_bytes > self._hold):
            self.buffering = False
            lifecycle.admitted(self._exchange)
        elif self.pending_bytes > self._hold and not self.complete:
            self._client.pause_reading()
            if not self._exchange.waiting:
                self._client.deadline = FOREVER

    def gather(self, most: int, policy: str) -> bytes | Awaitable[bytes]:
        """Return the content whole, for `policy`, waiting for the rest of it; raises Refused past `most` bytes."""
        if max(self.pending_bytes, self._exchange.plan.body) > most:
            raise _too_long(most, policy)
        if self.complete:
            return self._whole()
        self._hold, self._policy = most, policy
        self._gathering = self._client.engine.loop.create_future()
        self.ask()
        self.flow()
        return self._gathering

    def _end_gathering(self, gathering: Future[bytes]) -> None:
        self._gathering = None
        if gathering.done():  # cancelled: whoever waited was given up
            return
        if self.pending_bytes > self._hold:
            self._client.pause_reading()
            gathering.set_exception(_too_long(self._hold, self._policy))
        else:
            gathering.set_result(self._whole())

    def _whole(self) -> bytes:
        whole = b"".join(self.pending)
        self.pending[:] = [whole]
        if self._replay is not None:
            self._replay[:] = [whole]  # nothing went out yet: the same bytes, held once
        return whole

    def ask(self) -> None:
        """Tell a client that waits for 100 (Continue) to send its content (RFC 9110 section 10.1.1)."""
        if self._exchange.plan.expect and not (self.continued or self.complete or self.pending_bytes):
            self.continued = True
            self._client.send_interim(_CONTINUE)

    def replace(self, content: bytes) -> None:
        """Send `content` on in place of the content that was gathered, framed by its length; no trailers follow."""
        exchange = self._exchange
        exchange.plan = plans.with_length(exchange.plan, len(content))
        self._chunked = False
        self.trailers = b""
        self.pending[:] = [content]
        self.pending_bytes = len(content)
        if self._replay is not None:
            self._replay[:] = [content]

    def attach(self, connection: Connection) -> bytes:
        """Let content flow to `connection` from now on; return the content that goes out right behind the head."""
        self.upstream = connection
        held = b"".join(self.pending)
        self.pending.clear()
        self.pending_bytes = 0
        self.flow()
        return held

    def flow(self) -> None:
        """Read the client again: the upstream took what it was given."""
        if not self.complete:
            self.extend_deadline()
        self._client.resume_reading()

    def rewind(self) -> bool:
        """Prepare to send the content again from its start; False when it was not kept."""
        if self.upstream is None:
            return True
        if self._replay is None:
            return False
        self.upstream = None
        self.pending = list(self._replay)
        self.pending_bytes = sum(map(len, self.pending))
        return True

    def extend_deadline(self) -> None:
        """A client must send something within `body_timeout`, and keep above the minimum rate."""
        now = monotonic()
        timeout = self._exchange.route.body_timeout
        self._client.deadline = now + timeout
        rate = self._client.engine.limits.min_rate
        if rate:
            slowest = self._started + timeout + self._exchange.request_bytes / rate
            self._client.deadline = min(self._client.deadline, slowest)


def _name(line: bytes) -> bytes:
    """Return the name of a field as a server may read it that takes "_" for "-"."""
    return line.partition(b":")[0].lower().replace(b"_", b"-")


def _too_long(most: int, policy: str) -> Refused:
    return Refused(Denial(413, policy, f"The request has more than {most} bytes of content."))


class UnreadContent:
    """Content that will not be read: its connection lingers and closes, so that it cannot pass for a request."""

    complete = False
    upstream = None
    timed: ClassVar[bool] = True

    def feed(self, data: bytes) -> None:
        """Drop what still arrives while the answer is being written."""

    def feed_content(self, content: bytes, *, end: bool, trailers: bytes = b"") -> None:
        """The same of HTTP/2."""

    def extend_deadline(self) -> None:
        """Nothing more is expected of the client."""


UNREAD = UnreadContent()
