"""Sessions in Starlette and FastAPI.

`app.add_middleware(SessionMiddleware, settings=SessionSettings(...))`; then `request.session` is the `Session`, and in
FastAPI `session: CurrentSession` or `user: CurrentUser` among a handler's parameters.
"""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request

from edgewise.contrib.asgi import SessionMiddleware
from edgewise.sessions import Session, Sessions, csrf

__all__ = ["SessionMiddleware", "csrf_protected", "current_session", "current_sessions", "current_user"]
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def current_session(connection: HTTPConnection) -> Session:
    """Return the session of a request: a dependency for FastAPI."""
    found: Any = connection.scope.get("session")
    if not isinstance(found, Session):
        raise RuntimeError("edgewise.contrib.starlette.SessionMiddleware is not among the app's middleware")
    return found


def current_sessions(connection: HTTPConnection) -> Sessions:
    """Return what lists and revokes sessions: a dependency for FastAPI."""
    current_session(connection)
    sessions: Sessions = connection.scope["edgewise.sessions"]
    return sessions


def current_user(connection: HTTPConnection) -> str:
    """Return who is logged in: a dependency for FastAPI. Raises HTTPException, 401, where nobody is."""
    session = current_session(connection)
    if not session.user:
        raise HTTPException(401, "log in first")
    return session.user


async def csrf_protected(request: Request) -> None:
    """Refuse what other sites make a browser ask for: a dependency for FastAPI, to be awaited first elsewhere.

    Methods that change something need `session.csrf_token()` in X-CSRF-Token, or as `csrf_token` in a form (which takes
    python-multipart to read, as all forms do). Raises HTTPException, 403.
    """
    if request.method in csrf.SAFE_METHODS:
        return
    token: object = request.headers.get(csrf.FIELD)
    if token is None and request.headers.get("content-type", "").partition(";")[0].strip().lower() in _FORMS:
        token = (await request.form()).get(csrf.FORM_FIELD)
    if not current_session(request).verify_csrf(token if isinstance(token, str) else None):
        raise HTTPException(403, "the request does not come from a page of this session")
