"""Which policies hold for the requests of a route: the nearest table that names one, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from edgewise.config.policies import Policies

if TYPE_CHECKING:
    from edgewise.config.routes import Route
    from edgewise.config.schema import Config


class Held(NamedTuple):
    """A policy that holds for a route."""

    spec: Any
    """Its table, as `config.policies.Policies` has it."""
    level: str
    """The table it stands in, such as `routes` or `hosts."api.example.com"`, as it is shown."""


def held(config: Config, route: Route, host: str | None = None) -> dict[str, Held]:
    """Return the policies of a route for requests to a host of `config.hosts`, None for all other requests."""
    found: dict[str, Held] = {}
    for level, policies in reversed(levels(config, route, host)):
        for key in policies.model_fields_set & Policies.model_fields.keys():
            spec = getattr(policies, key)
            if spec is None:
                found.pop(key, None)
            else:
                found[key] = Held(spec, level)
    return found


def levels(config: Config, route: Route, host: str | None) -> list[tuple[str, Policies]]:
    """Return the tables, the nearest first. Upstreams of a split have equal policies: `config.checks` sees to it."""
    levels: list[tuple[str, Policies]] = [("route", route)]
    name = route.upstream or next(iter(route.split), None)
    if name is not None and name in config.upstreams:
        levels.append((f"upstreams.{name}", config.upstreams[name].policies))
    if host is not None:
        levels.append((f'hosts."{host}"', config.hosts[host]))
    levels.append(("policies", config.policies))
    return levels
