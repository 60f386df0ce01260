"""One request of a health check on an HTTP/2 connection of its own."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http2 import DATA, HEAD, RESET, TRAILERS, Event, Http2Connection

_READ = 16384
_INTERIM = b"HTTP/1.1 1"


class Answer(NamedTuple):
    """What came in answer, in HTTP/1 form; content and trailers as far as they were waited for."""

    head: bytes
    content: bytes
    trailers: bytes


class _Gathered:
    """What has come of the answer."""

    def __init__(self, most: int) -> None:
        self.head = b""
        self.content = b""
        self.trailers = b""
        self.enough = False
        self._most = most

    def take(self, event: Event) -> None:
        """Note what an event tells. Raises ProtocolError where the stream was reset."""
        kind, _, value, flag = event
        if kind == HEAD and not value.startswith(_INTERIM):
            self.head = value
        elif kind == DATA:
            self.content += value
        elif kind == TRAILERS:
            self.trailers = value
        elif kind == RESET:
            raise ProtocolError(502, f"stream reset with error {value}")
        self.enough = self.enough or flag or (self.head != b"" and len(self.content) >= self._most)


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, content: bytes, *, tls: bool, most: int
) -> Answer:
    """Send a request (its head in HTTP/1 form, without the empty line) on a fresh connection; return the answer.

    The rest of an answer is not waited for after `most` bytes of content, at 0 nothing but its head. Raises OSError,
    EOFError or ProtocolError where there is no answer by HTTP/2.
    """
    connection = Http2Connection(server=False)
    stream = connection.open(head, b"\r\n", end=not content, scheme=b"https" if tls else b"http")
    if content:
        connection.send_data(stream, content, end=True)
    answer = _Gathered(most)
    while not answer.enough:
        writer.write(connection.take())
        await writer.drain()
        data = await reader.read(_READ)
        if not data:
            raise EOFError("closed before it answered")
        for event in connection.receive(data):
            if event[1] == stream:
                answer.take(event)
        if connection.error is not None and not answer.enough:
            raise ProtocolError(502, f"HTTP/2: {connection.error[1]}")
    return Answer(answer.head, answer.content, answer.trailers)
