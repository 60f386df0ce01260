"""What nodes share of certificates, as values in the state engine: sealed, and written under a lease alone.

Challenges are sealed too, not for secrecy: nodes answer what they find there, so whoever could write one would get
certificates for these hosts.

certificates/GROUP/certificate/DIGEST    key, chain and record of one name, by authority and kind of key
certificates/GROUP/account/DIGEST        key and URL of the account at one authority
certificates/GROUP/challenges            what every node answers while an order is under way
certificates/GROUP/nodes/NODE            sign of life, with the set of challenges that the node answers
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, TypeVar

import msgspec

from edgewise.contracts.fencing import get_fenced, set_fenced
from edgewise.contracts.sealing import Sealer
from edgewise.contracts.state import Lease, StateEngine
from edgewise.tls.acme.messages import Challenge
from edgewise.tls.store import Record

if TYPE_CHECKING:
    from edgewise.tls.terms import Kind

log = logging.getLogger("edgewise.certificates")
_T = TypeVar("_T")
PURPOSE = "certificates"
"""Of the key that it is sealed with."""
EVERY = 3.0
"""Seconds between two signs of life."""
LIFE = 10.0
"""Seconds after the last sign of life for which a node's answers are waited for."""


class SharedCertificate(msgspec.Struct):
    """A certificate as nodes share it."""

    pem: bytes
    """Key and chain; empty where there is none yet."""
    record: Record


class SharedAccount(msgspec.Struct):
    """An account at an authority."""

    key: bytes
    url: str | None


class ChallengeSet(msgspec.Struct):
    """What every node answers."""

    id: str
    """Different for each set."""
    challenges: list[Challenge]


class SharedValues:
    """The values of the nodes that have one secret. Every method raises StateUnavailable."""

    def __init__(self, engine: StateEngine, sealer: Sealer, node: str) -> None:
        self.engine = engine
        self.topic = f"certificates-{sealer.group}"
        """Where nodes tell each other what changed."""
        self.lease = f"certificates/{sealer.group}/order"
        """What is held by the node that talks to the authority."""
        self._sealer = sealer
        self._prefix = f"certificates/{sealer.group}"
        self._node = node

    async def certificate(self, kind: Kind, name: str) -> SharedCertificate | None:
        """Return what is shared of `name`."""
        return await self._get(self._certificate_key(kind, name), SharedCertificate)

    async def keep_certificate(self, lease: Lease, kind: Kind, name: str, value: SharedCertificate) -> bool:
        """Share a certificate, and tell the others; False: a later holder of the lease did."""
        if not await self._set(lease, self._certificate_key(kind, name), value):
            return False
        await self.engine.publish(self.topic, name.encode())
        return True

    def _certificate_key(self, kind: Kind, name: str) -> str:
        return f"{self._prefix}/certificate/{_digest(*kind, name)}"

    async def account(self, source: str) -> SharedAccount | None:
        """Return the account at an authority."""
        return await self._get(f"{self._prefix}/account/{_digest(source)}", SharedAccount)

    async def keep_account(self, lease: Lease, source: str, value: SharedAccount) -> bool:
        """Share an account; False: a later holder of the lease did."""
        return await self._set(lease, f"{self._prefix}/account/{_digest(source)}", value)

    async def challenges(self) -> ChallengeSet | None:
        """Return what every node must answer."""
        return await self._get(f"{self._prefix}/challenges", ChallengeSet)

    async def keep_challenges(self, lease: Lease, value: ChallengeSet) -> bool:
        """Have every node answer these and no others; False: a later holder of the lease has its own."""
        if not await self._set(lease, f"{self._prefix}/challenges", value):
            return False
        await self.engine.publish(self.topic, b"")
        return True

    async def tell(self, answered: str) -> None:
        """Give a sign of life: this node answers the set of challenges with this id."""
        await self.engine.set(f"{self._prefix}/nodes/{self._node}", answered.encode(), LIFE)

    async def leave(self) -> None:
        """Be waited for no more."""
        await self.engine.delete(f"{self._prefix}/nodes/{self._node}")

    async def behind(self, wanted: str) -> list[str]:
        """Return the other nodes that do not answer this set of challenges yet."""
        prefix = f"{self._prefix}/nodes/"
        found = {entry.key.removeprefix(prefix): entry.value.decode() for entry in await self.engine.entries(prefix)}
        return [node for node, answered in found.items() if node != self._node and answered != wanted]

    async def _get(self, key: str, kind: type[_T]) -> _T | None:
        """Return a value; None where there is none that a node with this secret, and this edgewise, wrote."""
        try:
            found = await get_fenced(self.engine, key)
            if found is None:
                return None
            plain = self._sealer.open(found.value, key)
            if plain is not None:
                return msgspec.msgpack.decode(plain, type=kind)
        except (ValueError, msgspec.MsgspecError):
            pass
        log.error("%s in the state engine was not written by a node with the cluster's key; passed over", key)
        return None

    async def _set(self, lease: Lease, key: str, value: msgspec.Struct) -> bool:
        return await set_fenced(self.engine, key, self._sealer.seal(msgspec.msgpack.encode(value), key), lease)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]
