"""Many clients that ask for the same slow object at once, over HTTP/1.1, TLS and HTTP/2, and an origin that counts."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess, free_port
from support.herd_clients import Answer, Http1Client, Http2Client

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
[tls]
certificates = [{ cert = "CERT", key = "KEY" }]
[access_log]
path = "off"
[upstreams.origin]
servers = ["127.0.0.1:ORIGIN"]
[[routes]]
upstream = "origin"
cache = {}
"""
PATIENCE = 60.0
"""Seconds until the requests of a herd have come in, or are done."""
PIECE = bytes(range(256)) * 8
PIECES = 20
"""That the content has."""
CONTENT = PIECE * PIECES
_STORED = f"HTTP/1.1 200 OK\r\nContent-Length: {len(CONTENT)}\r\nCache-Control: max-age=600\r\n\r\n".encode()
_PRIVATE = _STORED.replace(b"max-age=600", b"private")
_ACTIVE = re.compile(rb"^http_server_active_requests(?:\{[^}]*\})? ([0-9]+)", re.M)


class Wire(StrEnum):
    """What the clients speak."""

    PLAIN = "HTTP/1.1"
    TLS = "HTTP/1.1 over TLS"
    HTTP2 = "HTTP/2 over TLS"


# ---- the origin ------------------------------------------------------------------------------------------------------


Script = Callable[[asyncio.StreamWriter, asyncio.Event], Awaitable[None]]
"""What the origin does about a request; the event is set once all clients have asked."""


async def slow(writer: asyncio.StreamWriter, opened: asyncio.Event) -> None:
    """Answer once all have asked."""
    await opened.wait()
    writer.write(_STORED + CONTENT)


async def slow_without_the_first(writer: asyncio.StreamWriter, opened: asyncio.Event) -> None:
    """The same; the client that asked first leaves before."""
    await slow(writer, opened)


async def streaming(writer: asyncio.StreamWriter, opened: asyncio.Event) -> None:
    """Send the first half at once, the second once all have asked."""
    writer.write(_STORED + CONTENT[: len(CONTENT) // 2])
    await opened.wait()
    writer.write(CONTENT[len(CONTENT) // 2 :])


async def dripping(writer: asyncio.StreamWriter, opened: asyncio.Event) -> None:
    """Send little pieces, with time between them."""
    await opened.wait()
    writer.write(_STORED)
    for _ in range(PIECES):
        writer.write(PIECE)
        await asyncio.sleep(0.05)


async def private(writer: asyncio.StreamWriter, opened: asyncio.Event) -> None:
    """Answer for one client alone, once all have asked; it takes a while each time."""
    await opened.wait()
    await asyncio.sleep(0.5)
    writer.write(_PRIVATE + CONTENT)


async def failing(writer: asyncio.StreamWriter, opened: asyncio.Event) -> None:
    """Close without an answer, once all have asked."""
    await opened.wait()
    writer.close()


async def breaking_off(writer: asyncio.StreamWriter, opened: asyncio.Event) -> None:
    """Send half of the content, then close."""
    await opened.wait()
    writer.write(_STORED + CONTENT[: len(CONTENT) // 2])
    writer.close()


@dataclass
class Count:
    """Requests of one herd that the origin had."""

    all: int = 0
    now: int = 0
    most: int = 0
    """At the same time."""

    def __enter__(self) -> None:
        self.all += 1
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1


class Origin:
    """Answers by the script of the herd that asks, and counts."""

    def __init__(self) -> None:
        self.begin(slow)

    def begin(self, script: Script) -> None:
        """Be ready for another herd."""
        self._script = script
        self.asked = asyncio.Event()
        self.opened = asyncio.Event()
        self.count = Count()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while not writer.is_closing():
                await reader.readuntil(b"\r\n\r\n")
                self.asked.set()
                with self.count:
                    await self._script(writer, self.opened)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


SCRIPTS = (slow, slow_without_the_first, streaming, dripping, private, failing, breaking_off)


# ---- the herd --------------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What came of a herd."""

    requests: Count
    """That the origin had."""
    answers: Counter[str]
    """How many clients got what."""
    seconds: float
    """From when the origin answered until the last client had its answer."""


async def connect(edgewise: EdgewiseProcess, wire: Wire) -> Http1Client | Http2Client:
    """Open a connection."""
    loop = asyncio.get_running_loop()
    if wire is Wire.PLAIN:
        return (await loop.create_connection(Http1Client, "127.0.0.1", edgewise.port))[1]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2" if wire is Wire.HTTP2 else "http/1.1"])
    kind = Http2Client if wire is Wire.HTTP2 else Http1Client
    return (await loop.create_connection(kind, "127.0.0.1", edgewise.tls_port, ssl=context))[1]


async def until_active(edgewise: EdgewiseProcess, count: int) -> None:
    """Wait until exactly so many requests are under way."""
    async with asyncio.timeout(PATIENCE):
        while sum(map(int, _ACTIVE.findall(await asyncio.to_thread(edgewise.admin, "/metrics")))) != count:
            await asyncio.sleep(0.05)


def told(answer: Answer) -> str:
    """Return in a word what a client got."""
    if answer.status == 200 and not answer.broken:
        return "whole" if answer.content == CONTENT else "damaged"
    return "cut off" if answer.status == 200 else str(answer.status or "nothing")


async def herd(edgewise: EdgewiseProcess, origin: Origin, wire: Wire, script: Script, count: int) -> Outcome:
    """Have so many clients ask for one object and the origin answer by a script."""
    origin.begin(script)
    path = f"/{wire.name}-{script.__name__}".lower()
    each = Http2Client.requests if wire is Wire.HTTP2 else Http1Client.requests
    clients = [await connect(edgewise, wire)]
    try:
        answers = [clients[0].ask(path)]
        async with asyncio.timeout(PATIENCE):
            await origin.asked.wait()
        for number in range(1, count):
            if number % each == 0:
                clients.append(await connect(edgewise, wire))
            answers.append(clients[-1].ask(path))
        await until_active(edgewise, count)
        if script is slow_without_the_first:
            clients[0].leave(answers.pop(0))
            await until_active(edgewise, count - 1)
        if script is streaming:
            await asyncio.gather(*(answer.began.wait() for answer in answers))
        began = time.perf_counter()
        origin.opened.set()
        await asyncio.gather(*(answer.ended.wait() for answer in answers))
        seconds = time.perf_counter() - began
        return Outcome(origin.count, Counter(map(told, answers)), seconds)
    finally:
        for client in clients:
            client.close()


@asynccontextmanager
async def pasture(directory: Path) -> AsyncIterator[tuple[EdgewiseProcess, Origin]]:
    """Start an edgewise of one worker before an origin."""
    cert, key = DevelopmentAuthority().issue(["localhost"]).write(directory, "localhost")
    origin, port = Origin(), free_port()
    values = {"ORIGIN": str(port), "CERT": cert, "KEY": key}
    toml = re.sub("|".join(values), lambda found: values[found[0]], TOML)
    async with await asyncio.start_server(origin.serve, "127.0.0.1", port, backlog=1024):
        edgewise = await asyncio.to_thread(EdgewiseProcess, toml, directory)
        try:
            yield edgewise, origin
        finally:
            await asyncio.to_thread(edgewise.stop)
