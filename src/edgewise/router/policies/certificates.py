"""The table `client_certificate` to the way of telling clients by their certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.gateway.certificates import ClientCertificates, Rules
from edgewise.gateway.revocation import RevocationLists
from edgewise.router.policies.building import Building

if TYPE_CHECKING:
    from edgewise.config.certificates import ClientCertificate
    from edgewise.contracts.policies import Authenticator


def client_certificate(spec: ClientCertificate, building: Building) -> Authenticator:
    """Return the way. Raises OSError or ValueError for a revocation list that cannot be read."""
    rules = Rules(spec.name, tuple(spec.only), spec.map, spec.groups, spec.unit_groups)
    files = tuple(spec.revoked)
    revoked = None
    if files:
        revoked = building.gateway.share(("revocation lists", files), lambda: RevocationLists(files))
        revoked.refresh()
    return ClientCertificates(rules, revoked)
