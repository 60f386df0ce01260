"""Routes for where logins begin, come back to and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgewise.config.schema import Route as RouteSpec
from edgewise.contracts.plan import Route
from edgewise.router.policies.levels import held
from edgewise.router.policies.oidc import logins_of
from edgewise.router.policies.order import early

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgewise.config.schema import Config
    from edgewise.contracts.policies import Policy
    from edgewise.router.policies.building import Gateway

LOGIN_ROUTE = "(oidc "
"""How the names of these routes begin."""
_MOST_CONTENT = 65_536
"""Bytes of a logout token's form."""


class LoginRoutes(NamedTuple):
    """Routes that the configuration does not name: the paths of each provider, on the hosts whose routes ask for it."""

    specs: tuple[RouteSpec, ...]
    routes: tuple[Route, ...]
    copies: dict[str, dict[int, Route]]
    """By host of [hosts]: what its requests take, by the `id` of the route."""


def login_routes(config: Config, gateway: Gateway, row: int) -> LoginRoutes:
    """Return the routes of all logins; `row` is where they count.

    What a request must pass before it is asked who sends it holds for them too.
    """
    specs: list[RouteSpec] = []
    routes: list[Route] = []
    copies: dict[str, dict[int, Route]] = {host: {} for host in config.hosts}
    for name, hosts in _hosts(config).items():
        for path, endpoint in logins_of(name, gateway).endpoints:
            for spec in _specs(path, hosts):
                route = _route(config, gateway, spec, (name, row), endpoint, None)
                specs.append(spec)
                routes.append(route)
                for host, found in copies.items():
                    found[id(route)] = _route(config, gateway, spec, (name, row), endpoint, host)
    return LoginRoutes(tuple(specs), tuple(routes), copies)


def _hosts(config: Config) -> dict[str, set[str | None]]:
    """Return the host patterns of the routes that ask for each provider's logins; None: any host."""
    found: dict[str, set[str | None]] = {}
    for route in config.routes:
        for host in (None, *config.hosts):
            policy = held(config, route, host).get("auth")
            if policy is not None and policy.spec.oidc is not None:
                patterns: Iterable[str | None] = [host] if host is not None else route.hosts or [None]
                found.setdefault(policy.spec.oidc, set()).update(patterns)
    return found


def _specs(path: str, hosts: set[str | None]) -> list[RouteSpec]:
    named = sorted(host for host in hosts if host is not None)
    specs = [RouteSpec(path=path, host=named)] if named else []
    return specs + ([RouteSpec(path=path)] if None in hosts else [])


def _route(
    config: Config, gateway: Gateway, spec: RouteSpec, counted: tuple[str, int], endpoint: Policy, host: str | None
) -> Route:
    route = Route(f"{LOGIN_ROUTE}{counted[0]})", counted[1])
    route.spec = spec
    route.body_limit = _MOST_CONTENT
    route.policies = (*early(route, held(config, spec, host), gateway), endpoint)
    return route
