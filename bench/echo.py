"""An origin that shows what it received: `python -m bench.echo PORT`.

GET/POST /…      JSON: the request line, the fields, the body's length and hash, the connection's and request's number
/…/chunked       the same, sent with chunked framing in small pieces
/…/status/404    answers with that status
/…/slow          answers after 300 ms
Upgrade: websocket is accepted on every path and each data frame is sent back.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
import sys
from typing import cast

from bench.websocket import FrameReader, accept_key, frame

_connections = 0


class Echo(asyncio.Protocol):
    """One connection. Requests are answered in order; a body is read whole before its answer."""

    def __init__(self) -> None:
        global _connections
        _connections += 1
        self.number = _connections
        self.requests = 0
        self.buffer = bytearray()
        self.request: Request | None = None
        self.frames: FrameReader | None = None
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.frames is not None:
            self.echo_frames(data)
            return
        self.buffer += data
        self.serve()

    def serve(self) -> None:
        while not self.waiting:
            if self.request is None and not self.read_head():
                return
            request = self.request
            if request is None or not request.read_body(self.buffer):
                return
            self.request = None
            self.answer(request)

    def read_head(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        self.requests += 1
        self.request = Request(bytes(self.buffer[:end]))
        del self.buffer[: end + 4]
        if self.request.fields.get("upgrade", "").lower() == "websocket":
            self.upgrade(self.request)
            return False
        if self.request.fields.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def upgrade(self, request: Request) -> None:
        key = accept_key(request.fields.get("sec-websocket-key", ""))
        self.transport.write(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {key}\r\n\r\n".encode()
        )
        self.frames = FrameReader()
        self.echo_frames(bytes(self.buffer))
        self.buffer.clear()

    def echo_frames(self, data: bytes) -> None:
        assert self.frames is not None
        for opcode, payload in self.frames.feed(data):
            self.transport.write(frame(payload, 10 if opcode == 9 else opcode))
            if opcode == 8:
                self.transport.close()

    def answer(self, request: Request) -> None:
        if request.path.endswith("/slow"):
            self.waiting = True
            asyncio.get_running_loop().call_later(0.3, self.answer_late, request)
        else:
            self.transport.write(request.response(self.number, self.requests))

    def answer_late(self, request: Request) -> None:
        self.waiting = False
        if not self.transport.is_closing():
            self.transport.write(request.response(self.number, self.requests))
            self.serve()


class Request:
    """A request head and how much of its body has come."""

    def __init__(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.method, self.target = lines[0].split(" ")[:2]
        self.path = self.target.partition("?")[0]
        self.pairs = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        self.fields = {name.lower(): value for name, value in self.pairs}
        self.chunked = self.fields.get("transfer-encoding", "").lower() == "chunked"
        self.left = int(self.fields.get("content-length", "0"))
        self.length = 0
        self.hash = hashlib.sha256()

    def read_body(self, buffer: bytearray) -> bool:
        """Takes what the buffer has of the body; True when the body is complete."""
        if not self.chunked:
            self.take(buffer, min(self.left, len(buffer)))
            return self.left == 0
        while True:
            if self.left:
                self.take(buffer, min(self.left, len(buffer)))
                if self.left:
                    return False
            match = re.match(rb"(?:\r\n)?([0-9a-fA-F]+)[^\r\n]*\r\n", buffer)
            if match is None:
                return False
            size = int(match[1], 16)
            if size == 0 and not buffer.startswith(b"\r\n", match.end()):
                return False
            del buffer[: match.end() + (2 if size == 0 else 0)]
            self.left = size
            if size == 0:
                return True

    def take(self, buffer: bytearray, size: int) -> None:
        self.hash.update(buffer[:size])
        del buffer[:size]
        self.left -= size
        self.length += size

    def response(self, connection: int, number: int) -> bytes:
        status = match[1] if (match := re.search(r"/status/(\d{3})$", self.path)) else "200"
        body = json.dumps(
            {
                "line": self.line,
                "fields": self.pairs,
                "length": self.length,
                "sha256": base64.b16encode(self.hash.digest()).decode().lower(),
                "connection": connection,
                "request": number,
            }
        ).encode()
        head = f"HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n"
        if not self.path.endswith("/chunked"):
            return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + (b"" if self.method == "HEAD" else body)
        chunks = b"".join(
            b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[i : i + 100] for i in range(0, len(body), 100))
        )
        return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"


async def serve(port: int) -> None:
    """Serves until cancelled."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
