"""The quickstart's app: plain ASGI, no framework. Two of these run behind edgewise.

    python app.py --name one --port 9001

/         which app answered (a page for browsers, a line for curl)
/headers  the request fields the app received
/healthz  the health check's answer
/slow     an answer after a second
/kept     the same, for caches to keep for half a minute
/echo     the request content, streamed back
/events   five server-sent events
/ws       a WebSocket that echoes
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PAGE = Path(__file__).with_name("page.html")


class App:
    """Answers by path; `name` tells the two processes apart."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.websocket(receive, send)
            return
        path = scope["path"]
        if path == "/":
            await self.index(scope, send)
        elif path == "/headers":
            lines = [name + b": " + value for name, value in scope["headers"]]
            await answer(send, b"\n".join(lines) + b"\n")
        elif path == "/healthz":
            await answer(send, b"ok\n")
        elif path == "/slow":
            await asyncio.sleep(1)
            await answer(send, f"{self.name} took its time\n".encode())
        elif path == "/kept":
            await asyncio.sleep(1)
            keep = [(b"cache-control", b"max-age=30"), (b"surrogate-key", b"quickstart")]
            await answer(send, f"{self.name} took its time, once\n".encode(), more_fields=keep)
        elif path == "/echo":
            await echo(receive, send)
        elif path == "/events":
            await self.events(send)
        else:
            await answer(send, b"no such page\n", status=404)

    async def index(self, scope: Scope, send: Send) -> None:
        """Answer browsers with the page, others with one line."""
        fields = dict(scope["headers"])
        if b"text/html" in fields.get(b"accept", b""):
            page = PAGE.read_text().replace("{name}", self.name)
            await answer(send, page.encode(), content_type=b"text/html; charset=utf-8")
        else:
            await answer(send, f"hello from app {self.name}\n".encode())

    async def events(self, send: Send) -> None:
        """Send five events, a fifth of a second apart."""
        await start(send, 200, b"text/event-stream")
        for number in range(1, 6):
            event = f"data: event {number} from app {self.name}\n\n".encode()
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b""})

    async def websocket(self, receive: Receive, send: Send) -> None:
        """Echo every message with the app's name before it."""
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text") or (message.get("bytes") or b"").decode(errors="replace")
            await send({"type": "websocket.send", "text": f"{self.name}: {text}"})


Fields = Sequence[tuple[bytes, bytes]]


async def start(send: Send, status: int, content_type: bytes, more_fields: Fields = ()) -> None:
    """Send the head of an answer."""
    fields = [(b"content-type", content_type), *more_fields]
    await send({"type": "http.response.start", "status": status, "headers": fields})


async def answer(
    send: Send, body: bytes, *, status: int = 200, content_type: bytes = b"text/plain", more_fields: Fields = ()
) -> None:
    """Send a whole answer."""
    await start(send, status, content_type, more_fields)
    await send({"type": "http.response.body", "body": body})


async def echo(receive: Receive, send: Send) -> None:
    """Send the request content back as it comes."""
    await start(send, 200, b"application/octet-stream")
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


def main() -> None:
    """Serve the app on a loopback port until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    # edgewise sets X-Forwarded-For itself and logs every request, so uvicorn need not.
    uvicorn.run(App(options.name), port=options.port, log_level="warning", access_log=False, ws="websockets-sansio")


if __name__ == "__main__":
    main()
