"""Consumers by name and by API key: those of the configuration, and those that were added at run time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgewise.contracts.identity import Identity
from edgewise.gateway.consumer_records import key_digest
from edgewise.protocols.memo import Memo

if TYPE_CHECKING:
    from edgewise.gateway.stored_consumers import StoredConsumers

_MOST_REMEMBERED = 16_384
"""API keys whose hash need not be computed again, of each generation of the memo."""
_LONGEST = 256
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Consumer:
    """Who has credentials of its own. Immutable: a change makes another one."""

    __slots__ = ("_identities", "claims", "digests", "groups", "name", "passwords", "scopes")

    def __init__(
        self,
        name: str,
        *,
        digests: Iterable[bytes] = (),
        passwords: Iterable[str] = (),
        groups: Iterable[str] = (),
        scopes: Iterable[str] = (),
        claims: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.digests = tuple(digests)
        """SHA-256 of its API keys."""
        self.passwords = tuple(passwords)
        """Hashes of its passwords."""
        self.groups = frozenset(groups)
        self.scopes = frozenset(scopes)
        self.claims = claims or _NOTHING
        self._identities: dict[str, Identity] = {}

    def identity(self, method: str) -> Identity:
        """Return who asks with a credential of this consumer, verified by `method`; the same each time."""
        found = self._identities.get(method)
        if found is None:
            found = self._identities[method] = Identity(
                self.name,
                method,
                consumer=self.name,
                groups=self.groups,
                scopes=self.scopes,
                claims=self.claims,
            )
        return found


class Consumers:
    """Looks consumers up. A name of the configuration counts before the same one that was added at run time."""

    def __init__(self, configured: Iterable[Consumer] = (), stored: StoredConsumers | None = None) -> None:
        """`stored`: None where none can be added at run time."""
        self._named = {consumer.name: consumer for consumer in configured}
        self._by_digest = {digest: consumer for consumer in self._named.values() for digest in consumer.digests}
        self._stored = stored
        self._version = 0
        self._decoy: tuple[int, tuple[str, ...]] | None = None
        self._by_key: Memo[Consumer | None] = Memo(
            self._find, entries=_MOST_REMEMBERED, longest=_LONGEST, keep=lambda found: found is not None
        )

    def by_key(self, key: bytes) -> Consumer | None:
        """Return the consumer whose API key this is; None: nobody's."""
        stored = self._stored
        if stored is not None and stored.version != self._version:
            self._version = stored.version
            self._by_key.forget()
        return self._by_key[key]

    def _find(self, key: bytes) -> Consumer | None:
        digest = key_digest(key)
        found = self._by_digest.get(digest)
        if found is None and self._stored is not None:
            found = self._stored.by_digest.get(digest)
            if found is not None and found.name in self._named:
                return None
        return found

    def named(self, name: str) -> Consumer | None:
        """Return the consumer of a name, None where there is none."""
        found = self._named.get(name)
        if found is None and self._stored is not None:
            found = self._stored.named.get(name)
        return found

    # ---- as users with passwords -------------------------------------------------------------------------------------

    def hashes(self, name: str) -> tuple[str, ...]:
        """Return the hashes of the passwords of a name, none where there is no such consumer."""
        found = self.named(name)
        return () if found is None else found.passwords

    def identity(self, name: str, method: str) -> Identity | None:
        """Return who asks by that name."""
        found = self.named(name)
        return None if found is None else found.identity(method)

    def decoy(self) -> tuple[str, ...]:
        """Return the hashes of somebody's passwords, none where nobody has one."""
        version = 0 if self._stored is None else self._stored.version
        if self._decoy is None or self._decoy[0] != version:
            stored = () if self._stored is None else self._stored.named.values()
            found = next((one.passwords for one in (*self._named.values(), *stored) if one.passwords), ())
            self._decoy = version, found
        return self._decoy[1]

    # ---- knowledge ---------------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Is it known who was added at run time? It is not in the first moments of a worker."""
        return self._stored is None or self._stored.loaded.is_set()

    async def settle(self) -> bool:
        """Wait until that is known, for a bounded time; False: it is not, as the engine does not answer."""
        return self._stored is None or await self._stored.wait_loaded()
