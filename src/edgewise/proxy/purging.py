"""PURGE requests, as Varnish has them: what is stored of a URL is forgotten, for those who may ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.contracts.plan import Answer
from edgewise.proxy import lifecycle
from edgewise.proxy.messages import error_answer

if TYPE_CHECKING:
    from edgewise.contracts.cache import RouteCache
    from edgewise.contracts.exchange import Exchange

_PURGED = Answer(200, ((b"Content-Type", b"text/plain; charset=utf-8"),), b"200 Purged\n")
_ALLOWED = (b"Allow", b"GET, HEAD")


class Waiting:
    """An exchange that is answered once every worker has purged."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange: Exchange | None = exchange

    def done(self) -> None:
        """Answer, if anybody still waits."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.upstream = None
            lifecycle.answer(exchange, _PURGED)

    def abandon(self) -> None:
        """The client is gone."""
        self._exchange = None


def purge(exchange: Exchange, cache: RouteCache, scheme: bytes) -> bool:
    """Do what a PURGE request says; False where that is up to the route's servers."""
    waiting = exchange.upstream = Waiting(exchange)
    try:
        purged = cache.purge(exchange.plan.request, scheme, exchange.client.peer_ip, waiting.done)
    except ValueError as error:
        exchange.upstream = None
        lifecycle.fail(exchange, 400, "client-head", str(error))
        return True
    if purged:
        return True
    exchange.upstream = None
    if purged is None:
        return False
    exchange.end, exchange.failure = "edge-purge", "this client may not purge"
    lifecycle.answer(exchange, error_answer(405, (_ALLOWED,)))
    return True
