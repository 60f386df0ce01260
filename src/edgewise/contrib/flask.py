"""Sessions in Flask: `app.session_interface = SessionInterface(SessionSettings(...))`; then `flask.session` is one."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from flask import Flask, Request, Response, request
from flask.sessions import SessionInterface as FlaskSessionInterface
from flask.sessions import SessionMixin
from werkzeug.exceptions import ServiceUnavailable

from edgewise.contracts.state import StateUnavailable
from edgewise.contrib.opened import BlockingSessions
from edgewise.sessions import Session, SessionSettings

log = logging.getLogger("edgewise.sessions")


class FlaskSession(Session, SessionMixin):
    """A `Session` as Flask wants it."""

    new: bool
    modified: bool
    accessed: bool


class LostSession(SessionMixin):
    """In the place of a session that could not be read: whoever uses it answers 503."""

    def _fail(self, *_arguments: object) -> NoReturn:
        raise ServiceUnavailable("sessions cannot be read at the moment", retry_after=1)

    __getitem__ = __setitem__ = __delitem__ = __iter__ = __len__ = __contains__ = _fail

    def __getattr__(self, name: str) -> Any:
        """Fail for `user`, `login` and the like."""
        if name.startswith("_"):
            raise AttributeError(name)
        self._fail()


class SessionInterface(FlaskSessionInterface):
    """Opens and saves sessions for Flask. Its settings name the cookie; those of Flask are not used.

    Where the state engine does not answer, requests that use their session are answered with 503 (or as `when_lost`
    says).
    """

    def __init__(self, settings: SessionSettings) -> None:
        self.sessions = BlockingSessions(settings, FlaskSession)
        """`sessions_of` and `revoke` are here."""

    def open_session(self, app: Flask, request: Request) -> SessionMixin | None:
        """Return the session of a request."""
        try:
            session: Any = self.sessions.open(
                [request.environ.get("HTTP_COOKIE", "")], request.host, request.environ.get("HTTP_AUTHORIZATION", "")
            )
        except StateUnavailable as error:
            log.error("sessions cannot be read: %s", error)
            return LostSession()
        found: SessionMixin = session
        return found

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write what changed, and set the cookie."""
        if not isinstance(session, Session):
            return
        try:
            cookies = self.sessions.commit(session, request.host)
        except StateUnavailable as error:
            log.error("a session cannot be written: %s", error)
            response.status_code = 503
            response.set_data("sessions cannot be written at the moment\n")
            return
        for cookie in cookies:
            response.headers.add("Set-Cookie", cookie)
        if cookies or session.accessed:
            response.vary.add("Authorization" if session.bearer else "Cookie")
