"""What a keeper keeps certificates by: who makes them, where they are stored, which other nodes have them too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from edgewise.tls.shared import SharedCertificate
    from edgewise.tls.store import Store

Kind = tuple[str, str]
"""Authority and kind of key: what certificates must have in common for nodes to share them."""


class Issuer(Protocol):
    """Who makes certificates."""

    @property
    def source(self) -> str:
        """What certificates of this issuer are marked with."""

    @property
    def key_type(self) -> str:
        """Kind of their keys."""

    @property
    def retry(self) -> float:
        """Seconds to wait after a first failure."""

    async def issue(self, names: tuple[str, ...], previous: bytes | None) -> bytes:
        """Return key and chain (PEM); `previous` is what they follow.

        Raises AcmeError, TlsError or OSError, and StateError where other nodes cannot be told of the challenge.
        """

    async def window(self, pem: bytes) -> tuple[float, float, float] | None:
        """Return (start, end, when to ask again) of the time the issuer wants a renewal. Raises like `issue`."""

    async def revoke(self, pem: bytes) -> None:
        """Revoke a certificate. Raises like `issue`."""

    def close(self) -> None:
        """Let go of what is held."""


class Nodes(Protocol):
    """The nodes that share certificates. Every method raises StateUnavailable where they are out of reach."""

    @property
    def reached(self) -> bool:
        """Could anything be shared yet?"""

    async def lead(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do `work`, in which this node alone talks to the authority; False: another node does at the moment.

        Raises what `work` raises, and LeaseLost where it was cancelled because another node may lead.
        """

    async def certificate(self, kind: Kind, name: str) -> SharedCertificate | None:
        """Return what is shared of `name`."""

    async def keep(self, kind: Kind, name: str, value: SharedCertificate) -> bool:
        """Share a certificate; False: a later leader did. Only while leading. Raises LeaseLost."""

    async def share_account(self, store: Store, source: str) -> None:
        """Take the account at `source` that nodes share, or share this one's. Only while leading.

        Raises LeaseLost, and OSError for an account that cannot be kept.
        """


class Alone:
    """No other nodes."""

    reached = True

    async def lead(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do `work`."""
        await work()
        return True

    async def certificate(self, kind: Kind, name: str) -> SharedCertificate | None:
        """Return nothing: there is no more than what this node has."""
        return None

    async def keep(self, kind: Kind, name: str, value: SharedCertificate) -> bool:
        """Do nothing: everyone has it."""
        return True

    async def share_account(self, store: Store, source: str) -> None:
        """Do nothing."""


class Terms(NamedTuple):
    """What an attempt goes by from its beginning to its end, whatever is reloaded meanwhile."""

    issuer: Issuer
    store: Store
    nodes: Nodes

    @property
    def kind(self) -> Kind:
        """What certificates must have in common with those of other nodes."""
        return self.issuer.source, self.issuer.key_type
