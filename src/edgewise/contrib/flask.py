"""Sessions in Flask: `app.session_interface = SessionInterface(SessionSettings(...))`; then `flask.session` is one."""

from __future__ import annotations

import logging
from collections.abc import Container
from typing import Any, NoReturn

from flask import Flask, Request, Response, abort, request
from flask import session as current
from flask.sessions import SessionInterface as FlaskSessionInterface
from flask.sessions import SessionMixin
from werkzeug.exceptions import ServiceUnavailable

from edgewise.contracts.state import StateUnavailable
from edgewise.contrib.opened import BlockingSessions
from edgewise.sessions import Session, SessionSettings, csrf

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


def protect_from_csrf(app: Flask, exempt: Container[str | None] = ()) -> None:
    """Refuse what other sites make a browser ask for (403), except at the endpoints named in `exempt`.

    Methods that change something need a token, in X-CSRF-Token or as `csrf_token` in a form; templates have a function
    of that name: `<input type="hidden" name="csrf_token" value="{{ csrf_token() }}">`.
    """

    def check() -> None:
        if request.method in csrf.SAFE_METHODS or request.endpoint in exempt:
            return
        token = request.headers.get(csrf.FIELD) or request.form.get(csrf.FORM_FIELD)
        if not session_of_request().verify_csrf(token):
            abort(403, "the request does not come from a page of this session")

    app.before_request(check)
    app.jinja_env.globals["csrf_token"] = lambda: session_of_request().csrf_token()


def session_of_request() -> Session:
    """Return the session behind `flask.session`. Raises ServiceUnavailable where it could not be read."""
    found: Any = current
    session: Session = found._get_current_object()
    return session
