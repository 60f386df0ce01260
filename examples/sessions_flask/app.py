"""Sessions in Flask: log in once, served by any of three processes.  edgewise run"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, abort, session

from edgewise.contrib.flask import SessionInterface
from edgewise.sessions import SessionSettings

app = Flask(__name__)
app.session_interface = interface = SessionInterface(SessionSettings(namespace="flask"))
current: Any = session


@app.get("/")
def visit() -> dict[str, Any]:
    """Say who this is, and count."""
    visits = current.change("visits", lambda visits: visits + 1, 0)
    return {"process": os.getpid(), "user": current.user, "visits": visits}


@app.post("/login/<name>")
def login(name: str) -> str:
    """Log in; a real app would ask for a password first."""
    current.login(name, label="a browser")
    return f"hello {name}"


@app.post("/logout")
def logout() -> str:
    """Log out."""
    current.logout()
    return "goodbye"


@app.get("/mine")
def mine() -> list[str]:
    """List the user's sessions; 401 for nobody."""
    if not current.user:
        abort(401)
    return [info.label for info in interface.sessions.sessions_of(current.user)]


@app.post("/logout-everywhere")
def logout_everywhere() -> str:
    """End the user's other sessions."""
    if not current.user:
        abort(401)
    interface.sessions.revoke(current.user, keep=current._get_current_object())
    return "only here now"
