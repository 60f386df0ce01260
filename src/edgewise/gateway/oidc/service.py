"""All that the logins of one client are made of, shared by its routes and by those that logins come back to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewise.gateway.oidc.attempts import Attempts
from edgewise.gateway.oidc.login import Login
from edgewise.gateway.oidc.logout import Logout
from edgewise.gateway.oidc.provider import Provider
from edgewise.gateway.oidc.records import Records
from edgewise.gateway.oidc.refreshing import Refreshing
from edgewise.gateway.oidc.verifying import Verifying
from edgewise.gateway.oidc.way import LoginWay

if TYPE_CHECKING:
    from edgewise.contracts.logins import Logins
    from edgewise.contracts.policies import Fetch, Policy
    from edgewise.gateway.oidc.client import Client


class OidcLogins:
    """A `contracts.policies.Service`: it asks for the provider's keys ahead of time."""

    def __init__(self, client: Client, logins: Logins, fetch: Fetch, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns Unix time."""
        self._client = client
        self._clock = clock
        self._logins = logins
        provider = Provider(client, fetch)
        self._verifying = verifying = Verifying(client, provider, fetch, clock)
        attempts = Attempts(client, logins, clock)
        records = Records(client, logins)
        self._refreshing = Refreshing(client, provider, verifying, logins, records, clock)
        login = Login(client, provider, verifying, attempts, logins, records, clock)
        logout = Logout(client, provider, verifying, logins, records)
        self._endpoints: tuple[Policy, ...] = (login.begin, login.finish, logout.leave, logout.told)

    def way(self, *, hides: bool) -> LoginWay:
        """Return the way to authenticate of a route."""
        return LoginWay(self._client, self._logins, self._refreshing, hides=hides, clock=self._clock)

    @property
    def endpoints(self) -> tuple[tuple[str, Policy], ...]:
        """Return path and answer of what a host answers for the client."""
        return tuple(zip(self._client.paths, self._endpoints, strict=True))

    async def run(self) -> None:
        """Keep the provider's keys fresh, until cancelled."""
        await self._verifying.keys.run()
