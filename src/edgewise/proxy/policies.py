"""The gateway's policies on a request: run in order, waited for only where one has to wait; refusals put in words."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from edgewise.contracts.plan import Answer
from edgewise.contracts.policies import POLICIES, Denial, Outcome, Refused
from edgewise.http.statuses import reason
from edgewise.proxy import lifecycle

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

_log = logging.getLogger("edgewise.gateway")
_PROBLEM = (b"Content-Type", b"application/problem+json")
_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_NOT_KEPT = (b"Cache-Control", b"no-store")


def run(exchange: Exchange) -> None:
    """Run the route's policies, then go on to the filters or answer."""
    for index, policy in enumerate(exchange.route.policies):
        try:
            outcome = policy(exchange)
        except Refused as refused:
            outcome = refused.denial
        except Exception as error:
            return _failed(exchange, error)
        if outcome is None:
            continue
        if isinstance(outcome, Denial | Answer):
            return _end(exchange, outcome)
        exchange.task = exchange.client.engine.loop.create_task(_wait(exchange, outcome, index + 1))
        return None
    return lifecycle.run_filters(exchange)


async def _wait(exchange: Exchange, first: Awaitable[Outcome], index: int) -> None:
    """The waiting driver: the same policies, awaited; each bounds its own time."""
    try:
        outcome = await first
        for policy in exchange.route.policies[index:]:
            if outcome is not None:
                break
            result = policy(exchange)
            outcome = result if result is None or isinstance(result, Denial | Answer) else await result
    except Refused as refused:
        outcome = refused.denial
    except Exception as error:
        if exchange.task is not None:
            exchange.task = None
            _failed(exchange, error)
        return
    if exchange.task is None:  # given up meanwhile
        return
    exchange.task = None
    if outcome is None:
        lifecycle.run_filters(exchange)
    else:
        _end(exchange, outcome)


def _end(exchange: Exchange, outcome: Denial | Answer) -> None:
    if isinstance(outcome, Answer):
        lifecycle.answer(exchange, outcome)
    else:
        deny(exchange, outcome)


def deny(exchange: Exchange, denial: Denial) -> None:
    """Answer a request that does not pass."""
    exchange.end = f"edge-{denial.policy}"
    exchange.failure = denial.reason or denial.detail
    exchange.refused = POLICIES.index(denial.policy) + 1
    lifecycle.answer(exchange, _problem(exchange, denial))


def _problem(exchange: Exchange, denial: Denial) -> Answer:
    """Return problem details (RFC 9457 section 3); a gRPC client is told `detail` in its own words."""
    if exchange.grpc is not None:
        return Answer(denial.status, (_TEXT, *denial.fields), denial.detail.encode())
    if denial.page is not None:
        content_type, content = denial.page
        return Answer(denial.status, ((b"Content-Type", content_type), _NOT_KEPT, *denial.fields), content)
    problem = {
        "title": reason(denial.status).decode(),
        "status": denial.status,
        "detail": denial.detail,
        "policy": denial.policy,
        "request_id": exchange.request_id,
    }
    return Answer(denial.status, (_PROBLEM, _NOT_KEPT, *denial.fields), json.dumps(problem).encode() + b"\n")


def _failed(exchange: Exchange, error: Exception) -> None:
    """A policy raised: nobody passes by a fault of ours."""
    _log.error("policy failed on route %s", exchange.route.name, exc_info=error)
    if exchange.client.sock is not None:
        lifecycle.fail(exchange, 500, "edge-policy", f"{type(error).__name__}: {error}")
