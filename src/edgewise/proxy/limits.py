"""Requests that come too soon get 429 (RFC 6585 section 4)."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from edgewise.proxy import lifecycle, policies

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange


def refused(exchange: Exchange) -> bool:
    """Count a request of a route with a limit that decides at once; was it answered here?"""
    limit = exchange.route.limit
    assert limit is not None
    wait = limit.take(exchange, exchange.started)
    if wait:
        _refuse(exchange, wait)
    return wait > 0


def ask(exchange: Exchange) -> None:
    """Have the shared engine count the request; it goes on, or is answered, when that is known."""
    exchange.task = exchange.client.engine.loop.create_task(_ask(exchange))


async def _ask(exchange: Exchange) -> None:
    limit = exchange.route.limit
    assert limit is not None
    wait = await limit.ask(exchange, exchange.started)
    if exchange.task is None:  # given up meanwhile
        return
    exchange.task = None
    if wait:
        _refuse(exchange, wait)
    elif exchange.route.policies:
        policies.run(exchange)
    else:
        lifecycle.run_filters(exchange)


def _refuse(exchange: Exchange, wait: float) -> None:
    lifecycle.fail(exchange, 429, "edge-rate-limit", "more requests than the route's limit", retry_after=ceil(wait))
