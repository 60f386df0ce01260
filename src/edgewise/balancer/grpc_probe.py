"""One gRPC health check: a call of grpc.health.v1.Health/Check on a connection of its own."""

from __future__ import annotations

import asyncio

from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.grpc import (
    Kind,
    MessageDecoder,
    Status,
    encode_message,
    find_status,
    format_timeout,
    kind_of,
    status_name,
)
from edgewise.protocols.grpc_health import CHECK_PATH, Serving, decode_serving, encode_check
from edgewise.protocols.http1 import parse_response_head
from edgewise.protocols.http2 import DATA, HEAD, RESET, TRAILERS, Event, Http2Connection

_LONGEST = 4096
"""Bytes of a message in the answer; the usual one has two."""
_READ = 16384


class _Call:
    """What has come of the answer."""

    def __init__(self) -> None:
        self.head = b""
        self.trailers = b""
        self.messages: list[tuple[int, bytes]] = []
        self.ended = False
        self._decoder = MessageDecoder(_LONGEST)

    def take(self, event: Event) -> None:
        """Note what an event tells. Raises ProtocolError for what is no answer to the call."""
        kind, _, value, flag = event
        if kind == HEAD:
            self.head = value
            self.ended = flag
        elif kind == DATA:
            self.messages += self._decoder.feed(value)
            self.ended = flag
            if len(self.messages) > 1:
                raise ProtocolError(502, "more than one message in answer to a health check")
        elif kind == TRAILERS:
            self.trailers = value
            self.ended = True
        elif kind == RESET:
            raise ProtocolError(502, f"stream reset with error {value}")

    def judge(self) -> tuple[bool, str]:
        """Return (well?, text for the status page)."""
        head = parse_response_head(self.head)
        if head.status != 200:
            return False, f"status {head.status}"
        if kind_of(head.get(b"content-type")) != Kind.GRPC:
            return False, "the answer is not gRPC"
        status = find_status(self.trailers or self.head)
        if status is None or status != Status.OK:
            return False, "no gRPC status" if status is None else f"gRPC status {status_name(status)}"
        if not self.messages:
            return False, "no message in the answer"
        serving = decode_serving(self.messages[0][1])
        return serving == Serving.SERVING, serving.name


async def check_service(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: str, host: str, timeout: float, *, tls: bool
) -> tuple[bool, str]:
    """Ask over a fresh connection whether `service` is served; return (well?, text for the status page).

    `timeout` (seconds) is told to the server; the caller keeps it. Raises OSError, EOFError or ProtocolError where
    there is no gRPC answer.
    """
    connection = Http2Connection(server=False)
    head = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/grpc\r\nUser-Agent: edgewise-health\r\n"
    own = b"grpc-timeout: %b\r\n\r\n" % format_timeout(timeout)
    stream = connection.open(
        head % (CHECK_PATH, host.encode("latin-1")), own, end=False, scheme=b"https" if tls else b"http"
    )
    connection.send_data(stream, encode_message(encode_check(service)), end=True)
    call = _Call()
    while not call.ended:
        writer.write(connection.take())
        await writer.drain()
        data = await reader.read(_READ)
        if not data:
            raise EOFError("closed before it answered")
        for event in connection.receive(data):
            if event[1] == stream:
                call.take(event)
        if connection.error is not None:
            raise ProtocolError(502, f"HTTP/2: {connection.error[1]}")
    return call.judge()
