"""gRPC-Web over a raw HTTP/1.1 connection, as a browser's library frames it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

from support.grpc_server import SERVICE
from support.raw_http import RawClient, RawResponse

TRAILERS = 0x80


@dataclass
class WebAnswer:
    """One answer: the HTTP response, its messages and its trailers."""

    response: RawResponse
    messages: list[bytes] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str | None:
        """grpc-status, from the trailers or, where there is no content, from the fields."""
        return self.trailers.get("grpc-status") or self.response.get("grpc-status")


def framed(*messages: bytes) -> bytes:
    """Return messages with the prefix that gRPC and gRPC-Web share."""
    return b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)


def web_call(
    client: RawClient, method: str, message: bytes, *, text: bool = False, fields: tuple[str, ...] = ()
) -> WebAnswer:
    """Call a method that takes one message; in the text form the request is encoded in two padded pieces."""
    content, kind = framed(message), "application/grpc-web"
    if text:
        content, kind = base64.b64encode(content[:4]) + base64.b64encode(content[4:]), "application/grpc-web-text"
    lines = [
        f"POST /{SERVICE}/{method} HTTP/1.1", "Host: example.com", f"Content-Type: {kind}+proto",
        f"Accept: {kind}+proto", "X-Grpc-Web: 1", f"Content-Length: {len(content)}", *fields,
    ]  # fmt: skip
    return read_answer(client.ask("\r\n".join(lines).encode() + b"\r\n\r\n" + content), text=text)


def read_answer(response: RawResponse, *, text: bool) -> WebAnswer:
    """Take the frames of an answer apart."""
    content = response.body
    if text:
        content = b"".join(base64.b64decode(part, validate=True) for part in re.findall(rb"[^=]+={0,2}", content))
    answer = WebAnswer(response)
    while content:
        flags, size = content[0], int.from_bytes(content[1:5], "big")
        payload, content = content[5 : 5 + size], content[5 + size :]
        assert len(payload) == size, "cut within a frame"
        assert not answer.trailers, "a frame behind the trailers"
        if flags == TRAILERS:
            lines = payload.decode().splitlines()
            answer.trailers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        else:
            assert flags == 0
            answer.messages.append(payload)
    return answer
