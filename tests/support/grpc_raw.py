"""One gRPC call frame by frame, where it counts what exactly came over the wire; it keeps no deadline of its own."""

from __future__ import annotations

import ssl

from support.grpc_server import SERVICE
from support.http2_raw import DATA, END_STREAM, Answer, Http2Client, frame, request_fields


def raw_call(
    address: tuple[str, int],
    content: bytes,
    method: str = "Unary",
    *extra: tuple[str, str],
    content_type: str = "application/grpc",
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Send framed messages (at most one frame of them) on a connection of their own; wait for the whole answer."""
    fields = request_fields(f"/{SERVICE}/{method}", "POST", ("te", "trailers"), ("content-type", content_type), *extra)
    with Http2Client(address, tls=tls) as client:
        stream = client.request(fields, end=False)
        client.send(frame(DATA, END_STREAM, stream, content))
        return client.answer(stream)


def is_trailers_only(answer: Answer) -> bool:
    """Did the status come in the one and only head, which ended the stream?"""
    return any(name == "grpc-status" for name, _ in answer.fields) and not (answer.trailers or answer.body)
