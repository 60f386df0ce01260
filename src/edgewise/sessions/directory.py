"""The sessions in a state engine from an operator's side: a user's are listed and ended, whoever keeps them and how."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edgewise.sessions.families import Families
from edgewise.sessions.records import Keys, decode_record
from edgewise.sessions.settings import LONGEST, MOST_ACCESS, MOST_LEEWAY, SessionSettings
from edgewise.sessions.stateful import StatefulSessions
from edgewise.sessions.store import KeyValues, SessionInfo

GATEWAY = "gateway"
"""Namespace of the sessions that the gateway holds, apart from those that apps keep in the same engine."""
NAMESPACES = (GATEWAY, SessionSettings.namespace)
"""Where sessions are looked for: the gateway's, and those of apps that do not name their own."""
MOST_LISTED = 1000
"""Sessions of a user and namespace that are told of."""


class Listed(NamedTuple):
    """A session as an operator sees it."""

    namespace: str
    info: SessionInfo


class SessionDirectory:
    """Sessions of some namespaces. Raises ValueError for names that are none; methods raise StateUnavailable."""

    def __init__(
        self, engine: KeyValues, namespaces: Sequence[str] = NAMESPACES, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._engine = engine
        self._clock = clock
        settings = {name: SessionSettings(namespace=name, absolute=LONGEST, memory=0) for name in namespaces}
        self._stores = {name: StatefulSessions(each, engine, clock=clock) for name, each in settings.items()}

    async def sessions_of(self, user: str) -> list[Listed]:
        """Return a user's sessions, stateful and JWT; sealed ones are where their cookies are."""
        found: list[Listed] = []
        for name, store in self._stores.items():
            found += [Listed(name, info) for info in (await store.sessions_of(user))[:MOST_LISTED]]
        return found

    async def revoke(self, user: str) -> int:
        """End every session of a user, sealed ones too; return how many there were, as far as they can be listed."""
        count = len(await self.sessions_of(user))
        for store in self._stores.values():
            await store.revoke(user)
        return count

    async def revoke_one(self, handle: str) -> str | None:
        """End the session with a handle; return whose it was, None where there is none."""
        for name, store in self._stores.items():
            keys = Keys(name)
            entry = await self._engine.get(keys.session(handle))
            record = None if entry is None else decode_record(entry.value)
            if record is None:
                continue
            if record.user and await Families(self._engine, keys).find(handle) is not None:
                until = self._clock() + MOST_ACCESS + MOST_LEEWAY
                await store.revocations.end(record.user, handle, until)  # access tokens that are out
            await store.revoke(record.user, handle)
            await self._engine.delete(keys.session(handle))  # nobody's session is in no index
            return record.user
        return None
