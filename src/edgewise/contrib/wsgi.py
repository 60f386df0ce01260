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
            session = self._sessions.open([environ.get("HTTP_COOKIE", "")], host)
        except StateUnavailable as error:
            log.error("sessions cannot be read: %s", error)
            fields = [("Content-Type", "text/plain"), ("Content-Length", str(len(LOST))), ("Retry-After", "1")]
            start_response("503 Service Unavailable", fields)
            return [LOST]
        environ["edgewise.session"] = session
        environ["edgewise.sessions"] = self._sessions

        def start(status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Any:
            cookie = self._sessions.commit(session, host)
            added = [] if cookie is None else [("Set-Cookie", cookie)]
            if cookie is not None or session.accessed:
                added.append(("Vary", "Cookie"))
            return start_response(status, [*fields, *added], *([] if exc_info is None else [exc_info]))

        content = self.app(environ, start)
        if isinstance(content, list | tuple):
            self._finish(session, host)
            return content
        return _Content(content, lambda: self._finish(session, host))

    def _finish(self, session: Session, host: str) -> None:
        """Write what changed since the answer began; a cookie can no longer be set."""
        if not session.modified:
            return
        if session.new or session.logs_in or session.rotates:
            log.warning("a session was begun, or given a new id, after the answer had begun: it is dropped")
            return
        self._sessions.commit(session, host)


class _Content:
    """What an app returned; `done` is called before it is closed."""

    def __init__(self, content: Iterable[bytes], done: Callable[[], None]) -> None:
        self._content = content
        self._done = done

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._content)

    def close(self) -> None:
        """End, as PEP 3333 has it."""
        try:
            self._done()
        finally:
            close = getattr(self._content, "close", None)
            if close is not None:
                close()
