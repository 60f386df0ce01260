"""The user's filters: run in order on a request or a response, waited for only where one is async."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import Awaitable, Callable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from edgewise.contracts.coded_heads import coded_lines, coding_of, compressible
from edgewise.contracts.filters import Headers, Request, Response
from edgewise.contracts.plan import Answer, ResponsePlan
from edgewise.http.head import NO_BODY, Field, RequestHead
from edgewise.http.statuses import reason
from edgewise.protocols.http1 import hop_by_hop, parse_request_head
from edgewise.proxy import attempts, lifecycle, plans
from edgewise.proxy.field_edits import edited

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.identity import Identity
    from edgewise.proxy.lifecycle import Connection

Step = Callable[[], Any]

_log = logging.getLogger("edgewise.filters")
_FRAMING = frozenset(("content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer"))
"""Fields a filter may read but not set: edgewise frames every message itself."""
_UNSEEN = frozenset((b"x-accel-redirect", b"x-sendfile"))
_TARGET = re.compile("[!-~]+")


def run_request(exchange: Exchange) -> None:
    """Run the route's request filters, then go on or answer."""
    request = exchange.request = _request_view(exchange)
    steps: list[Step] = [partial(hook, request) for hook in exchange.route.request_filters]
    _run(exchange, steps, lambda response: _after_request(exchange, request, response))


def _after_request(exchange: Exchange, request: Request, response: Response | None) -> None:
    exchange.context = request.context or exchange.context
    if request.identity is not exchange.identity:
        _tell_other(exchange, request.identity)
    try:  # the filter may have assigned anything
        answer = None if response is None else _as_answer(response)
        if answer is None and _changed(exchange, request):
            _revise(exchange, request)
    except Exception as error:
        _failed(exchange, error)
        return
    if answer is not None:
        lifecycle.answer(exchange, answer)
    else:
        lifecycle.choose(exchange)


def _tell_other(exchange: Exchange, identity: Identity | None) -> None:
    """A filter says who asks: logs and servers learn it as from `auth`."""
    if exchange.route.telling is None:
        exchange.identity = identity
    else:
        exchange.route.telling.tell_other(exchange, identity)


def run_response(exchange: Exchange, connection: Connection, plan: ResponsePlan, rest: bytes) -> None:
    """Run the route's response filters on the upstream's head, then send it as they left it."""
    request = exchange.request or _request_view(exchange)
    unseen = (hop_by_hop(plan.response) | _UNSEEN) - {b"transfer-encoding"}
    fields = [field for field in plan.response.fields if field.name not in unseen]
    response = Response(plan.status, None, _pairs(fields))
    connection.pause()
    steps: list[Step] = [partial(hook, request, response) for hook in exchange.route.response_filters]
    _run(exchange, steps, lambda other: _after_response(exchange, connection, plan, rest, response, other))


def _after_response(
    exchange: Exchange,
    connection: Connection,
    plan: ResponsePlan,
    rest: bytes,
    response: Response,
    other: Response | None,
) -> None:
    if other is None and response.body is not None:
        other = response
    try:  # the filter may have assigned anything
        answer = None if other is None else _as_answer(other)
        if answer is None and (response.headers.changed or response.status != plan.status):
            plan = _revised_response(exchange, plan, response)
    except Exception as error:
        _failed(exchange, error)
        return
    if answer is not None:
        attempts.ended(exchange, ok=not plan.gateway_error)
        exchange.upstream = None
        connection.abandon()
        lifecycle.answer(exchange, answer)
        return
    connection.resume()
    lifecycle.send_response(exchange, connection, plan, lifecycle.finished_head(exchange, plan), rest)


# ---- driving ---------------------------------------------------------------------------------------------------------


def _run(exchange: Exchange, steps: list[Step], then: Callable[[Response | None], None]) -> None:
    """Run steps until one answers; a step that returns an awaitable moves the rest into a task."""
    for index, step in enumerate(steps):
        try:
            result = step()
        except Exception as error:
            _failed(exchange, error)
            return
        if inspect.isawaitable(result):
            exchange.task = exchange.client.engine.loop.create_task(
                _run_waiting(exchange, result, steps[index + 1 :], then)
            )
            return
        if result is not None:
            _checked(exchange, result, then)
            return
    then(None)


async def _run_waiting(
    exchange: Exchange,
    first: Awaitable[Any],
    steps: list[Step],
    then: Callable[[Response | None], None],
) -> None:
    """The waiting driver: the same steps, awaited, within the route's filter timeout."""
    try:
        async with asyncio.timeout(exchange.route.filter_timeout):
            result = await first
            for step in steps:
                if result is not None:
                    break
                result = step()
                if inspect.isawaitable(result):
                    result = await result
    except Exception as error:
        if exchange.task is not None:
            exchange.task = None
            _failed(exchange, error)
        return
    if exchange.task is None:  # given up meanwhile, and the filter paid no heed to its cancellation
        return
    exchange.task = None
    if result is None:
        then(None)
    else:
        _checked(exchange, result, then)


def _checked(exchange: Exchange, result: Any, then: Callable[[Response | None], None]) -> None:
    if isinstance(result, Response):
        then(result)
    else:
        _failed(exchange, TypeError(f"a filter returns None or a Response, not {type(result).__name__}"))


def _failed(exchange: Exchange, error: Exception) -> None:
    """A filter raised or took too long: 500 for this request, a traceback in the log, no harm to others."""
    _log.error("filter failed on route %s", exchange.route.name, exc_info=error)
    if exchange.client.sock is not None:
        lifecycle.fail(exchange, 500, "edge-filter", f"{type(error).__name__}: {error}")


# ---- views -----------------------------------------------------------------------------------------------------------


def _pairs(fields: Any) -> Headers:
    return Headers((field.line.partition(b":")[0].decode("latin-1"), field.value.decode("latin-1")) for field in fields)


def _path_and_query(exchange: Exchange) -> tuple[str, str]:
    head = exchange.plan.request
    return head.path.decode("latin-1"), (head.query or b"").decode("latin-1")


def _request_view(exchange: Exchange) -> Request:
    head = exchange.plan.request
    client = exchange.client
    path, query = _path_and_query(exchange)
    stripped = exchange.route.stripped
    request = Request(
        head.method.decode("latin-1"),
        path,
        query,
        _pairs(field for field in head.fields if field.name.replace(b"_", b"-") not in stripped),
        client_ip=client.peer_ip,
        scheme="https" if client.tls else "http",
        request_id=exchange.request_id,
        route=exchange.route.name,
    )
    request.identity = exchange.identity
    if exchange.context:
        request.context.update(exchange.context)
    return request


def _changed(exchange: Exchange, request: Request) -> bool:
    """Did a filter change what is forwarded? Raises ValueError where it changed what it may not."""
    if request.method != exchange.plan.request.method.decode("latin-1"):
        raise ValueError("a filter cannot change the method")
    return request.headers.changed or (request.path, request.query) != _path_and_query(exchange)


def _revise(exchange: Exchange, request: Request) -> None:
    """Give a request that a filter changed a plan of its own: the one in the memo serves other requests too."""
    plan = copy(exchange.plan)
    moved = (request.path, request.query) != _path_and_query(exchange)
    head = _revised_head(request, plan.revised or plan.request, moved=moved)
    if plan.revised is not None:  # what policies tell the server, the cache still goes by
        own = tuple(field for field in plan.revised.fields if field.name in plan.route.stripped)
        head = head.with_lines(head.lines.revised(before=head.fields + own, after=()))
    if plan.answer is not None or plan.file is not None:  # nothing is sent on; another path may lead to another file
        exchange.plan = plans.file_plan(plan, head, head.target) if moved and plan.file is not None else plan
        return
    plan.revised, plan.cached = head, None
    plan.trace, plan.forwarded_for, plan.forwarded_proto, plan.simple = None, None, False, False
    target = head.target if moved else plan.head.split(b" ", 2)[1]
    plan.head = plans.request_bytes(plan, head, target, trusted=exchange.client.plans.trusted)
    exchange.plan = plan


def _revised_head(request: Request, original: RequestHead, *, moved: bool) -> RequestHead:
    """Return the head that a filter left, checked by the codec like any other; framing stays as it was received."""
    target = original.target.decode("latin-1")
    if moved:
        target = request.path + ("?" + request.query if request.query else "")
        if not _TARGET.fullmatch(target):
            raise ValueError(f"not a path and query: {target!r}")
    lines = [f"{original.method.decode()} {target} HTTP/1.{min(original.minor, 1)}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in request.headers if name.lower() not in _FRAMING]
    if "host" not in request.headers and original.authority:
        lines.append(f"Host: {original.authority.decode('latin-1')}\r\n")
    head = parse_request_head(("".join(lines) + "\r\n").encode("latin-1"), len(lines))
    fields = head.fields
    if original.body > NO_BODY or original.get(b"content-length") is not None:
        fields = (*fields, _length_field(original.body))
    kept = original.lines
    revised = head.lines.revised(before=fields, after=(), body=kept.body, connection=kept.connection, telling=True)
    return RequestHead(head.method, head.target, head.path, head.query, original.minor, revised)


def _length_field(length: int) -> Field:
    value = b"%d" % length
    return Field(b"content-length", value, b"Content-Length: " + value + b"\r\n")


def _revised_response(exchange: Exchange, plan: ResponsePlan, response: Response) -> ResponsePlan:
    """Give a response that a filter changed a plan of its own; raises ValueError for a status it cannot have."""
    bodiless = {204, 304}
    if (response.status in bodiless) != (plan.status in bodiless) or not 200 <= response.status <= 999:
        raise ValueError(f"status {plan.status} cannot become {response.status}")
    plan = copy(plan)
    plan.head = _response_head(exchange, plan, response)
    plan.status = response.status
    return plan


def _response_head(exchange: Exchange, plan: ResponsePlan, response: Response) -> bytes:
    """Return the client's head for a response that a filter changed; framing stays as the plan decided."""
    own = {b"content-length", b"transfer-encoding", b"connection"}
    kept = [line for line in plan.head.split(b"\r\n")[1:] if line.partition(b":")[0].lower() in own]
    unset = _FRAMING | {"date"} if plan.dateless else _FRAMING
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in response.headers if name.lower() not in unset]
    lines = edited(lines, exchange.route.response_edits)
    compression = exchange.route.compression
    if compression is not None and compressible(compression, plan.response):
        lines = coded_lines(lines, coding_of(plan.head))
    lines += [line + b"\r\n" for line in kept]
    status = response.status
    text = plan.response.reason if status == plan.status else reason(status)
    return plans.status_bytes(status, text, lines) + (b"" if plan.dateless else b"\r\n")


def _as_answer(response: Response) -> Answer:
    """Return a filter's response as it is sent; raises TypeError or ValueError where it cannot be."""
    fields = tuple(
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers
        if name.lower() not in _FRAMING and name.lower() != "date"
    )
    body = response.body or b""
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes):
        raise TypeError(f"content is bytes or str, not {type(body).__name__}")
    if not 200 <= response.status <= 999:
        raise ValueError(f"not a final status: {response.status}")
    return Answer(response.status, fields, body)
