"""Hedged requests: a GET still unanswered after a while goes to a second server too; the first answer wins.

Dean and Barroso, "The Tail at Scale" (2013). The second attempt is a twin exchange with accounts of its own. Hedges
count against the retry budget, so that they cannot double the load of an upstream that is slow because overloaded.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from edgewise.contracts.exchange import Exchange
from edgewise.proxy import attempts, lifecycle

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Endpoint


def arm(exchange: Exchange) -> None:
    """Set the clock for a first attempt that may be hedged."""
    plan, group = exchange.plan, exchange.group
    assert group is not None
    if (
        exchange.attempts == 1
        and exchange.primary is None
        and plan.request.method == b"GET"
        and exchange.body is None
        and plan.upgrade is None
    ):
        exchange.hedge = exchange.client.engine.loop.call_later(group.hedge_after, _begin, exchange)


def _begin(exchange: Exchange) -> None:
    """No answer yet: ask another server as well, if there is one with room and the budget allows."""
    exchange.hedge = None
    group = exchange.group
    if group is None or exchange.upstream is None or exchange.endpoint is None or not attempts.within_budget(group):
        return
    twin = Exchange(exchange.client, exchange.plan, monotonic(), exchange.request_id)
    twin.group = group
    twin.head = exchange.head
    twin.forward_lines = exchange.forward_lines
    twin.tried = (*exchange.tried, exchange.endpoint)
    endpoint = group.pick(twin)
    if endpoint is None or endpoint in twin.tried or not _has_room(endpoint):
        return
    twin.primary = exchange
    exchange.hedge = twin
    twin.retrying = True
    group.retries += 1
    lifecycle.dispatch(twin, endpoint)


def _has_room(endpoint: Endpoint) -> bool:
    limit = endpoint.max_connections
    return not limit or bool(endpoint.idle) or endpoint.connections < limit


def settle(exchange: Exchange) -> Exchange:
    """An answer came for `exchange` or its twin: drop the other attempt, return the exchange to answer."""
    primary: Exchange | None = exchange.primary
    if primary is None:
        cancel(exchange)
        return exchange
    primary.hedge = None
    attempts.abandon(primary)
    _adopt(primary, exchange)
    return primary


def covered(exchange: Exchange) -> bool:
    """An attempt failed: does its twin still run, so that nothing has to be done?"""
    primary: Exchange | None = exchange.primary
    if primary is not None:
        primary.hedge = None
        return True
    twin = exchange.hedge
    exchange.hedge = None
    if not isinstance(twin, Exchange):
        twin.cancel()
        return False
    _adopt(exchange, twin)
    return True


def cancel(exchange: Exchange) -> None:
    """Nobody needs the second attempt, or the clock for it, any more."""
    hedge, exchange.hedge = exchange.hedge, None
    if isinstance(hedge, Exchange):
        attempts.abandon(hedge)
    elif hedge is not None:
        hedge.cancel()


def _adopt(primary: Exchange, twin: Exchange) -> None:
    """Let the primary go on with the twin's attempt."""
    connection = twin.upstream
    primary.upstream, twin.upstream = connection, None
    primary.attempting, twin.attempting = twin.attempting, False
    primary.retrying, twin.retrying = twin.retrying, False
    primary.tried = twin.tried
    primary.endpoint = twin.endpoint
    primary.attempts += 1
    primary.span_id = twin.span_id
    primary.dispatched, primary.connected, primary.set_cookie = twin.dispatched, twin.connected, twin.set_cookie
    connection.exchange = primary
