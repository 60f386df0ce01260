"""This client of a provider: what the configuration says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgewise.config.oidc import Oidc, Paths


@dataclass(frozen=True)
class Client:
    """A client that is registered with a provider."""

    name: str
    """Of the table [oidc.NAME]."""
    spec: Oidc
    secret: str | None = field(repr=False)
    """None: a public client."""

    @property
    def paths(self) -> Paths:
        """Where a host answers for it."""
        return self.spec.paths(self.name)

    @property
    def registration(self) -> str:
        """Return what a login belongs to: of another provider or client it is worth nothing here."""
        return f"{self.spec.issuer} {self.spec.client_id}"
