"""Sessions for any WSGI app."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from edgewise.contracts.state import StateUnavailable
from edgewise.contrib.opened import BlockingSessions
from edgewise.sessions import Session, SessionSettings

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
log = logging.getLogger("edgewise.sessions")
LOST = b"sessions cannot be read at the moment\n"


class SessionMiddleware:
    """Puts the request's `Session` into environ["edgewise.session"], and its `BlockingSessions` into
    environ["edgewise.sessions"].

    What changed is written as the app calls start_response, so that the cookie goes out with it; what changes later is
    written when the content is complete, where the session had a cookie by then. Where the state engine does not
    answer, the request is answered with 503 (or as `when_lost` says).
    """

    def __init__(self, app: App, settings: SessionSettings) -> None:
        self.app = app
        self._sessions = BlockingSessions(settings)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        host = environ.get("HTTP_HOST", "")
        try:
            session = self._sessions.open([environ.get("HTTP_COOKIE", "")], host, environ.get("HTTP_AUTHORIZATION", ""))
        except StateUnavailable as error:
            return _refuse(start_response, error)
        environ["edgewise.session"] = session
        environ["edgewise.sessions"] = self._sessions
        refused: list[Iterable[bytes]] = []

        def start(status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Any:
            try:
                cookies = self._sessions.commit(session, host)
            except StateUnavailable as error:
                refused.append(_refuse(start_response, error))
                return _discard
            added = [("Set-Cookie", cookie) for cookie in cookies]
            if cookies or session.accessed:
                added.append(("Vary", "Authorization" if session.bearer else "Cookie"))
            return start_response(status, [*fields, *added], *([] if exc_info is None else [exc_info]))

        content = _Content(self.app(environ, start), refused, lambda: self._finish(session, host))
        whole = content.whole()
        return content if whole is None else whole

    def _finish(self, session: Session, host: str) -> None:
        """Write what changed since the answer began; a cookie can no longer be set."""
        if not session.modified:
            return
        if session.new or session.logs_in or session.rotates:
            log.warning("a session was begun, or given a new id, after the answer had begun: it is dropped")
            return
        self._sessions.commit(session, host)


def _refuse(start_response: StartResponse, error: StateUnavailable) -> list[bytes]:
    """Answer that sessions are out of reach."""
    log.error("a session cannot be read or written: %s", error)
    fields = [("Content-Type", "text/plain"), ("Content-Length", str(len(LOST))), ("Retry-After", "1")]
    start_response("503 Service Unavailable", fields)
    return [LOST]


def _discard(_chunk: bytes) -> None:
    """Take the place of `write` where the answer is another."""


class _Content:
    """What an app returned, or what stands in its place; `done` is called before it is closed."""

    def __init__(self, content: Iterable[bytes], refused: list[Iterable[bytes]], done: Callable[[], None]) -> None:
        self._content = content
        self._refused = refused
        self._done = done

    def whole(self) -> Iterable[bytes] | None:
        """Return the content at once where it is complete; None where it is still to come."""
        if not isinstance(self._content, list | tuple):
            return None
        if self._refused:
            return self._refused[0]
        self._done()
        return self._content

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._content:
            if self._refused:
                break
            yield chunk
        for answer in self._refused:
            yield from answer

    def close(self) -> None:
        """End, as PEP 3333 has it."""
        try:
            if not self._refused:
                self._done()
        finally:
            close = getattr(self._content, "close", None)
            if close is not None:
                close()
