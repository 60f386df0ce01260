"""Access tokens are renewed ahead of their end: for each login by one request at a time, of all workers and nodes.

Providers that rotate refresh tokens take the second use of one for theft (RFC 9700 section 4.14.2), so nobody may use
one while another does: in a worker they wait for the same task, between workers a lease of the state engine decides.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from edgewise.contracts.logins import LoginError
from edgewise.contracts.state import StateError
from edgewise.gateway.oidc import kept
from edgewise.gateway.oidc.id_token import NotGood
from edgewise.gateway.oidc.provider import ProviderError, ProviderRefusal

if TYPE_CHECKING:
    from edgewise.contracts.logins import Logins, LoginSession
    from edgewise.contracts.state import Lease, StateEngine
    from edgewise.gateway.oidc.client import Client
    from edgewise.gateway.oidc.provider import Provider
    from edgewise.gateway.oidc.records import Records
    from edgewise.gateway.oidc.verifying import Verifying

_LEASE = 30.0
"""Seconds: longer than the provider may take to answer."""
_WAIT = 10.0
"""Seconds that a request without a good token waits for another worker that renews it."""
_LOOK = 0.1
_PAUSE = 10.0
"""Seconds after a failure in which the provider is not asked again for the same login."""
_MOST_PAUSED = 10_000
_log = logging.getLogger("edgewise.oidc")


class Refreshing:
    """Renews the tokens of one client's logins."""

    def __init__(
        self,
        client: Client,
        provider: Provider,
        verifying: Verifying,
        logins: Logins,
        records: Records,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._provider = provider
        self._verifying = verifying
        self._logins = logins
        self._records = records
        self._clock = clock
        self._owner = secrets.token_hex(8)
        self._running: dict[str, asyncio.Task[LoginSession]] = {}
        """By the handle of the session."""
        self._paused: dict[str, float] = {}
        """Handle -> Unix time until which its tokens are left alone."""

    def is_due(self, session: LoginSession, login: kept.Kept) -> bool:
        """Should this request see to new tokens? While the old ones are good, one request at a time does."""
        now = self._clock()
        if login.renew > now:
            return False
        handle = self._logins.handle(session)
        if self._paused.get(handle, 0.0) > now:
            return False
        return login.expires <= now or handle not in self._running

    async def refreshed(self, session: LoginSession, cookies: Sequence[str], host: str) -> LoginSession:
        """Return the session as it is afterwards: with new tokens, with the old ones where the provider could not be
        asked, or empty where it refused. Raises StateError."""
        handle = self._logins.handle(session)
        task = self._running.get(handle)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._alone(handle, cookies, host))
            self._running[handle] = task
            task.add_done_callback(lambda _: self._running.pop(handle, None))
        return await asyncio.shield(task)

    async def _alone(self, handle: str, cookies: Sequence[str], host: str) -> LoginSession:
        """Do it while no other worker does."""
        engine = await self._logins.engine()
        assert engine is not None  # tokens are kept in sessions that are kept in one
        name = f"oidc/refresh/{handle}"
        deadline = self._clock() + _WAIT
        while True:
            lease = await engine.acquire(name, self._owner, _LEASE)
            session = await self._read(cookies, host)
            login = kept.kept_of(session, self._client)
            if lease is not None:
                try:
                    return await self._renew(session, login, host)
                finally:
                    await _let_go(engine, lease)
            if login is None or login.renew > self._clock():  # the other one did it
                return session
            if login.expires > self._clock() or self._clock() > deadline:
                return session
            await asyncio.sleep(_LOOK)

    async def _read(self, cookies: Sequence[str], host: str) -> LoginSession:
        opened = self._logins.open(cookies, host)
        return await opened if isinstance(opened, Awaitable) else opened

    async def _renew(self, session: LoginSession, login: kept.Kept | None, host: str) -> LoginSession:
        tokens = kept.tokens_of(session)
        if login is None or tokens is None or tokens.refresh is None or login.renew > self._clock():
            return session
        handle = self._logins.handle(session)
        try:
            new = await self._provider.refresh(tokens.refresh)
            claims = await self._verifying.refreshed(new, login.sub)
        except ProviderRefusal as error:
            if error.code != "invalid_grant":
                return self._failed(session, handle, str(error))
            _log.info("%s: a login ends: its refresh token is refused", self._client.name)
            session.logout()
            await self._logins.commit(session, host)
            await self._records.forget(login.named, handle)
            return session
        except (ProviderError, NotGood) as error:
            return self._failed(session, handle, str(error))
        kept.keep_refreshed(session, self._client, login, claims, new, self._clock())
        try:
            await self._logins.commit(session, host)
        except LoginError as error:
            return self._failed(session, handle, str(error))
        return session

    def _failed(self, session: LoginSession, handle: str, reason: str) -> LoginSession:
        """Leave the login as it is for a while."""
        _log.warning("%s: tokens are not refreshed: %s", self._client.name, reason)
        while len(self._paused) >= _MOST_PAUSED:
            self._paused.pop(next(iter(self._paused)))
        self._paused[handle] = self._clock() + _PAUSE
        return session


async def _let_go(engine: StateEngine, lease: Lease) -> None:
    try:
        await engine.release(lease)
    except StateError as error:
        _log.warning("a lease ends by itself: %s", error)
