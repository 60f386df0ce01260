"""Requests that a policy makes to an upstream before its own request goes on: clients of the engine like any other.

A subrequest takes the way of every request from the upstream on: circuit breaker, balancer, pooled connections, queue,
retries. What comes in answer is gathered for whoever asked.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import Plan, Route
from edgewise.contracts.policies import Fetched, FetchError
from edgewise.http.head import NO_BODY, plain_head
from edgewise.protocols.http1 import parse_response_head
from edgewise.proxy import lifecycle, plans
from edgewise.proxy.wire import FOREVER, Buffer, Source

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Upstream


class Subrequests:
    """A `contracts.policies.Ask`: asks servers of one upstream, whichever a reload makes of its name."""

    def __init__(self, upstream: str, *, most: int) -> None:
        """`most`: bytes of content that an answer may have."""
        self._upstream = upstream
        self._most = most
        self._route = Route(f"(subrequest) {upstream}", 0)

    async def __call__(self, exchange: Exchange, target: bytes, lines: bytes, *, timeout: float) -> Fetched:
        """Return the answer to a GET. Raises FetchError."""
        upstream: Upstream | None = exchange.client.engine.table.upstreams.get(self._upstream)
        if upstream is None:
            raise FetchError(f"there is no upstream {self._upstream} any more")
        asked = Subrequest(exchange, self._plan(exchange, upstream, target, lines), self._most)
        try:
            async with asyncio.timeout(timeout):
                return await asked.answer()
        except TimeoutError:
            raise FetchError(f"{self._upstream} did not answer within {timeout:g} s") from None
        finally:
            asked.leave()

    def _plan(self, exchange: Exchange, upstream: Upstream, target: bytes, lines: bytes) -> Plan:
        original = exchange.plan
        host = upstream.authority or original.request.authority
        plan = Plan(self._route, plain_head(b"GET", target, minor=2))  # the answer comes to a stream: no framing
        plan.upstream = upstream
        plan.body = NO_BODY
        plan.idempotent = True
        plan.head = b"GET %b HTTP/1.1\r\nHost: %b\r\n%b" % (target, host, lines)
        plan.trace, plan.forwarded_for, plan.forwarded_proto = original.trace, original.forwarded_for, True
        plan.responses = plans.response_memo(self._route, False, False, 2, exchange.client.engine.limits)
        return plan


class Subrequest:
    """One of them. To its exchange it is what an `Http2Stream` is."""

    multiplexed: ClassVar[bool] = True
    splicing: ClassVar[bool] = False
    closing: ClassVar[bool] = False
    flushed: ClassVar[bool] = True
    broken: ClassVar[bool] = False

    def __init__(self, exchange: Exchange, plan: Plan, most: int) -> None:
        client = exchange.client
        self.engine = client.engine
        self.peer, self.peer_ip = client.peer, client.peer_ip
        self.plans, self.suffix = client.plans, client.suffix
        self.tls, self.tls_key = client.tls, client.tls_key
        self.buffer = b""
        self.deadline = FOREVER
        self.source: Source | None = None
        self.finishing = False
        self.exchange: Exchange | None = Exchange(self, plan, monotonic(), exchange.request_id)
        self._own = self.exchange
        self._most = most
        self._status = 0
        self._fields: tuple[tuple[bytes, bytes], ...] = ()
        self._content = bytearray()
        self._answer: asyncio.Future[Fetched] = self.engine.loop.create_future()

    async def answer(self) -> Fetched:
        """Send the request, and return the answer once it is whole. Raises FetchError."""
        lifecycle.send_on(self._own)
        return await self._answer

    def leave(self) -> None:
        """Nobody waits any more."""
        if self.exchange is not None:
            lifecycle.client_left(self.exchange)

    # ---- what its exchange sees of it --------------------------------------------------------------------------------

    @property
    def sock(self) -> Subrequest | None:
        """Something as long as the answer is of use: there is no socket."""
        return None if self._answer.done() else self

    def client_ip(self) -> str:
        """Return the address of the client whose request is asked about."""
        ip: str = self.peer_ip
        return ip

    def send_interim(self, head: bytes) -> None:
        """Nobody wants to know."""

    def send_head(self, head: bytes, content: Buffer, *, end: bool) -> bool:
        """The server answered, or it is said here why none did."""
        own = self._own
        if own.end:
            self._fail(own.failure)
            return True
        response = parse_response_head(head.replace(own.set_cookie, b"", 1))
        self._status = response.status
        self._fields = tuple((field.name, field.value) for field in response.fields)
        return self.send(content, end=end)

    def send(self, data: Buffer, *, end: bool = False) -> bool:
        """Content came."""
        if self._answer.done():
            return True
        if len(self._content) + len(data) > self._most:
            self._fail(f"more than {self._most} bytes of answer")
            return True
        self._content += data
        if end:
            self._answer.set_result(Fetched(self._status, self._fields, bytes(self._content)))
        return True

    def send_trailers(self, lines: bytes) -> None:
        """The content ended."""
        self.send(b"", end=True)

    def ended(self, now: float, *, close: bool) -> None:
        """The exchange is over; nobody asked for it from outside, so it does not count as a request."""
        self.exchange = None
        self.source = None
        self.engine.finished -= 1

    def close(self, *, cut: bool = False) -> None:
        """The content broke off, or is not wanted any more."""
        self._fail(self._own.failure)

    def _fail(self, reason: str) -> None:
        if not self._answer.done():
            self._answer.set_exception(FetchError(reason))
            self._answer.exception()  # whoever left does not want to know
