"""The table `idempotency` to the policy of a route."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.config.values import parse_status_range
from edgewise.gateway.idempotency import Idempotency, Settings
from edgewise.proxy.recording import record

if TYPE_CHECKING:
    from edgewise.config.idempotency import Idempotency as Spec
    from edgewise.contracts.policies import Policy
    from edgewise.router.policies.building import Building


def idempotency(spec: Spec, building: Building) -> Policy:
    """Return the policy that answers requests which were made before."""
    opening = building.gateway.opening
    assert opening is not None  # `config.schema.Config` sees to it
    settings = Settings(
        header=spec.header.lower().encode(),
        methods=frozenset(method.encode() for method in spec.methods),
        required=spec.required,
        keep=float(spec.keep),
        lock=spec.lock,
        most=spec.most,
        most_request=spec.most_request,
        by=tuple(name.lower().encode() for name in spec.by),
        not_kept=tuple(parse_status_range(status) for status in spec.not_kept),
        allow=spec.on_error == "allow",
    )
    return Idempotency(settings, building.route.name, opening, record).check
