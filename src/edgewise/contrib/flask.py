"""Sessions in Flask: `app.session_interface = SessionInterface(SessionSettings(...))`; then `flask.session` is one."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Request, Response, abort, request
from flask.sessions import SessionInterface as FlaskSessionInterface
from flask.sessions import SessionMixin

from edgewise.contracts.state import StateUnavailable
from edgewise.contrib.opened import BlockingSessions
from edgewise.sessions import Session, SessionSettings

log = logging.getLogger("edgewise.sessions")


class FlaskSession(Session, SessionMixin):
    """A `Session` as Flask wants it."""

    new: bool
    modified: bool
    accessed: bool


class SessionInterface(FlaskSessionInterface):
    """Opens and saves sessions for Flask. Its settings name the cookie; those of Flask are not used.

    Where the state engine does not answer, the request is answered with 503 (or as `when_lost` says).
    """

    def __init__(self, settings: SessionSettings) -> None:
        self.sessions = BlockingSessions(settings, FlaskSession)
        """`sessions_of` and `revoke` are here."""

    def open_session(self, app: Flask, request: Request) -> SessionMixin | None:
        """Return the session of a request."""
        try:
            session: Any = self.sessions.open([request.environ.get("HTTP_COOKIE", "")], request.host)
        except StateUnavailable as error:
            log.error("sessions cannot be read: %s", error)
            abort(503)
        found: SessionMixin = session
        return found

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write what changed, and set the cookie."""
        assert isinstance(session, Session)
        try:
            cookie = self.sessions.commit(session, request.host)
        except StateUnavailable as error:
            log.error("a session cannot be written: %s", error)
            response.status_code = 503
            response.set_data("sessions cannot be written at the moment\n")
            return
        if cookie is not None:
            response.headers.add("Set-Cookie", cookie)
        if cookie is not None or session.accessed:
            response.vary.add("Cookie")
