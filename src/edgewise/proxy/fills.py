"""A fetch for the cache: a client of the engine like any other, whose answer others read while it comes.

It takes the way of every request, through balancer, retries and response filters. When its client leaves, the fetch
goes on for those who wait with it, and for the store.
"""

from __future__ import annotations

from copy import copy
from time import monotonic, time
from typing import TYPE_CHECKING, Any, ClassVar

from edgewise.contracts.cache import Asked, Body, Delivery, Fate, Found, Receipt, Result, RouteCache, Stored, Use
from edgewise.contracts.coded_heads import coded_lines, compressible
from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import Plan, Route
from edgewise.http.head import NO_BODY, RequestHead, ResponseHead
from edgewise.protocols.http1 import parse_response_head
from edgewise.proxy import caching, lifecycle, plans, slices
from edgewise.proxy.field_edits import edited
from edgewise.proxy.pieces import Content
from edgewise.proxy.readers import Reader
from edgewise.proxy.wire import FOREVER, Buffer, Source

if TYPE_CHECKING:
    from edgewise.proxy.slices import Slices

_RESULTS = {Fate.RENEWED: Result.REVALIDATED, Fate.STOOD_IN: Result.STALE}
_MOST_AHEAD = 1 << 20
"""Bytes that are read ahead of the slowest reader where they are not stored."""


class Fill:
    """One fetch and those who wait for it. To its exchange it is what an `Http2Stream` is."""

    multiplexed: ClassVar[bool] = True
    splicing: ClassVar[bool] = False
    closing: ClassVar[bool] = False
    flushed: ClassVar[bool] = True

    def __init__(self, exchange: Exchange, cache: RouteCache, request: Any, found: Found) -> None:
        """Fetch what `exchange` asks for; those whom it is for `wait`."""
        client = exchange.client
        self.engine = client.engine
        self.peer, self.peer_ip = client.peer, client.peer_ip
        self.plans, self.suffix = client.plans, client.suffix
        self.tls, self.tls_key = client.tls, client.tls_key
        self.buffer = b""
        self.deadline = FOREVER
        self.source: Source | None = None
        self.finishing = False
        self.broken = False
        self.exchange: Exchange | None = None
        self.epoch = cache.epoch()
        """What was purged before does not concern what is fetched."""
        self._cache = cache
        self._request = request
        self._found = found
        self._key = found.key
        self._asked = time()
        self._background = False
        self.number = -1 if found.part is None else found.part.number
        """Of the slice that is asked for; -1: the whole is."""
        self.part: Stored | None = None
        """The slice that came; None before the head, and where it is none."""
        self.own: Exchange | None = None
        """As `exchange`, after its end too."""
        self._leader: Reader | None = None
        """Whose request went out."""
        self._readers: dict[Reader, None] = {}
        self._followers: dict[Slices, None] = {}
        """Those that want a slice; the first has asked for it."""
        self._answered: tuple[Receipt, ResponseHead] | None = None
        """What became of the server's answer, once its head is here."""
        self.content: Content | None = None
        """What readers and followers get; None before the head, and where the server's content is of no use."""
        self._body: Body | None = None
        """The file that the content goes to, where it is long."""
        self._stored: Stored | None = None
        """What the content is kept as, once it is whole."""

    # ---- who waits ---------------------------------------------------------------------------------------------------

    def start(self, exchange: Exchange, *, background: bool = False) -> None:
        """Send out what `exchange` asks for; `background`: nobody waits for it."""
        self._background = background
        self.engine.fills[self._found.key] = self
        plan = _fetching_plan(exchange, self._cache.asked(self._request, self._found))
        own = self.own = self.exchange = Exchange(self, plan, monotonic(), exchange.request_id)
        own.request, own.context = exchange.request, exchange.context
        own.identity, own.forward_lines = exchange.identity, exchange.forward_lines
        lifecycle.send_on(own)

    def wait(self, exchange: Exchange, request: Any) -> None:
        """Answer `exchange` from what is fetched, once it comes; what is private is for the first."""
        reader = Reader(exchange, request, self)
        self._leader = self._leader or reader
        if self._answered is None:
            self._readers[reader] = None
        else:
            self._answer_other(reader, *self._answered)

    def left(self, reader: Reader) -> None:
        """A reader has what it wanted, or is gone."""
        self._readers.pop(reader, None)
        self._cancel_unless_wanted()

    def follow(self, follower: Slices) -> None:
        """Tell `follower` what becomes of the slice that is fetched."""
        self._followers[follower] = None

    def unfollow(self, follower: Slices) -> None:
        """It wants the slice no more."""
        self._followers.pop(follower, None)
        self._cancel_unless_wanted()

    def _cancel_unless_wanted(self) -> None:
        if not self._wanted():
            self.engine.loop.call_soon(self._cancel)  # not now: this may be a step of the fetch's own exchange

    def _wanted(self) -> bool:
        return bool(self._readers or self._followers) or self._background or self._stored is not None

    def _cancel(self) -> None:
        if self.exchange is not None and not self._wanted():
            lifecycle.client_left(self.exchange)

    def progressed(self) -> None:
        """A reader took some of the content."""
        if self.source is not None and not self._ahead():
            self.source.resume()

    def _ahead(self) -> bool:
        """Did more come, that is not stored, than the slowest reader should be behind by?"""
        content = self.content
        if content is None or self._stored is not None or self.part is not None:
            return False
        slowest = min((reader.at for reader in self._readers), default=content.size)
        content.drop(slowest)
        return content.size - slowest > _MOST_AHEAD

    # ---- what its exchange sees of it --------------------------------------------------------------------------------

    @property
    def sock(self) -> Fill | None:
        """Something as long as the fetch is of use: there is no socket."""
        return None if self.broken else self

    def client_ip(self) -> str:
        """Return the address of the client whose request went out."""
        ip: str = self.peer_ip
        return ip

    def send_interim(self, head: bytes) -> None:
        """Pass a 1xx response on to those who wait."""
        for reader in self._readers:
            if reader.exchange.plan.request.minor:
                reader.exchange.client.send_interim(head)

    def send_head(self, head: bytes, content: Buffer, *, end: bool) -> bool:
        """The server answered: find out what becomes of it, and answer those who wait."""
        own = self.own
        assert own is not None
        response = parse_response_head(head.replace(own.set_cookie, b"", 1))
        disconnected = bool(own.end) and own.end != "edge-filter"
        receipt = self._cache.receive(
            self._request, self._found, response, self._asked, time(), self.epoch, disconnected=disconnected
        )
        self._answered = receipt, response
        waiting, self._readers = self._readers, {}
        self.part = receipt.part
        self._close_to_others()
        if receipt.fate in (Fate.SHARED, Fate.SLICE, Fate.PRIVATE):
            self.content = Content()
            if receipt.fate is not Fate.PRIVATE:
                self._stored = receipt.part or receipt.stored
                self._open_to_others()
            self._add(content, end=end)
        elif receipt.fate is Fate.OTHER:
            self._background = False
            self._cancel_unless_wanted()  # its content may be long
        if self._followers:
            self._answer_followers(receipt)
        for reader in waiting:
            if reader is self._leader:
                _attribute(reader.exchange, own)
                reader.exchange.cached = _RESULTS.get(receipt.fate, Result.MISS)
                self._answer(reader, receipt, response, receipt.status)
            else:
                self._answer_other(reader, receipt, response)
        return not self._ahead()

    def _answer_other(self, reader: Reader, receipt: Receipt, response: ResponseHead) -> None:
        """Answer one that waited, or send its request on where the answer is not for it."""
        use = Use.HIT
        if receipt.fate is Fate.OTHER:
            use = Use.FETCH
        elif receipt.fate is Fate.PRIVATE:
            failed = self.own is not None and self.own.end
            use = Use.HIT if failed else Use.PASS
        elif receipt.stored is not None:
            use = self._cache.shares(reader.request, receipt.stored, time())
        status = self._cache.collapsed(reader.request)
        if use is Use.HIT:
            self._answer(reader, receipt, response, status)
        elif use is Use.FETCH:
            lifecycle.choose(reader.leave())
        else:
            reader.exchange.cache_status = status
            reader.exchange.cached = Result.BYPASS
            lifecycle.send_on(reader.leave())

    def _answer_followers(self, receipt: Receipt) -> None:
        """Tell those that want a slice whether it comes; one that is not for all is for the first."""
        followers = list(self._followers)
        if receipt.fate is Fate.SLICE:
            for follower in followers:
                follower.came(self)
        elif receipt.part is None:
            self._give_up("a slice does not come")
        else:
            for follower in followers[1:]:
                del self._followers[follower]
                follower.again(self)
            for follower in followers[:1]:
                follower.came(self)

    def _answer(self, reader: Reader, receipt: Receipt, response: ResponseHead, status: bytes) -> None:
        """Have a reader answer its client with what came, or with what was stored before."""
        cache, content, stored = self._cache, self.content, receipt.stored
        if receipt.fate is Fate.OTHER:
            lifecycle.choose(reader.leave())
        elif receipt.fate is Fate.SLICE:
            assert stored is not None
            slices.answer(reader.leave(), cache, reader.request, stored, status, self)
        elif content is None or (stored is not None and stored.body and reader.exchange.plan.coding):
            assert stored is not None
            caching.answer(reader.leave(), cache, reader.request, stored, status)
        else:
            length = content.size if content.whole else response.body
            if stored is not None:
                delivery = cache.deliver(reader.request, stored, max(length, -1), status, time())
            else:
                own = b"" if self.own is None or reader is not self._leader else self.own.set_cookie
                delivery = _as_it_is(reader.exchange.route, response, max(length, -1), own + status)
            self._readers[reader] = None
            reader.begin(delivery, content)

    def send(self, data: Buffer, *, end: bool = False) -> bool:
        """Content came; False while readers are too far behind."""
        if self.content is not None:
            self._add(data, end=end)
            for reader in list(self._readers):
                reader.more()
            for follower in list(self._followers):
                follower.more()
        return not self._ahead()

    def _add(self, data: Buffer, *, end: bool) -> None:
        """Take content, and keep it whole where it is to be stored."""
        content = self.content
        assert content is not None
        data = bytes(data)
        taken = content.add(data)
        content.whole = end
        if self._stored is not None and self._stored.digest is not None:
            self._stored.digest.update(data)
        part, stored = self.part, self._stored
        if part is not None and (content.size > part.length or (end and content.size < part.length)):
            self._give_up("a slice is longer or shorter than its head said")
        elif stored is None:
            return
        elif part is None and content.size > self._cache.most_bytes:
            self._cache.outgrew(self._request)
            self._keep_no_more()
        elif self._body is None and content.size > self._cache.in_memory:
            body = self._body = self._cache.begin_body(self._request, stored)
            taken = body is not None and content.move(body)
        if stored is not None and stored is self._stored and (end or not taken):
            self._keep(stored, content, whole=taken)

    def _keep(self, stored: Stored, content: Content, *, whole: bool) -> None:
        """All has come, or a file takes no more."""
        body, self._body = self._body, None
        if body is not None:
            self._cache.written(self._request, stored, body, self.epoch)
        elif whole:
            self._cache.whole(self._request, stored, content.joined(), self.epoch)
        self._keep_no_more()

    def _keep_no_more(self) -> None:
        """What came is stored by now, or will not be."""
        self._stored = None
        self._close_to_others()
        body, self._body = self._body, None
        if body is not None:
            body.drop()

    def send_trailers(self, lines: bytes) -> None:
        """The content ended; trailers are not stored (RFC 9111 section 3.1)."""
        self.send(b"", end=True)

    # ---- ends --------------------------------------------------------------------------------------------------------

    def _open_to_others(self) -> None:
        """Requests for this variant, or this slice, join; what the answer varies on was not known before."""
        assert self._stored is not None
        self._key = self._stored.key
        self.engine.fills[self._key] = self

    def _close_to_others(self) -> None:
        """Nobody joins from now on."""
        if self.engine.fills.get(self._key) is self:
            del self.engine.fills[self._key]

    def ended(self, now: float, *, close: bool) -> None:
        """The exchange is over; nobody asked for it from outside, so it does not count as a request."""
        self.exchange = None
        self.source = None
        self.engine.finished -= 1
        self._keep_no_more()

    def close(self, *, cut: bool = False) -> None:
        """The content broke off, or is not wanted any more: what came of it is not stored."""
        self.broken = True
        self._stored = None
        own = self.own
        assert own is not None
        for reader in list(self._readers):
            lifecycle.fail(reader.exchange, 502, own.end, own.failure)
        if self._followers:
            self._give_up(own.failure)

    def _give_up(self, reason: str) -> None:
        """A slice does not come whole."""
        self.content = None
        self._keep_no_more()
        followers, self._followers = self._followers, {}
        for follower in followers:
            follower.failed(self, reason)
        self._cancel_unless_wanted()


def _attribute(exchange: Exchange, own: Exchange) -> None:
    """Show in the log of the first request what its fetch went through."""
    exchange.endpoint, exchange.group = own.endpoint, own.group
    exchange.attempts, exchange.tried, exchange.span_id = own.attempts, own.tried, own.span_id
    exchange.dispatched, exchange.connected, exchange.first_byte = own.dispatched, own.connected, own.first_byte
    exchange.end, exchange.failure = own.end, own.failure


def _as_it_is(route: Route, response: ResponseHead, length: int, own: bytes) -> Delivery:
    """Prepare a server's answer that is not stored; `own`: lines to add."""
    lines = [field.line for field in response.fields if field.name != b"content-length"]
    if route.compression is not None and compressible(route.compression, response):
        lines = coded_lines(lines, b"")
    lines = edited(lines, route.client_edits)
    if length >= 0 and response.status != 204:
        lines.append(b"Content-Length: %d\r\n" % length)
    head = plans.status_bytes(response.status, response.reason, [*lines, own])
    return Delivery(response.status, head, 0, length)


def _fetching_plan(exchange: Exchange, asked: Asked) -> Plan:
    """Return the plan of a GET with these fields, on the way of the exchange's own route."""
    original = exchange.plan
    request = original.revised or original.request
    lines = request.lines.revised(before=asked.fields, after=(), body=NO_BODY, keep_alive=True, telling=True)
    head = RequestHead(b"GET", request.target, request.path, request.query, request.minor, lines)
    plan = copy(original)
    plan.route = _fetching_route(original.route)
    plan.request, plan.prototype, plan.cached, plan.log = head, None, None, None
    plan.is_head = plan.close = plan.expect = plan.simple = False
    plan.idempotent = True
    target = _with_query(original.head.split(b" ", 2)[1], request.query, asked.query)
    plan.head = plans.request_bytes(plan, head, target, trusted=exchange.client.plans.trusted)
    head.minor = 2  # the answer comes to a stream: no framing in its head
    plan.responses = plans.response_memo(plan.route, False, False, 2, exchange.client.engine.limits)
    return plan


def _with_query(target: bytes, sent: bytes | None, wanted: bytes | None) -> bytes:
    """Return the target with what of the query makes a difference; a rewrite that changed the query is left alone."""
    path, _, query = target.partition(b"?")
    if sent == wanted or query != sent:
        return target
    return path if wanted is None else b"%b?%b" % (path, wanted)


def _fetching_route(route: Route) -> Route:
    """Return the route without what is for each request: that was done, or is done for each that waits."""
    if route.fetching is None:
        inner = route.fetching = copy(route)
        inner.cache = inner.compression = None
        inner.early_hints = b""
        inner.response_edits = inner.response_edits[: len(inner.response_edits) - len(inner.client_edits)]
        inner.policies = ()
        inner.request_filters = inner.done = inner.progress = ()
    return route.fetching
