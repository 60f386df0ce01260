"""Connections of an endpoint: reuse, bounds, and the queue of those who wait."""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING

from edgewise.protocols import proxy_protocol
from edgewise.proxy import http2_upstream, lifecycle, upstream
from edgewise.proxy.wire import FOREVER

_QUEUE = 64
"""Exchanges that wait for one HTTP/2 connection to be made; more than that open another."""

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Endpoint
    from edgewise.contracts.exchange import Exchange


def open_or_wait(exchange: Exchange, endpoint: Endpoint) -> None:
    """No idle connection: open one, or queue when the endpoint is at its limit. O(1)."""
    group = exchange.group
    assert group is not None
    if endpoint.connecting is not None and len(endpoint.connecting.queue) < _QUEUE:
        http2_upstream.Queued(exchange, endpoint.connecting.queue)
        return
    if endpoint.max_connections and (endpoint.connections >= endpoint.max_connections or endpoint.waiting):
        if len(endpoint.waiting) >= group.max_waiting:
            lifecycle.fail(exchange, 503, "edge-queue", "too many requests wait for this server")
            return
        exchange.waiting = True
        endpoint.waiting.append(exchange)
        exchange.client.deadline = monotonic() + group.queue_timeout
        return
    _open(exchange, endpoint)


def _open(exchange: Exchange, endpoint: Endpoint) -> None:
    group = exchange.group
    assert group is not None
    connection = upstream.UpstreamConnection(exchange.client.engine, group, endpoint)
    if group.http2 and endpoint.http2:
        endpoint.connecting = connection
    endpoint.connections += 1
    connection.exchange = exchange
    exchange.upstream = connection
    exchange.connected = monotonic()
    connection.connect()


def serve_waiting(connection: upstream.UpstreamConnection) -> None:
    """Give a connection that became free to the one who waits longest."""
    if connection.group.proxy_protocol:
        connection.close()  # its header named another client
        return
    connection.start(next_waiting(connection.endpoint))


def next_waiting(endpoint: Endpoint) -> Exchange:
    """Take the one who waits longest from the queue."""
    exchange = endpoint.waiting.popleft()
    exchange.waiting = False
    exchange.client.deadline = FOREVER
    return exchange


def forget(connection: upstream.UpstreamConnection | http2_upstream.Http2Upstream) -> None:
    """A connection closed: its place may go to one who waits."""
    endpoint = connection.endpoint
    endpoint.connections -= 1
    if endpoint.waiting:  # later, since a connect that fails at once comes back here
        connection.engine.loop.call_soon(_open_for_next, endpoint)


def _open_for_next(endpoint: Endpoint) -> None:
    if endpoint.waiting and endpoint.connections < endpoint.max_connections:
        _open(next_waiting(endpoint), endpoint)


def host_name(endpoint: Endpoint) -> str:
    """Return the name to verify in a server's certificate where none is configured."""
    address = endpoint.address
    return (
        "localhost"
        if isinstance(address, str)
        else endpoint.name.partition("@")[0].rpartition(":")[0].strip("[]") or address[0]
    )


def proxy_header(version: int, peer: tuple[str, int], sock: socket.socket) -> bytes:
    """Return the PROXY protocol header that tells a server who the client is."""
    if peer[0] == "unix:":
        return proxy_protocol.encode(version, None, None)
    local = sock.getsockname()
    destination = ("127.0.0.1", 0) if isinstance(local, str | bytes) else (local[0], local[1])
    return proxy_protocol.encode(version, peer, destination)
