"""Answers with files: whole, in parts, or that nothing changed; what is too large for memory by `file_source`."""

from __future__ import annotations

import os
from time import time
from typing import TYPE_CHECKING

from edgewise.contracts.files import Representation
from edgewise.contracts.plan import Answer, Route
from edgewise.http.dates import format_date
from edgewise.http.preconditions import Conditions, outcome, range_applies
from edgewise.http.ranges import content_range, parse_range
from edgewise.http.statuses import status_line
from edgewise.proxy import lifecycle
from edgewise.proxy.content import UNREAD
from edgewise.proxy.field_edits import edited
from edgewise.proxy.file_source import FileSource, Part
from edgewise.proxy.messages import error_answer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

_OF_CONTENT = frozenset(
    (b"accept-ranges", b"content-disposition", b"content-encoding", b"content-language", b"content-type",
     b"last-modified", b"x-content-type-options")
)  # fmt: skip
"""Fields that a 304 leaves out, as the client has them (RFC 9110 section 15.4.5)."""
Span = tuple[int, int]


def answer(exchange: Exchange) -> None:
    """Answer with the file that the route has for the request."""
    plan, route = exchange.plan, exchange.route
    assert route.files is not None
    found = route.files.find(plan.file, exchange.started)
    if isinstance(found, int):
        found = error_answer(found)
    if isinstance(found, Answer):
        lifecycle.answer(exchange, _with_edits(route, found))
    else:
        send(exchange, found, plan.file.conditions)


def send(exchange: Exchange, found: Representation, asked: Conditions | None) -> None:
    """Answer with a file, as far as the request's conditions and range let it."""
    if asked is None or found.status != 200:
        return _whole(exchange, found)
    status = outcome(asked, found.etag, found.modified)
    if status == 304:
        fields = tuple(field for field in found.fields if field[0].lower() not in _OF_CONTENT)
        return lifecycle.answer(exchange, _with_edits(exchange.route, Answer(304, fields, b"")))
    if status:
        return lifecycle.answer(exchange, _with_edits(exchange.route, error_answer(status)))
    spans = None
    if asked.range and exchange.plan.request.method == b"GET" and range_applies(asked, found.etag, found.modified):
        spans = parse_range(asked.range, found.size)
    if spans is None:
        return _whole(exchange, found)
    if not spans:
        error = error_answer(416, ((b"Content-Range", b"bytes */%d" % found.size),))
        return lifecycle.answer(exchange, _with_edits(exchange.route, error))
    return _partial(exchange, found, spans)


def _whole(exchange: Exchange, found: Representation) -> None:
    route = exchange.route
    start = found.rendered.get(route)
    if start is None:
        start = found.rendered[route] = _head(route, found.status, found.fields, found.size)
    if found.content is None:
        _begin(exchange, found, start, [Part(b"", 0, found.size)], found.status)
    else:
        _begin(exchange, found, start, found.content, found.status)


def _partial(exchange: Exchange, found: Representation, spans: list[Span]) -> None:
    """206, of several ranges as multipart/byteranges (RFC 9110 section 14.6)."""
    fields, parts = found.fields, [Part(b"", *spans[0])]
    if len(spans) == 1:
        fields = (*fields, (b"Content-Range", content_range(*spans[0], found.size)))
    else:
        boundary = os.urandom(12).hex().encode()
        fields = tuple(field for field in fields if field[0].lower() != b"content-type")
        fields = (*fields, (b"Content-Type", b"multipart/byteranges; boundary=" + boundary))
        parts = [Part(_part_head(boundary, found, span), *span) for span in spans]
        parts.append(Part(b"\r\n--%b--\r\n" % boundary, 0, 0))
    length = sum(len(part.lead) + part.end - part.start for part in parts)
    start = _head(exchange.route, 206, fields, length)
    content = found.content
    if content is None:
        _begin(exchange, found, start, parts, 206)
    else:
        _begin(exchange, found, start, b"".join([part.lead + content[part.start : part.end] for part in parts]), 206)


def _part_head(boundary: bytes, found: Representation, span: Span) -> bytes:
    kind = b"Content-Type: %b\r\n" % found.kind if found.kind else b""
    return b"\r\n--%b\r\n%bContent-Range: %b\r\n\r\n" % (boundary, kind, content_range(*span, found.size))


def _head(route: Route, status: int, fields: tuple[tuple[bytes, bytes], ...], length: int) -> bytes:
    """Return a head up to what differs by connection and moment."""
    lines = edited([b"%b: %b\r\n" % field for field in fields], route.response_edits)
    return b"%b%bContent-Length: %d\r\n" % (status_line(status), b"".join(lines), length)


def _with_edits(route: Route, answer: Answer) -> Answer:
    """Return an answer with the route's changes to its fields."""
    if not route.response_edits:
        return answer
    lines = edited([b"%b: %b\r\n" % field for field in answer.fields], route.response_edits)
    pairs = [line.removesuffix(b"\r\n").partition(b": ") for line in lines]
    return answer._replace(fields=tuple((name, value) for name, _, value in pairs))


def _begin(exchange: Exchange, found: Representation, start: bytes, content: bytes | list[Part], status: int) -> None:
    """Send the head, then content that is at hand with it, or parts of the file as the client reads."""
    plan, client = exchange.plan, exchange.client
    exchange.status, exchange.answered = status, True
    close = plan.close or client.closing
    if exchange.body is not None and not exchange.body.complete:
        exchange.body, close = UNREAD, True
    connection = b"Connection: close\r\n" if close else b"" if plan.request.minor else b"Connection: keep-alive\r\n"
    head = b"%b%bDate: %b\r\n\r\n" % (start, connection, format_date(time()))
    exchange.response_bytes += len(head)
    if isinstance(content, bytes):
        if plan.is_head:
            content = b""
        exchange.response_bytes += len(content)
        client.finishing = True
        if client.send_head(head, content, end=True):
            lifecycle.finish(exchange)
        return
    assert found.file is not None
    FileSource(exchange, found.file, found.stamp, found.size, [] if plan.is_head else content).begin(head)
