"""The tags of what a request used, as the Surrogate-Key of its answer: middleware for ASGI and WSGI apps.

Outside of what reads, inside of nothing that caches. The HTTP cache of edgewise keeps the tags and purges by them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from edgewise.contrib.tags import Collected, collecting

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
MOST_BYTES = 4096
"""Of the field; where single rows need more their tables are named."""
NOT_KEPT = ("CDN-Cache-Control", "no-store")
"""For an answer that cannot be purged by all that it is made of, or that shows what may yet be rolled back."""


def key_fields(used: Collected) -> list[tuple[str, str]]:
    """Return the fields of an answer that used so much. Tags that the field cannot carry keep it out of the cache."""
    if not used.tags and used.shareable:
        return []
    if sum(map(len, used.tags)) + len(used.tags) > MOST_BYTES:
        used.collapse()
    tags = sorted(used.tags)
    value = " ".join(tags)
    sound = all(tag.isascii() and tag.isprintable() and tag and not set(tag) & {" ", ","} for tag in tags)
    if not used.shareable or not sound or len(value) > MOST_BYTES:
        return [NOT_KEPT]
    return [("Surrogate-Key", value)]


class AsgiSurrogateKeys:
    """Puts the tags of what was used, until the answer begins, on the answer of an ASGI app."""

    def __init__(self, app: Callable[[Any, Any, Any], Awaitable[Any]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; WebSockets and lifespan pass."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with collecting() as used:

            async def tagged(message: Message) -> None:
                if message["type"] == "http.response.start":
                    added = [(name.lower().encode(), value.encode()) for name, value in key_fields(used)]
                    message = {**message, "headers": [*message.get("headers", ()), *added]}
                await send(message)

            await self.app(scope, receive, tagged)


class WsgiSurrogateKeys:
    """Puts the tags of what was used, until start_response is called, on the answer of a WSGI app.

    Content that is made while it is sent reads too late to be tagged.
    """

    def __init__(self, app: Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        with collecting() as used:

            def start(status: str, fields: list[tuple[str, str]], *exc_info: Any) -> Any:
                return start_response(status, [*fields, *key_fields(used)], *exc_info)

            return self.app(environ, start)
