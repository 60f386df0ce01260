"""`auth.oidc` and the tables [oidc.NAME] to a way to authenticate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.gateway.fetching import Fetcher
from edgewise.gateway.oidc.client import Client
from edgewise.gateway.oidc.service import OidcLogins
from edgewise.router.sessions import read_secret
from edgewise.sessions.logins import HeldLogins

if TYPE_CHECKING:
    from edgewise.gateway.oidc.way import LoginWay
    from edgewise.router.policies.building import Building, Gateway


def oidc(name: str, building: Building) -> LoginWay:
    """Return the way that asks for a login at the provider [oidc.NAME]. Raises ValueError or OSError for its secret."""
    route, spec = building.route, building.gateway.config.oidc[name]
    if spec.pass_token is not None:
        route.stripped |= {spec.pass_token.lower().encode()}
    return logins_of(name, building.gateway).way(hides=route.spec.session is None)


def logins_of(name: str, gateway: Gateway) -> OidcLogins:
    """Return what all routes with logins of a provider share, over reloads too."""
    spec = gateway.config.oidc[name]
    assert gateway.sessions is not None  # as `config.holds_sessions`
    secret = spec.client_secret
    if spec.client_secret_file is not None:
        secret = read_secret(Path(spec.client_secret_file))
    held_sessions, opening = gateway.sessions.held, gateway.sessions.opening
    authorities = None if spec.ca_file is None else Path(spec.ca_file).read_bytes()
    key = ("oidc", name, spec.model_dump_json(), secret, authorities, held_sessions.settings, opening is None)

    def make() -> OidcLogins:
        fetch = gateway.fetch if spec.ca_file is None else Fetcher(spec.ca_file)
        return OidcLogins(Client(name, spec, secret), HeldLogins(held_sessions, opening), fetch)

    return gateway.share(key, make)
