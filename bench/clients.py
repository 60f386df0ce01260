"""Clients with many habits, for the soak and the reload test. Each is a coroutine that raises Failed when let down."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from bench.websocket import CLOSE, FrameReader, frame, handshake

PATIENCE = 20.0
"""Seconds within which any answer has to come."""

Client = Callable[[int], Awaitable[None]]


class Failed(Exception):
    """The proxy did not do what this client may expect."""


@dataclass
class Tally:
    """How often each habit was carried out and how often it failed, with the first few reasons."""

    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)

    def note(self, name: str, error: BaseException) -> None:
        self.failed[name] += 1
        if len(self.reasons) < 20:
            self.reasons.append(f"{name}: {type(error).__name__}: {error}")


async def repeat(client: Client, port: int, tally: Tally, until: asyncio.Event, pause: float) -> None:
    """Runs a client again and again until told to stop, with a pause of random length between."""
    name = client.__name__
    while not until.is_set():
        try:
            async with asyncio.timeout(PATIENCE):
                await client(port)
            tally.done[name] += 1
        except (Failed, OSError, EOFError, TimeoutError) as error:
            tally.note(name, error)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until.wait(), random.uniform(0, 2 * pause))


class Connection:
    """A client connection with just enough HTTP/1.1 to check answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        fields = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in head.split("\r\n")[1:])}
        if status in (101, 204, 304):
            return status, b""
        if fields.get("transfer-encoding", "").lower() == "chunked":
            return status, await self.chunks()
        if "content-length" in fields:
            return status, await self.reader.readexactly(int(fields["content-length"]))
        return status, await self.reader.read()

    async def chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        while await self.reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return body

    async def ask(self, request: bytes, expected: int = 200) -> bytes:
        """Sends a request and returns the body; raises Failed when the status is another one."""
        await self.send(request)
        status, body = await self.answer()
        if status != expected:
            raise Failed(f"{status} instead of {expected}: {body[:100]!r}")
        return body


@contextlib.asynccontextmanager
async def connected(port: int, reset: bool = False) -> AsyncIterator[Connection]:
    """A connection; with `reset` it ends by RST instead of FIN."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        yield Connection(reader, writer)
    finally:
        if reset:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER: on, 0 seconds
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def get(path: str = "/hello", *fields: str) -> bytes:
    """A request head."""
    lines = [f"GET {path} HTTP/1.1", "Host: shop.example.com", *fields]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def chunked(body: bytes) -> bytes:
    """The body in chunks of random sizes."""
    parts, at = [], 0
    while at < len(body):
        piece = body[at : at + random.randint(1, 20000)]
        parts.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        at += len(piece)
    return b"".join(parts) + b"0\r\n\r\n"


def received(answer: bytes, body: bytes) -> None:
    """Raises Failed unless the echo origin saw exactly this body."""
    seen: dict[str, Any] = json.loads(answer)
    if seen["length"] != len(body) or seen["sha256"] != hashlib.sha256(body).hexdigest():
        raise Failed(f"the origin received {seen['length']} of {len(body)} bytes, or others")


async def keep_alive(port: int) -> None:
    """Twenty GETs on one connection."""
    async with connected(port) as connection:
        for _ in range(20):
            await connection.ask(get(f"/catalogue/{random.getrandbits(32)}"))


async def pipelined(port: int) -> None:
    """Five requests sent at once; answers have to come in their order."""
    async with connected(port) as connection:
        await connection.send(b"".join(get(f"/echo/{number}") for number in range(5)))
        for number in range(5):
            status, body = await connection.answer()
            if status != 200 or not json.loads(body)["line"].startswith(f"GET /echo/{number} "):
                raise Failed(f"answer {number} is out of order: {status} {body[:60]!r}")


async def new_connection(port: int) -> None:
    """One GET that closes its connection."""
    async with connected(port) as connection:
        await connection.ask(get("/hello", "Connection: close"))


async def not_found(port: int) -> None:
    """A GET that the origin answers with 404."""
    async with connected(port) as connection:
        await connection.ask(get("/echo/status/404"), 404)


async def malformed(port: int) -> None:
    """A request with two Content-Length fields, to be refused with 400."""
    async with connected(port) as connection:
        await connection.ask(get("/hello", "Content-Length: 1", "Content-Length: 2"), 400)


async def upload(port: int) -> None:
    """A body of up to 1 MiB with Content-Length, checked by the origin."""
    body = os.urandom(random.randint(1, 1 << 20))
    head = f"POST /echo/upload HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: {len(body)}\r\n\r\n"
    async with connected(port) as connection:
        received(await connection.ask(head.encode() + body), body)


async def chunked_upload(port: int) -> None:
    """A body in chunks, answered in chunks."""
    body = os.urandom(random.randint(1, 1 << 18))
    head = b"POST /echo/chunked HTTP/1.1\r\nHost: shop.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with connected(port) as connection:
        received(await connection.ask(head + chunked(body)), body)


async def download(port: int) -> None:
    """8 MiB."""
    async with connected(port) as connection:
        body = await connection.ask(get("/big"))
        if len(body) != 8 << 20:
            raise Failed(f"{len(body)} bytes of 8 MiB")


async def slow_head(port: int) -> None:
    """A request head that comes in small pieces over two seconds."""
    request = get("/hello", "User-Agent: " + "x" * 200)
    async with connected(port) as connection:
        for at in range(0, len(request), 32):
            await connection.send(request[at : at + 32])
            await asyncio.sleep(0.2)
        status, _ = await connection.answer()
        if status != 200:
            raise Failed(f"{status} instead of 200")


async def slow_upload(port: int) -> None:
    """A body that comes in pieces over two seconds."""
    body = os.urandom(20000)
    head = f"POST /echo/upload HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: {len(body)}\r\n\r\n"
    async with connected(port) as connection:
        await connection.send(head.encode())
        for at in range(0, len(body), 1000):
            await connection.send(body[at : at + 1000])
            await asyncio.sleep(0.1)
        status, answer = await connection.answer()
        if status != 200:
            raise Failed(f"{status} instead of 200")
        received(answer, body)


async def slow_reader(port: int) -> None:
    """Reads the first 2 MiB of 8 over about four seconds, then goes away."""
    async with connected(port) as connection:
        await connection.send(get("/big"))
        taken = 0
        while taken < 2 << 20:
            data = await connection.reader.read(1 << 16)
            if not data:
                raise Failed("the download ended early")
            taken += len(data)
            await asyncio.sleep(0.1)


async def abandons_download(port: int) -> None:
    """Resets the connection in the middle of an answer."""
    async with connected(port, reset=True) as connection:
        await connection.send(get("/big"))
        await connection.reader.read(1000)


async def abandons_upload(port: int) -> None:
    """Resets the connection in the middle of a body."""
    head = b"POST /echo/upload HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: 1000000\r\n\r\n"
    async with connected(port, reset=True) as connection:
        await connection.send(head + os.urandom(50000))


async def abandons_request(port: int) -> None:
    """Leaves before the answer, which takes the origin 300 ms."""
    async with connected(port, reset=random.random() < 0.5) as connection:
        await connection.send(get("/echo/slow"))
        await asyncio.sleep(0.05)


async def web_socket(port: int) -> None:
    """Twenty messages of different sizes, then a proper close."""
    async with web_socket_session(port) as session:
        for _ in range(20):
            await session.echo(os.urandom(random.choice((1, 100, 125, 126, 5000, 70000))))
        await session.connection.send(frame(b"\x03\xe8", CLOSE, os.urandom(4)))
        opcode, _ = await session.receive()
        if opcode != CLOSE:
            raise Failed(f"opcode {opcode} instead of close")


class WebSocketSession:
    """An open WebSocket."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.frames = FrameReader()
        self.pending: list[tuple[int, bytes]] = []

    async def receive(self) -> tuple[int, bytes]:
        """The next frame; raises Failed at the end of the stream."""
        while not self.pending:
            data = await self.connection.reader.read(1 << 17)
            if not data:
                raise Failed("the WebSocket was dropped")
            self.pending += self.frames.feed(data)
        return self.pending.pop(0)

    async def echo(self, payload: bytes) -> None:
        """One message there and back; raises Failed when it comes back as another."""
        await self.connection.send(frame(payload, 2, os.urandom(4)))
        if await self.receive() != (2, payload):
            raise Failed("a message came back changed")


@contextlib.asynccontextmanager
async def web_socket_session(port: int) -> AsyncIterator[WebSocketSession]:
    """Opens a WebSocket through the proxy; raises Failed when it is refused."""
    async with connected(port) as connection:
        await connection.ask(handshake(f"127.0.0.1:{port}", "/echo/ws"), 101)
        yield WebSocketSession(connection)


HABITS: tuple[tuple[Client, int, float], ...] = (
    (keep_alive, 4, 0.1),
    (pipelined, 2, 0.2),
    (new_connection, 4, 0.05),
    (not_found, 2, 0.1),
    (malformed, 1, 0.5),
    (upload, 2, 0.2),
    (chunked_upload, 2, 0.2),
    (download, 1, 0.5),
    (slow_head, 4, 0.5),
    (slow_upload, 4, 0.5),
    (slow_reader, 2, 1.0),
    (abandons_download, 1, 0.2),
    (abandons_upload, 1, 0.2),
    (abandons_request, 2, 0.2),
    (web_socket, 4, 0.2),
)
"""Each habit with the number of clients that have it and the mean pause between two turns, seconds."""
