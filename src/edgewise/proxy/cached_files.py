"""Answers from large objects that are stored in files: by sendfile(2) where nothing encrypts."""

from __future__ import annotations

import os
from time import time
from typing import TYPE_CHECKING, Any

from edgewise.proxy import lifecycle
from edgewise.proxy.file_source import FileSource, Part
from edgewise.proxy.pieces import Content
from edgewise.proxy.readers import Reader

if TYPE_CHECKING:
    from edgewise.contracts.cache import RouteCache, Stored
    from edgewise.contracts.exchange import Exchange


def answer(exchange: Exchange, cache: RouteCache, request: Any, stored: Stored, status: bytes) -> None:
    """Answer from a stored object whose content is in a file; where that is gone, as if nothing had been stored."""
    delivery = cache.deliver(request, stored, stored.length, status, time())
    if delivery.start == delivery.end or exchange.plan.is_head:
        Reader(exchange, request).begin(delivery, Content(b""))
        return
    file = cache.open_body(stored)
    if file is None:
        lifecycle.choose(exchange)
        return
    plan, client = exchange.plan, exchange.client
    minor = plan.request.minor
    connection = b"" if minor else b"Connection: keep-alive\r\n"
    if minor < 2 and (plan.close or client.closing):
        connection = b"Connection: close\r\n"
    head = b"%b%b\r\n" % (delivery.head, connection)
    exchange.status, exchange.answered = delivery.status, True
    exchange.response_bytes += len(head)
    stamp = os.fstat(file.fileno()).st_mtime_ns
    FileSource(exchange, file, stamp, stored.length, [Part(b"", delivery.start, delivery.end)]).begin(head)
