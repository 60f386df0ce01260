"""What the state engine keeps of logins: which sessions a provider's logout ends, and what may count only once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgewise.contracts.state import PAGE

if TYPE_CHECKING:
    from edgewise.contracts.logins import Logins
    from edgewise.contracts.state import StateEngine
    from edgewise.gateway.oidc.client import Client

_ONCE = 900.0
"""Seconds that is remembered what counts only once: longer than a login or a logout token is taken."""


class Records:
    """Of one client. Methods raise StateError. Without an engine nothing is kept, and there is no back-channel."""

    def __init__(self, client: Client, logins: Logins) -> None:
        self._logins = logins
        self._prefix = f"oidc/{_hashed(client.registration)[:32]}"

    async def are_kept(self) -> bool:
        """Is there an engine, so that a provider's logout can end sessions?"""
        return await self._logins.engine() is not None

    async def is_used(self, state: str) -> bool:
        """Did a login with this `state` succeed already?"""
        engine = await self._logins.engine()
        return engine is not None and await engine.get(self._once("state", state)) is not None

    async def use(self, kind: str, value: str) -> bool:
        """Note that a `state` or `jti` was used; False: it had been. Only what the provider vouched for comes here."""
        engine = await self._logins.engine()
        return engine is None or await engine.compare_and_set(self._once(kind, value), b"", 0, _ONCE) is not None

    def _once(self, kind: str, value: str) -> str:
        return f"{self._prefix}/once/{kind}/{_hashed(value)}"

    async def add(self, claims: Mapping[str, Any], user: str, handle: str, seconds: float) -> bool:
        """Note whose session `handle` is, by `sid` and `sub`; False: the provider ended it in the meantime.

        A logout is noted before the sessions are looked up, and a session before logouts are: one sees the other.
        """
        engine = await self._logins.engine()
        if engine is None:
            return True
        named = _named(claims)
        for name in named:
            await engine.set(f"{self._prefix}/{name}/{handle}", user.encode(), seconds)
        return not any([await self._is_out(engine, name, claims["iat"]) for name in named])

    async def _is_out(self, engine: StateEngine, name: str, issued: float) -> bool:
        """Is there a logout that is not older than an ID token? Both by the provider's clock, in whole seconds."""
        entry = await engine.get(f"{self._prefix}/out/{name}")
        return entry is not None and int(entry.value) >= int(issued)

    async def log_out(self, claims: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Note the logout that a logout token tells of; return user and handle of the sessions that it ends.

        A token with a `sid` ends that session, one without all of the subject (Back-Channel Logout section 2.7).
        """
        engine = await self._logins.engine()
        if engine is None:
            return []
        name = _named(claims)[0]
        await engine.set(f"{self._prefix}/out/{name}", b"%d" % claims["iat"], _ONCE)
        prefix, after = f"{self._prefix}/{name}/", ""
        found: list[tuple[str, str]] = []
        while page := await engine.entries(prefix, after, PAGE):
            found += [(entry.value.decode(), entry.key.removeprefix(prefix)) for entry in page]
            after = page[-1].key
        return found

    async def forget(self, claims: Mapping[str, Any], handle: str) -> None:
        """Drop what `add` noted of a session that ended."""
        engine = await self._logins.engine()
        if engine is not None:
            for name in _named(claims):
                await engine.delete(f"{self._prefix}/{name}/{handle}")


def _named(claims: Mapping[str, Any]) -> list[str]:
    """Return the parts of keys that `sid` and `sub` give, as far as there are such."""
    return [f"{key}/{_hashed(claims[key])}" for key in ("sid", "sub") if claims.get(key) is not None]


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
