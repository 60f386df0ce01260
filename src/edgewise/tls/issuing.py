"""What a keeper asks of those that make certificates."""

from __future__ import annotations

from typing import Protocol


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
