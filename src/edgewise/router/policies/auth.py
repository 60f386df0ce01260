"""The table `auth` to the ways to tell who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewise.gateway.authentication import Authentication
from edgewise.router.policies.building import Building
from edgewise.router.policies.certificates import client_certificate
from edgewise.router.policies.consumers import api_keys, basic
from edgewise.router.policies.forward import forward
from edgewise.router.policies.jwt import jwt
from edgewise.router.policies.oidc import oidc
from edgewise.router.policies.signatures import signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewise.config.auth import Auth
    from edgewise.contracts.policies import Authenticator, Policy

WAYS: tuple[tuple[str, Callable[[Any, Building], Authenticator]], ...] = (
    ("api_keys", api_keys),
    ("basic", basic),
    ("jwt", jwt),
    ("client_certificate", client_certificate),
    ("signature", signature),
    ("oidc", oidc),
    ("forward", forward),
)
"""Key of `config.auth.Auth` -> what makes a way of its value. They are tried in this order."""


def auth(spec: Auth, building: Building) -> Policy:
    """Return the policy that lets in whom one of the ways verifies, or all of them."""
    ways = tuple(make(getattr(spec, key), building) for key, make in WAYS if getattr(spec, key) not in (None, False))
    made = building.earlier["auth"] = Authentication(ways, every=spec.require == "all", optional=spec.optional)
    return made.check
