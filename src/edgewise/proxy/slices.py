"""Answers from objects that are kept in slices: each client's way through them, from the store or from servers.

A slice that is missing is fetched once for all that want it, by a `Fill` like any other. A client is at most one slice
behind what is fetched for it.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any

from edgewise.contracts.cache import Found, Result, Stored, Use
from edgewise.proxy import fills, lifecycle
from edgewise.proxy.pieces import Content, FilePieces, Pieces
from edgewise.proxy.readers import Reader
from edgewise.proxy.wire import Buffer

if TYPE_CHECKING:
    from edgewise.contracts.cache import RouteCache
    from edgewise.contracts.exchange import Exchange

_NOTHING = memoryview(b"")


def answer(
    exchange: Exchange, cache: RouteCache, request: Any, stored: Stored, status: bytes, fill: fills.Fill | None = None
) -> None:
    """Answer from an object kept in slices; `fill`: what its fields came with, and brings one of them."""
    delivery = cache.deliver(request, stored, stored.length, status, time())
    if delivery.start == delivery.end or exchange.plan.is_head:
        Reader(exchange, request).begin(delivery, Content(b""))
    else:
        Slices(exchange, cache, request, stored, (delivery.start, delivery.end)).begin(status, fill)


class Slices:
    """To its client's `Reader`, both the content and where that comes from."""

    whole = False
    size = 0

    def __init__(
        self, exchange: Exchange, cache: RouteCache, request: Any, stored: Stored, span: tuple[int, int]
    ) -> None:
        """`span`: where what the client gets begins and ends (exclusive)."""
        self._exchange = exchange
        self._cache = cache
        self._request = request
        self._stored = stored
        self._start, self._end = span
        self._status = b""
        self._held: dict[int, Pieces] = {}
        """Slices at hand, in whole or as they come."""
        self._fills: dict[int, fills.Fill] = {}
        """Those that bring some of them."""
        self._ahead = 0
        """The last slice that was looked for before the client came to it."""
        self._reader: Reader | None = None
        """From when the head goes out; before that, `waiting`."""
        self._waiting = Reader(exchange, request, self)

    # ---- beginning ---------------------------------------------------------------------------------------------------

    def begin(self, status: bytes, fill: fills.Fill | None) -> None:
        """Send the head once there is something to send behind it: until then, all can still turn out otherwise."""
        number = self._start // self._stored.slice
        self._status = status
        if fill is not None and fill.number == number and fill.content is not None:
            self._follow(number, fill)
            self.came(fill)
            return
        found = self._cache.slice(self._request, self._stored, number)
        if self._hold(number, found):
            self._send_head()
        elif found.use is Use.UNSATISFIED:
            exchange = self._waiting.leave()
            exchange.cached = Result.UNSATISFIED
            lifecycle.fail(exchange, 504, "edge-cache", "not all is stored, and the client wants nothing else")
        else:
            self._exchange.cached = Result.MISS
            self._fetch(number)

    def _send_head(self) -> None:
        delivery = self._cache.deliver(self._request, self._stored, self._stored.length, self._status, time())
        self._reader = self._waiting
        self._reader.begin(delivery, self)

    # ---- what the reader sees ----------------------------------------------------------------------------------------

    def piece(self, start: int, end: int) -> Buffer:
        """Return some of the bytes from `start` on, not beyond `end`; empty where they have not come yet."""
        number = start // self._stored.slice
        content = self._held.get(number)
        if content is None:
            return _NOTHING
        before = number * self._stored.slice
        return content.piece(start - before, min(end - before, self._stored.slice))

    def progressed(self) -> None:
        """The reader took some: have what it comes to next at hand, and let go of what is behind it."""
        if self._reader is None:
            return
        number = self._reader.at // self._stored.slice
        for behind in [each for each in self._held if each < number]:
            del self._held[behind]
            self._fills.pop(behind, None)
        held = self._held.get(number)
        if held is None:
            if number not in self._fills:
                self._get(number)
        elif held.whole:
            self._look_ahead(number + 1)

    def left(self, reader: Reader) -> None:
        """The client has what it wanted, or is gone: nothing more is fetched for it."""
        following, self._fills = self._fills, {}
        self._held.clear()
        self._reader = None
        for fill in following.values():
            fill.unfollow(self)

    def _get(self, number: int) -> None:
        if self._hold(number, self._cache.slice(self._request, self._stored, number)):
            self._exchange.client.engine.loop.call_soon(self.more)  # between slices, others have their turn
        else:
            self._fetch(number)

    def _look_ahead(self, number: int) -> None:
        """Fetch a slice before it is needed, once."""
        if number <= self._ahead or number * self._stored.slice >= self._end or number in self._fills:
            return
        self._ahead = number
        if self._cache.slice(self._request, self._stored, number).use is not Use.HIT:
            self._fetch(number)

    def _hold(self, number: int, found: Found) -> bool:
        """Have a stored slice at hand; False where it is not there."""
        part = found.stored
        if found.use is not Use.HIT or part is None:
            return False
        if not part.file:
            self._held[number] = Content(part.body)
            return True
        file = self._cache.open_body(part)
        if file is None:
            return False
        self._held[number] = FilePieces(file, part.length, self._exchange.client.engine, self.more)
        return True

    # ---- fetching ----------------------------------------------------------------------------------------------------

    def _fetch(self, number: int, *, alone: bool = False) -> None:
        """Have a slice fetched, or wait for a fetch that is under way; `alone`: not for that."""
        found = self._cache.missing(self._request, self._stored, number)
        if self._reader is None:
            self._status = found.status
        engine = self._exchange.client.engine
        fill: fills.Fill | None = None if alone else engine.fills.get(found.key)
        if fill is not None and self._cache.joins(self._request, fill.epoch) and self._suits(number, fill):
            self._follow(number, fill)
            if fill.part is not None:
                self.came(fill)
            return
        fill = fills.Fill(self._exchange, self._cache, self._request, found)
        self._follow(number, fill)
        fill.start(self._exchange)

    def _suits(self, number: int, fill: fills.Fill) -> bool:
        return fill.part is None or self._cache.fits(self._stored, number, fill.part)

    def _follow(self, number: int, fill: fills.Fill) -> None:
        self._fills[number] = fill
        fill.follow(self)

    def came(self, fill: fills.Fill) -> None:
        """The head of a slice is here, and its content comes."""
        number = fill.number
        if not self._suits(number, fill):
            self.failed(fill, "the object changed")
            return
        assert fill.content is not None
        self._held[number] = fill.content
        if self._reader is None:
            self._send_head()
        else:
            self.more()

    def more(self) -> None:
        """Content came, or is at hand."""
        if self._reader is not None:
            self._reader.more()

    def again(self, fill: fills.Fill) -> None:
        """A slice came that is for another client only: ask for it."""
        del self._fills[fill.number]
        self._fetch(fill.number, alone=True)

    def failed(self, fill: fills.Fill, reason: str) -> None:
        """A slice does not come, or is no longer one of this object."""
        number = fill.number
        self._fills.pop(number, None)
        own = fill.own
        if self._reader is None:
            exchange = self._waiting.leave()
            if own is not None and own.end:
                lifecycle.fail(exchange, own.status, own.end, own.failure)
                return
            exchange.cache_status = self._status
            exchange.cached = Result.BYPASS
            lifecycle.send_on(exchange)
        elif number == self._reader.at // self._stored.slice:
            lifecycle.fail(self._exchange, 502, own.end if own is not None and own.end else "upstream-body", reason)
        else:
            self._held.pop(number, None)  # which the client has not come to yet: then it is asked for again
