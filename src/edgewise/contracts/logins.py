"""The door by which a login is kept in the gateway's sessions, wherever those are."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from edgewise.contracts.state import StateEngine


class LoginError(Exception):
    """A session cannot be kept; the text says why."""


class LoginSession(Protocol):
    """The session of a request. What is set is written by `Logins.commit`; values are JSON-like."""

    @property
    def user(self) -> str:
        """Who logged in; "" while nobody has."""

    def get(self, key: str, default: Any, /) -> Any:
        """Return a value."""

    def __setitem__(self, key: str, value: Any) -> None:
        """Set a value."""

    def login(self, user: str, label: str = "") -> None:
        """Make this the session of `user`, under a new id."""

    def logout(self) -> None:
        """End it."""


class Logins(Protocol):
    """The gateway's sessions. Methods raise StateError where the engine that they need does not answer."""

    @property
    def cookie(self) -> str:
        """Name of the session's cookie."""

    @property
    def secure(self) -> bool:
        """Is the cookie for https alone?"""

    @property
    def sealed(self) -> bool:
        """Is the session in its cookie, and not with the engine?"""

    @property
    def lifetime(self) -> float:
        """Seconds after a login at which its session ends."""

    def open(self, cookies: Sequence[str], host: str) -> LoginSession | Awaitable[LoginSession]:
        """Return the session that Cookie fields name, else an empty one."""

    def due(self, session: LoginSession) -> bool:
        """Is it time to write down that a session is in use?"""

    def handle(self, session: LoginSession) -> str:
        """Return what names a session that is kept, and is worth nothing in a cookie; "" for one that is not."""

    async def commit(self, session: LoginSession, host: str) -> list[str]:
        """Write what changed; return values for Set-Cookie. Raises LoginError; what changed in a session that was ended
        meanwhile is dropped."""

    async def end(self, user: str, handle: str) -> None:
        """End a session of a user, on every worker and node. Raises LoginError where there is no engine."""

    async def secret(self) -> bytes:
        """Return a secret that all workers and nodes have in common."""

    async def engine(self) -> StateEngine | None:
        """Return the engine; None without one."""
