"""One gRPC health check: a call of grpc.health.v1.Health/Check on a connection of its own."""

from __future__ import annotations

import asyncio

from edgewise.balancer.http2_probe import Answer, ask
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

_LONGEST = 4096
"""Bytes of a message in the answer; the usual one has two."""


async def check_service(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: str, host: str, timeout: float, *, tls: bool
) -> tuple[bool, str]:
    """Ask over a fresh connection whether `service` is served; return (well?, text for the status page).

    `timeout` (seconds) is told to the server; the caller keeps it. Raises OSError, EOFError or ProtocolError where
    there is no gRPC answer.
    """
    head = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/grpc\r\nUser-Agent: edgewise-health\r\n" % (
        CHECK_PATH,
        host.encode("latin-1"),
    )
    head += b"grpc-timeout: %b\r\n" % format_timeout(timeout)
    content = encode_message(encode_check(service))
    return _judge(await ask(reader, writer, head, content, tls=tls, most=2 * _LONGEST))


def _judge(answer: Answer) -> tuple[bool, str]:
    """Return (well?, text for the status page). Raises ProtocolError for what is no answer to the call."""
    head = parse_response_head(answer.head)
    if head.status != 200:
        return False, f"status {head.status}"
    if kind_of(head.get(b"content-type")) != Kind.GRPC:
        return False, "the answer is not gRPC"
    messages = MessageDecoder(_LONGEST).feed(answer.content)
    if len(messages) > 1:
        raise ProtocolError(502, "more than one message in answer to a health check")
    status = find_status(answer.trailers or answer.head)
    if status is None or status != Status.OK:
        return False, "no gRPC status" if status is None else f"gRPC status {status_name(status)}"
    if not messages:
        return False, "no message in the answer"
    serving = decode_serving(messages[0][1])
    return serving == Serving.SERVING, serving.name
