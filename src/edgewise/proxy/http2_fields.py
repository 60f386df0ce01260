"""The fields that a request over HTTP/2 has for itself, as a header block: `lifecycle.own_lines` without its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.protocols.hpack import encode_literal, literal_start
from edgewise.protocols.http2_heads import lines_block
from edgewise.proxy import lifecycle

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

_ID = literal_start(b"x-request-id", 32).decode("latin-1")
_TRACE = literal_start(b"traceparent", 55).decode("latin-1")


def own_block(exchange: Exchange) -> bytes:
    """Return the header block of the fields that differ by request and connection."""
    request_id = exchange.request_id
    exchange.span_id = request_id[:16] if exchange.attempts == 1 else exchange.client.engine.span_id()
    trace_id, flags = exchange.plan.trace or (request_id, "00")
    own = f"{_ID}{request_id}{_TRACE}00-{trace_id}-{exchange.span_id}-{flags}".encode("latin-1")
    lines = exchange.forward_lines + lifecycle.origin(exchange).encode("latin-1")[:-2]
    block = own + lines_block(lines)
    timeout = b"" if exchange.grpc is None else exchange.grpc.timeout()
    return encode_literal(b"grpc-timeout", timeout) + block if timeout else block
