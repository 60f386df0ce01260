"""Sessions for any ASGI app."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from edgewise.contracts.state import StateUnavailable
from edgewise.contrib.opened import LoopSessions
from edgewise.sessions import Session, Sessions, SessionSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[Any]]
log = logging.getLogger("edgewise.sessions")
LOST = b"sessions cannot be read at the moment\n"


class SessionMiddleware:
    """Puts the request's `Session` into scope["session"], and the app's `Sessions` into scope["edgewise.sessions"].

    What changed is written as the answer begins, so that the cookie goes out with it; what changes later is written as
    the app returns, where the session had a cookie by then. An app that fails before it answers changes nothing. Where
    the state engine does not answer, the request is answered with 503 (or as `when_lost` says).
    """

    def __init__(self, app: App, settings: SessionSettings) -> None:
        self.app = app
        self._opened = LoopSessions(settings)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, WebSocket or lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        fields = _values(scope, b"cookie")
        host = "".join(_values(scope, b"host")[:1])
        authorization = "".join(_values(scope, b"authorization")[:1])
        try:
            sessions = await self._opened.get()
            session = await sessions.open(fields, host, authorization)
        except StateUnavailable as error:
            log.error("sessions cannot be read: %s", error)
            if scope["type"] == "websocket":
                await receive()
            await _refuse(scope["type"], send)
            return
        scope = {**scope, "session": session, "edgewise.sessions": sessions}
        answer = _Answer(sessions, session, host, send)
        await self.app(scope, receive, answer.send)
        await answer.finish()

    async def _lifespan(self, scope: Message, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._opened.close()
            await send(message)

        await self.app(scope, receive, closing)


class _Answer:
    """Commits the session as the answer begins."""

    def __init__(self, sessions: Sessions, session: Session, host: str, send: Send) -> None:
        self._sessions = sessions
        self._session = session
        self._host = host
        self._send = send
        self._refused = False

    async def send(self, message: Message) -> None:
        """Send, with what belongs to the session in the head."""
        if self._refused:
            return
        if message["type"] in ("http.response.start", "websocket.accept"):
            fields = list(message.get("headers", ()))
            try:
                cookies = await self._sessions.commit(self._session, self._host)
            except StateUnavailable as error:
                log.error("a session cannot be written: %s", error)
                self._refused = True
                await _refuse(message["type"].partition(".")[0], self._send)
                return
            fields += [(b"set-cookie", cookie.encode("latin-1")) for cookie in cookies]
            if cookies or self._session.accessed:
                fields.append((b"vary", b"Authorization" if self._session.bearer else b"Cookie"))
            message = {**message, "headers": fields}
        await self._send(message)

    async def finish(self) -> None:
        """Write what changed since; a cookie can no longer be set."""
        session = self._session
        if self._refused or not session.modified:
            return
        if session.new or session.logs_in or session.rotates:
            log.warning("a session was begun, or given a new id, after the answer had begun: it is dropped")
            return
        await self._sessions.commit(session, self._host)


def _values(scope: Message, wanted: bytes) -> list[str]:
    """Return the values of a request's fields of one name."""
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]


async def _refuse(kind: str, send: Send) -> None:
    """Answer that sessions are out of reach."""
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1013})
        return
    fields = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(LOST)), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": 503, "headers": fields})
    await send({"type": "http.response.body", "body": LOST})
