"""The order of the policies: what tells nothing of the sender first, then who asks, then what that one may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewise.router.policies.auth import auth
from edgewise.router.policies.authorize import authorize
from edgewise.router.policies.browsers import cors, security_headers
from edgewise.router.policies.building import Building
from edgewise.router.policies.idempotency import idempotency
from edgewise.router.policies.identity import telling
from edgewise.router.policies.ip import ip
from edgewise.router.policies.limits import early_concurrency, early_limits, late_concurrency, late_limits
from edgewise.router.policies.maintenance import maintenance
from edgewise.router.policies.transcode import transcode
from edgewise.router.policies.transform import request_transform, response_transform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgewise.contracts.plan import Route
    from edgewise.contracts.policies import Policy
    from edgewise.router.policies.building import Builder, Gateway
    from edgewise.router.policies.levels import Held

ORDER: tuple[tuple[str, Builder], ...] = (
    ("cors", cors),
    ("security_headers", security_headers),
    ("maintenance", maintenance),
    ("ip", ip),
    ("rate_limit", early_limits),
    ("concurrency", early_concurrency),
    ("auth", auth),
    ("auth", telling),
    ("authorize", authorize),
    ("rate_limit", late_limits),
    ("concurrency", late_concurrency),
    ("idempotency", idempotency),
    ("transform", request_transform),
    ("transform", response_transform),
    ("transcode", transcode),
)
"""Key of `config.policies.Policies` -> what makes a policy of its table; a key may stand at several places."""


def early(route: Route, held: Mapping[str, Held], gateway: Gateway) -> tuple[Policy, ...]:
    """Return what requests of a route must pass before it is asked who sends them."""
    keys = [key for key, _ in ORDER]
    return _made(ORDER[: keys.index("auth")], route, held, gateway)


def attach(route: Route, held: Mapping[str, Held], gateway: Gateway) -> None:
    """Give a route the policies that hold for it."""
    route.decides = "auth" in held or "authorize" in held
    route.policies = _made(ORDER, route, held, gateway)


def _made(
    order: Sequence[tuple[str, Builder]], route: Route, held: Mapping[str, Held], gateway: Gateway
) -> tuple[Policy, ...]:
    made: list[Policy] = []
    left: dict[str, Any] = {}
    for key, build in order:
        if key in held:
            policy = build(held[key].spec, Building(gateway, route, held[key].level, left))
            made += [policy] if policy is not None else []
    return tuple(made)
