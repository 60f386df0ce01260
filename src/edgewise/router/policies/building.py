"""What a policy is made with, and what the policies of one configuration share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from edgewise.gateway.fetching import Fetcher
from edgewise.router.sessions import EngineOpening

if TYPE_CHECKING:
    from edgewise.config.schema import Config
    from edgewise.contracts.limits import LimitMemory
    from edgewise.contracts.plan import Route
    from edgewise.contracts.policies import Fetch, Policy, Service
    from edgewise.contracts.table import Table
    from edgewise.router.sessions import GatewaySessions

Shared = TypeVar("Shared")


@dataclass
class Gateway:
    """What the policies of one configuration share; what is made of equal settings goes on over reloads."""

    config: Config
    opening: EngineOpening | None
    """Opens the state engine; None without [state]."""
    sessions: GatewaySessions | None
    fetch: Fetch
    shared: dict[Any, Any] = field(default_factory=dict)
    """What was made by `share`, by its key."""
    before: dict[Any, Any] = field(default_factory=dict)
    """The same of the configuration before."""
    limits: LimitMemory | None = None
    """In which all workers count for limits; None: this one alone does."""
    worker: int = 0
    """Number of this worker among those."""

    def share(self, key: Any, make: Callable[[], Shared]) -> Shared:
        """Return what routes share under a key that holds all it is made of: the one there is, else a new one.

        What has `run` is a `contracts.policies.Service` and is run in each worker.
        """
        if key not in self.shared:
            self.shared[key] = self.before[key] if key in self.before else make()
        found: Shared = self.shared[key]
        return found

    @property
    def services(self) -> list[Service]:
        """What runs beside requests."""
        return [one for one in self.shared.values() if hasattr(one, "run")]


def make_gateway(
    config: Config,
    sessions: GatewaySessions | None,
    previous: Table | None,
    limits: LimitMemory | None = None,
    worker: int = 0,
) -> Gateway:
    """Return what the policies of `config` share, on what those of `previous` shared."""
    before = previous.gateway if previous is not None else None
    if isinstance(before, Gateway):
        return replace(before, config=config, sessions=sessions, before=before.shared, shared={})
    opening = sessions.opening if sessions is not None else None
    if opening is None and config.state is not None:
        opening = EngineOpening(config.state)
    return Gateway(config, opening, sessions, Fetcher(), limits=limits, worker=worker)


@dataclass(frozen=True)
class Building:
    """What a policy of a route is made with. A builder may change the route: what it strips, its edits."""

    gateway: Gateway
    route: Route
    level: str
    """Where the policy stands (`levels.Held.level`)."""
    earlier: dict[str, Any] = field(default_factory=dict)
    """What builders of the same route left for later ones, by their key."""

    def edit_answers(self, edits: tuple[tuple[str, bytes, bytes], ...]) -> None:
        """Make these edits on servers' answers, before the cache keeps them."""
        route = self.route
        own = len(route.response_edits) - len(route.client_edits)
        route.response_edits = (*route.response_edits[:own], *edits, *route.client_edits)


Builder: TypeAlias = "Callable[[Any, Building], Policy | None]"
"""(table of the policy, what it is made with) -> what requests pass; None where there is nothing to pass."""
