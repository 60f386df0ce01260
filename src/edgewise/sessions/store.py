"""The door for stores of sessions, and what they need of a state engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from edgewise.contracts.state import PAGE, Entry
from edgewise.sessions.session import Session


class SessionError(Exception):
    """A session cannot be kept; the text says why."""


class SessionTooLarge(SessionError):
    """More than fits; nothing was written."""


class SessionGone(SessionError):
    """It was ended, rotated or revoked while this request was under way; nothing was written."""


class SessionConflict(SessionError):
    """Other requests changed it faster than this one could; nothing was written."""


class SessionInfo(NamedTuple):
    """One of a user's sessions."""

    handle: str
    """Names it to `revoke`; worth nothing in a cookie."""
    label: str
    created: float
    """Unix time of the login."""
    expires_in: float
    """Seconds that it lives on unused."""


class KeyValues(Protocol):
    """The part of `contracts.state.StateEngine` that sessions stand on."""

    async def get(self, key: str, *, stale: bool = False) -> Entry | None:
        """Return an entry."""

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Write; return the revision."""

    async def compare_and_set(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int | None:
        """Write where the key is at `revision`; None: it is not."""

    async def touch(self, key: str, ttl: float) -> bool:
        """Give an entry another time to live."""

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete."""

    async def entries(self, prefix: str, after: str = "", limit: int = PAGE) -> list[Entry]:
        """Return entries by prefix."""


async def handles(engine: KeyValues, prefix: str) -> AsyncIterator[str]:
    """Yield the handles in a user's index, the keys behind `prefix`; some may be of sessions that are gone."""
    after = ""
    while page := await engine.entries(prefix, after, PAGE):
        for entry in page:
            yield entry.key.removeprefix(prefix)
        after = page[-1].key


class SessionStore(Protocol):
    """Keeps sessions. Methods raise StateUnavailable where the engine that they need does not answer."""

    async def open(self, token: str | None, audience: str = "") -> Session:
        """Return the session of a cookie's value, or an empty one: a token that is not good is never adopted."""

    async def commit(self, session: Session, audience: str = "") -> str | None:
        """Write what changed; return the value for the cookie, "" to remove it, None to leave it.

        Raises SessionError, or TypeError and ValueError for values that no session can hold.
        """

    def due(self, session: Session) -> bool:
        """Would `commit` write that a session which was only read is in use?"""

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        """Return a user's sessions, latest login first. Raises SessionError where they are not known."""

    async def revoke(self, user: str, handle: str | None = None, keep: Session | None = None) -> None:
        """End a user's sessions: the one named, or all, or all but `keep`."""
