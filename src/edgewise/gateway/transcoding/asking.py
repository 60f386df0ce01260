"""One gRPC call in edgewise's own name, on a connection of its own."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.grpc import MessageDecoder, Status, encode_message, find_status
from edgewise.protocols.http1 import parse_response_head
from edgewise.protocols.http2 import DATA, HEAD, RESET, TRAILERS, Http2Connection

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Address, Endpoint

_READ = 65536
_MOST = 64 << 20
"""Bytes of an answer."""
_LONGEST = 16 << 20
"""Bytes of a message."""


async def ask(
    endpoint: Endpoint, tls: ssl.SSLContext | None, server_name: str | None, method: bytes, requests: list[bytes]
) -> tuple[int, list[bytes]]:
    """Send all requests of a call, then return its status and the messages in answer.

    Raises OSError, EOFError or ProtocolError where there is no gRPC answer. The caller sets the deadline.
    """
    reader, writer = await _connect(endpoint.address, tls, server_name)
    try:
        return await _exchange(reader, writer, endpoint.address, method, requests, tls=tls is not None)
    finally:
        writer.close()


async def _connect(
    address: Address, tls: ssl.SSLContext | None, server_name: str | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, str):
        return await asyncio.open_unix_connection(
            address, ssl=tls, server_hostname=(server_name or "localhost") if tls else None
        )
    host, port = address
    return await asyncio.open_connection(host, port, ssl=tls, server_hostname=(server_name or host) if tls else None)


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    address: Address,
    method: bytes,
    requests: list[bytes],
    *,
    tls: bool,
) -> tuple[int, list[bytes]]:
    host = "localhost" if isinstance(address, str) else f"{address[0]}:{address[1]}"
    head = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/grpc\r\nUser-Agent: edgewise\r\n" % (
        method,
        host.encode("latin-1"),
    )
    connection = Http2Connection(server=False)
    stream = connection.open(head, b"\r\n", end=False, scheme=b"https" if tls else b"http")
    connection.send_data(stream, b"".join(map(encode_message, requests)), end=True)
    decoder = MessageDecoder(_LONGEST)
    messages: list[bytes] = []
    told, size, over = b"", 0, False
    while not over:
        writer.write(connection.take())
        await writer.drain()
        data = await reader.read(_READ)
        if not data:
            raise EOFError("closed before it answered")
        for kind, number, value, flag in connection.receive(data):
            if number != stream:
                continue
            if kind == HEAD:
                if parse_response_head(value).status != 200:
                    raise ProtocolError(502, "the answer is not gRPC")
                told = value
            elif kind == DATA:
                size += len(value)
                if size > _MOST:
                    raise ProtocolError(502, "the answer is too long")
                messages += [message for _, message in decoder.feed(value)]
                connection.consumed(stream, len(value))
            elif kind == TRAILERS:
                told = value
            elif kind == RESET:
                raise ProtocolError(502, f"stream reset with error {value}")
            over = over or flag or kind == TRAILERS
        if connection.error is not None and not over:
            raise ProtocolError(502, f"HTTP/2: {connection.error[1]}")
    status = find_status(told)
    return Status.UNKNOWN if status is None else status, messages
