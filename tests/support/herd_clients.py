"""Clients for many requests at once: one to a connection with HTTP/1.1, a hundred with HTTP/2."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import ClassVar, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset


@dataclass
class Answer:
    """What one client got."""

    status: int = 0
    content: bytearray = field(default_factory=bytearray)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    """Some of the content is here."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    broken: bool = False
    """It ended before its content was whole."""


class Http1Client(asyncio.Protocol):
    """One request on one connection."""

    requests: ClassVar[int] = 1

    def __init__(self) -> None:
        self.answer = Answer()
        self._head = b""
        self._length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def ask(self, path: str) -> Answer:
        """Send the request."""
        self._transport.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return self.answer

    def leave(self, answer: Answer) -> None:
        """Go away."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take some of the answer."""
        answer = self.answer
        if not answer.status:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            answer.status = int(head[9:12])
            length = re.search(rb"\r\ncontent-length: ([0-9]+)", head, re.I)
            self._length = int(length[1]) if length else 0
        answer.content += data
        if answer.content:
            answer.began.set()
        if len(answer.content) == self._length:
            answer.ended.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Note an end that came early."""
        self.answer.broken = not self.answer.ended.is_set()
        self.answer.ended.set()

    def close(self) -> None:
        """End the connection."""
        self._transport.close()


class Http2Client(asyncio.Protocol):
    """Many requests on one connection."""

    requests: ClassVar[int] = 100
    """At the same time."""

    def __init__(self) -> None:
        self._http2 = H2Connection(H2Configuration(header_encoding="ascii"))
        self.answers: dict[int, Answer] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._http2.initiate_connection()
        self._http2.increment_flow_control_window(1 << 30)
        self._flush()

    def ask(self, path: str) -> Answer:
        """Send a request."""
        stream = self._http2.get_next_available_stream_id()
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        self._http2.send_headers(stream, fields, end_stream=True)
        self._flush()
        answer = self.answers[stream] = Answer()
        return answer

    def leave(self, answer: Answer) -> None:
        """Give a request up."""
        (stream,) = [number for number, found in self.answers.items() if found is answer]
        self._http2.reset_stream(stream, error_code=8)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take frames."""
        for event in self._http2.receive_data(data):
            self._take(event)
        self._flush()

    def _take(self, event: Event) -> None:
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0)
        if answer is None:
            return
        if isinstance(event, ResponseReceived):
            answer.status = int(dict(event.headers)[":status"])  # type: ignore[call-overload]
        elif isinstance(event, DataReceived):
            answer.content += event.data
            answer.began.set()
            self._http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded | StreamReset):
            answer.broken = isinstance(event, StreamReset)
            answer.ended.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Note ends that came early."""
        for answer in self.answers.values():
            answer.broken = answer.broken or not answer.ended.is_set()
            answer.ended.set()

    def _flush(self) -> None:
        self._transport.write(self._http2.data_to_send())

    def close(self) -> None:
        """End the connection."""
        self._transport.close()
