"""Sessions of an app's users: on the server under an opaque id, sealed in the cookie or in JWTs, behind one API."""

from edgewise.sessions.service import Sessions, TokenPair
from edgewise.sessions.session import Session
from edgewise.sessions.settings import SessionSettings, StateSettings
from edgewise.sessions.store import (
    SessionConflict,
    SessionError,
    SessionGone,
    SessionInfo,
    SessionStore,
    SessionTooLarge,
)

__all__ = [
    "Session",
    "SessionConflict",
    "SessionError",
    "SessionGone",
    "SessionInfo",
    "SessionSettings",
    "SessionStore",
    "SessionTooLarge",
    "Sessions",
    "StateSettings",
    "TokenPair",
]
