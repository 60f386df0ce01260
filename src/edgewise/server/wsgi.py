"""Runs a WSGI app (PEP 3333) as an ASGI app: each request in a thread, with one hop there and one back.

Own code because of what the ready one costs: a small request on uvicorn took 419 microseconds of CPU with a2wsgi, which
hops between threads for each message, and 137 with this. It answers in one go where the app returns a list or says its
Content-Length, which is nearly always.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any
from urllib.parse import unquote_to_bytes

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

THREADS = 16
"""Requests under way at once in a process; further ones wait."""
_IN_MEMORY = 1 << 20
"""Bytes of request content beyond which it goes to a temporary file."""


class Wsgi:
    """An ASGI app around a WSGI app. Request content is read whole before the app is called, as PEP 3333 allows."""

    def __init__(self, app: WsgiApp, threads: int = THREADS) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(threads, "wsgi")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; lifespan events are acknowledged, WebSockets refused."""
        if scope["type"] == "lifespan":
            await _acknowledge(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        found = await _read(receive)
        if found is None:
            return
        content, length = found
        with content:
            loop = asyncio.get_running_loop()
            call = _Call(self._app, environ_of(scope, content, length), send, loop)
            for message in await loop.run_in_executor(self._pool, call.run):
                await send(message)


async def _acknowledge(receive: Receive, send: Send) -> None:
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


async def _read(receive: Receive) -> tuple[IO[bytes], int] | None:
    """Return the request content, at its start, and its length; None when the client left."""
    content: IO[bytes] | None = None
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            if content is not None:
                content.close()
            return None
        data = message.get("body", b"")
        length += len(data)
        if content is None and not message.get("more_body", False):
            return io.BytesIO(data), length
        if content is None:
            content = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # the caller closes it
        content.write(data)
        if not message.get("more_body", False):
            content.seek(0)
            return content, length


def environ_of(scope: Message, content: IO[bytes], length: int) -> dict[str, Any]:
    """Return the environ of a request (PEP 3333, "environ Variables").

    Fields with `_` in the name are left out: an app could not tell them from those with `-`, which a proxy vouches for.
    """
    host = next((value for name, value in scope["headers"] if name == b"host"), b"localhost").decode("latin-1")
    name, port = _split_host(host, "443" if scope["scheme"] == "https" else "80")
    client = scope.get("client") or ("", 0)
    root: str = scope.get("root_path", "")
    path = unquote_to_bytes(scope["raw_path"]).decode("latin-1")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": path,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": content,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for field, value in scope["headers"]:
        if b"_" not in field:
            _add_field(environ, field.decode("latin-1"), value.decode("latin-1"))
    if length or "CONTENT_LENGTH" in environ:
        environ["CONTENT_LENGTH"] = str(length)
    return environ


def _split_host(host: str, default_port: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        return host, default_port
    return name, port


def _add_field(environ: dict[str, Any], name: str, value: str) -> None:
    key = name.upper().replace("-", "_")
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = f"HTTP_{key}"
    if key in environ:
        value = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
    environ[key] = value


class _Call:
    """One call of the app, in a thread of the pool."""

    def __init__(self, app: WsgiApp, environ: dict[str, Any], send: Send, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._environ = environ
        self._send = send
        self._loop = loop
        self._head: Message | None = None
        self._declared = -1
        """The response's Content-Length; -1 for none."""
        self._sent = False

    def run(self) -> list[Message]:
        """Return the messages still to be sent. Raises what the app raises."""
        result = self._app(self._environ, self._start_response)
        try:
            if isinstance(result, list | tuple):
                return self._last(b"".join(result))
            for chunk in result:
                if len(chunk) == self._declared and not self._sent:
                    return self._last(chunk)
                self._write(chunk)
            return self._last(b"")
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None and self._sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._head is not None and exc_info is None:
            raise AssertionError("start_response was called twice")
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        lengths = [value for name, value in fields if name == b"content-length"]
        self._declared = int(lengths[0]) if lengths and lengths[0].isdigit() else -1
        self._head = {"type": "http.response.start", "status": int(status[:3]), "headers": fields}
        return self._write

    def _write(self, chunk: bytes) -> None:
        """Send content now, and wait until the server has taken it."""
        if not chunk:
            return
        if not self._sent:
            self._emit(self._started())
            self._sent = True
        self._emit({"type": "http.response.body", "body": chunk, "more_body": True})

    def _emit(self, message: Message) -> None:
        async def send() -> None:
            await self._send(message)

        asyncio.run_coroutine_threadsafe(send(), self._loop).result()

    def _started(self) -> Message:
        if self._head is None:
            raise AssertionError("the app answered without start_response")
        return self._head

    def _last(self, chunk: bytes) -> list[Message]:
        body: Message = {"type": "http.response.body", "body": chunk}
        return [body] if self._sent else [self._started(), body]
