"""Sessions in FastAPI: log in once, served by any of three processes.  edgewise run"""

from __future__ import annotations

import os
from typing import Any

from fastapi import Depends, FastAPI

from edgewise.contrib.starlette import SessionMiddleware, current_session, current_sessions, current_user
from edgewise.sessions import Session, Sessions, SessionSettings

app = FastAPI()
app.add_middleware(SessionMiddleware, settings=SessionSettings(namespace="fastapi"))
SESSION, USER, SESSIONS = Depends(current_session), Depends(current_user), Depends(current_sessions)


@app.get("/")
async def visit(session: Session = SESSION) -> dict[str, Any]:
    """Say who this is, and count."""
    visits = session.change("visits", lambda visits: visits + 1, 0)
    return {"process": os.getpid(), "user": session.user, "visits": visits}


@app.post("/login/{name}")
async def login(name: str, session: Session = SESSION) -> str:
    """Log in; a real app would ask for a password first."""
    session.login(name, label="a browser")
    return f"hello {name}"


@app.post("/logout")
async def logout(session: Session = SESSION) -> str:
    """Log out."""
    session.logout()
    return "goodbye"


@app.get("/mine")
async def mine(user: str = USER, sessions: Sessions = SESSIONS) -> list[str]:
    """List the user's sessions; 401 for nobody."""
    return [info.label for info in await sessions.sessions_of(user)]


@app.post("/logout-everywhere")
async def logout_everywhere(user: str = USER, sessions: Sessions = SESSIONS, session: Session = SESSION) -> str:
    """End the user's other sessions."""
    await sessions.revoke(user, keep=session)
    return "only here now"
