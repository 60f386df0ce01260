"""Sessions in Starlette and FastAPI.

`app.add_middleware(SessionMiddleware, settings=SessionSettings(...))`; then `request.session` is the `Session`, and in
FastAPI `session: CurrentSession` or `user: CurrentUser` among a handler's parameters.
"""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from edgewise.contrib.asgi import SessionMiddleware
from edgewise.sessions import Session, Sessions

__all__ = ["SessionMiddleware", "current_session", "current_sessions", "current_user"]


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
