"""One attempt at one server: how it ends, and whether another follows."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from edgewise.protocols.grpc import edge_status
from edgewise.proxy import hedging, lifecycle

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Upstream
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import ResponsePlan
    from edgewise.proxy.lifecycle import Connection

_STALE_TRIES = 3
"""Reused connections in a row that may turn out closed before an attempt counts as failed."""


def ended(exchange: Exchange, ok: bool | None) -> None:
    """Account for the end of the attempt under way, once; `ok` None: it says nothing of the server."""
    if not exchange.attempting:
        return
    exchange.attempting = False
    endpoint, group = exchange.endpoint, exchange.group
    assert endpoint is not None
    assert group is not None
    endpoint.active -= 1
    group.active -= 1
    if exchange.retrying:
        exchange.retrying = False
        group.retries -= 1
    if ok and not group.timed:
        endpoint.errors = 0
        endpoint.successes += 1
    elif ok is not None:
        judge(exchange, ok)


def judge(exchange: Exchange, ok: bool) -> None:
    """Tell what watches the server how the attempt went, once: at its end, or when a tunnel begins."""
    endpoint, group = exchange.endpoint, exchange.group
    assert endpoint is not None
    assert group is not None
    if not ok:
        endpoint.failures += 1
    if group.outlier is not None:
        # To the first byte: how long a download or a stream of events takes says nothing of the server.
        seconds = (exchange.first_byte or monotonic()) - (exchange.dispatched or exchange.started)
        group.outlier.attempted(endpoint, seconds, ok)
    if group.breaker is not None:
        group.breaker.record(ok)


def failed(exchange: Exchange, status: int, end: str, reason: str, *, sent: bool = True, stale: bool = False) -> None:
    """The attempt failed before an answer: retry where that is safe, else answer `status`.

    `sent` is False when no byte of the request left; `stale` when a reused connection closed before it answered.
    """
    ended(exchange, None if stale else False)
    _drop_connection(exchange)
    if (exchange.hedge is not None or exchange.primary is not None) and hedging.covered(exchange):
        return
    if stale and exchange.stale < _STALE_TRIES and _repeatable(exchange, sent=sent):
        exchange.stale += 1
        exchange.attempts -= 1
        lifecycle.dispatch(exchange)
    elif _may_retry(exchange, sent=sent, safe=_call_may_be_repeated(exchange, status)):
        _again(exchange)
    else:
        lifecycle.fail(exchange, status, end, reason)


def _call_may_be_repeated(exchange: Exchange, status: int) -> bool:
    """Is a gRPC call that the client would be told of by `status` one that the upstream's settings repeat?"""
    group = exchange.group
    return exchange.grpc is not None and group is not None and edge_status(status) in group.retry.on_grpc


def retry_answer(exchange: Exchange, connection: Connection, plan: ResponsePlan) -> bool:
    """Try another server instead of passing an answer on, where the upstream's settings say so and it is safe.

    Who asks for retries of calls by their status says that they are safe: every call is a POST.
    """
    group = exchange.group
    if group is None:
        return False
    call = plan.grpc_status in group.retry.on_grpc
    if plan.status not in group.retry.on_statuses and not call:
        return False
    if not _may_retry(exchange, sent=True, safe=call):
        return False
    ended(exchange, ok=False)
    connection.abandon()
    _again(exchange)
    return True


def _repeatable(exchange: Exchange, *, sent: bool) -> bool:
    """May the request go out once more? Only when nothing of it was sent, or its method is idempotent
    (RFC 9110 section 9.2.2), nothing was answered, and its content was kept."""
    if exchange.answered or exchange.client.broken or (sent and not exchange.plan.idempotent):
        return False
    return bool(exchange.body is None or exchange.body.rewind())


def _may_retry(exchange: Exchange, *, sent: bool, safe: bool = False) -> bool:
    """The budget holds for what a server had to work on; one that could not be reached lost nothing."""
    group = exchange.group
    assert group is not None
    retry = group.retry
    if exchange.attempts >= retry.attempts or not (within_budget(group) if sent else retry.on_connect):
        return False
    return _repeatable(exchange, sent=sent and not safe)


def within_budget(group: Upstream) -> bool:
    """Are retries under way few enough beside the requests under way, so that they cannot make an outage worse?"""
    return group.retries < max(group.retry.budget_min, group.retry.budget_ratio * group.active)


def _again(exchange: Exchange) -> None:
    endpoint, group = exchange.endpoint, exchange.group
    assert endpoint is not None
    assert group is not None
    exchange.tried = (*exchange.tried, endpoint)
    exchange.retrying = True
    group.retries += 1
    lifecycle.dispatch(exchange)


def abandon(exchange: Exchange) -> None:
    """Nobody waits for the attempt any more: stop the filter, leave the queue, drop the connection."""
    if exchange.task is not None:
        exchange.task.cancel()
        exchange.task = None
    if exchange.hedge is not None:
        hedging.cancel(exchange)
    if exchange.waiting:
        exchange.waiting = False
        assert exchange.endpoint is not None
        exchange.endpoint.waiting.remove(exchange)
    ended(exchange, None)
    _drop_connection(exchange)


def _drop_connection(exchange: Exchange) -> None:
    connection, exchange.upstream = exchange.upstream, None
    if connection is not None:
        connection.abandon()
