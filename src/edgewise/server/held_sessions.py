"""The admin address's part in sessions: the control process asks the state engine, which it opens when first asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edgewise.admin.control import HeldSession, NothingShared
from edgewise.router.sessions import EngineOpening
from edgewise.sessions.directory import NAMESPACES, SessionDirectory

if TYPE_CHECKING:
    from edgewise.config.state import State


class HeldSessionAdmin:
    """Lists and ends users' sessions; methods raise NothingShared without an engine, StateError where it is lost."""

    def __init__(self, state: State | None) -> None:
        self._opening = EngineOpening(state) if state is not None else None

    async def _directory(self, namespaces: Sequence[str]) -> SessionDirectory:
        if self._opening is None:
            raise NothingShared("no session is kept in shared state: there is no [state] table")
        return SessionDirectory(await self._opening(), namespaces or NAMESPACES)

    async def sessions_of(self, user: str, namespaces: Sequence[str]) -> tuple[HeldSession, ...]:
        """Return a user's sessions."""
        directory = await self._directory(namespaces)
        return tuple(
            HeldSession(
                listed.namespace,
                listed.info.handle,
                listed.info.label,
                datetime.fromtimestamp(listed.info.created, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                round(listed.info.expires_in, 1),
            )
            for listed in await directory.sessions_of(user)
        )

    async def revoke(self, user: str, namespaces: Sequence[str]) -> int:
        """End every session of a user; return how many were listed."""
        return await (await self._directory(namespaces)).revoke(user)

    async def revoke_one(self, handle: str, namespaces: Sequence[str]) -> str | None:
        """End one session; return whose it was, None where there is none of that id."""
        return await (await self._directory(namespaces)).revoke_one(handle)
