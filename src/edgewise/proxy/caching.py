"""Answers from the route's cache: what is stored, or what is being fetched for somebody else already."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any

from edgewise.contracts.cache import Found, Result, Stored, Use
from edgewise.proxy import cached_files, early_hints, lifecycle, purging, slices
from edgewise.proxy.fills import Fill
from edgewise.proxy.pieces import Content
from edgewise.proxy.readers import Reader

if TYPE_CHECKING:
    from edgewise.contracts.cache import RouteCache
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import ResponsePlan

_HIT = int(Result.HIT)


def look(exchange: Exchange) -> bool:
    """Answer from the cache, or have the request wait for a fetch; False: it goes on to a server."""
    plan, cache = exchange.plan, exchange.route.cache
    assert cache is not None
    request, now = plan.cached, time()
    if request is None:
        request = plan.cached = cache.request(plan.revised or plan.request, _scheme(exchange), plan.coding)
    if request is not None and not plan.close and plan.request.minor and not exchange.client.closing:
        whole = cache.at_once(request, now)
        if whole is not None:
            exchange.cached = _HIT
            lifecycle.send_whole(exchange, whole.status, whole.head, whole.content)
            return True
    found = cache.find(request, now)
    use = found.use
    if use is Use.PASS or use is Use.UNSATISFIED:
        if request is None and plan.request.method == b"PURGE" and purging.purge(exchange, cache, _scheme(exchange)):
            return True
        exchange.cache_status = found.status
        exchange.cached = Result.BYPASS if use is Use.PASS else Result.UNSATISFIED
        if use is Use.PASS:
            return False
        lifecycle.fail(exchange, 504, "edge-cache", "nothing that is stored fits, and the client wants nothing else")
    elif use is Use.FETCH:
        _fetch(exchange, cache, request, found)
    else:
        assert found.stored is not None
        exchange.cached = Result.STALE if use is Use.STALE else Result.HIT
        if use is Use.STALE and found.key not in exchange.client.engine.fills:
            Fill(exchange, cache, request, found).start(exchange, background=True)
        answer(exchange, cache, request, found.stored, found.status)
    return True


def _fetch(exchange: Exchange, cache: RouteCache, request: Any, found: Found) -> None:
    """Wait for a server's answer, asked for here or already on its way."""
    if exchange.route.early_hints:
        early_hints.send(exchange)
    fill = exchange.client.engine.fills.get(found.key)
    if fill is not None and cache.joins(request, fill.epoch):
        exchange.cached = Result.COLLAPSED
        fill.wait(exchange, request)
        return
    exchange.cached = Result.MISS
    fill = Fill(exchange, cache, request, found)
    fill.wait(exchange, request)
    fill.start(exchange)


def answer(exchange: Exchange, cache: RouteCache, request: Any, stored: Stored, status: bytes) -> None:
    """Answer with what is stored."""
    if stored.slice:
        slices.answer(exchange, cache, request, stored, status)
        return
    if exchange.plan.coding:
        stored = cache.form(request, stored)
    if stored.file:
        cached_files.answer(exchange, cache, request, stored, status)
        return
    delivery = cache.deliver(request, stored, stored.length, status, time())
    Reader(exchange, request).begin(delivery, Content(stored.body))


def passed(exchange: Exchange, cache: RouteCache, plan: ResponsePlan) -> None:
    """A server answered a request that the cache let pass."""
    asked = exchange.plan
    cache.passed(asked.revised or asked.request, _scheme(exchange), plan.response)


def _scheme(exchange: Exchange) -> bytes:
    return b"https" if exchange.client.tls else b"http"
