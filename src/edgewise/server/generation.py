"""One generation of the configuration, as the supervisor hands it to its children."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgewise.contracts.limits import LimitMemory
from edgewise.contracts.shared import EndpointFlags, SlotMap, Suspicions
from edgewise.router import route_names
from edgewise.router.upstreams import endpoint_key
from edgewise.telemetry.layout import MetricsMemory

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.state.versions import Version

_SPARE = 512
"""Slots above twice what is configured at start, for what reloads add."""


@dataclass(frozen=True)
class Generation:
    """A checked configuration, with the rows of shared memory that its routes and endpoints count in."""

    number: int
    config: Config
    routes: SlotMap
    endpoints: SlotMap
    version: Version | None = None
    """What was published to all nodes and is part of the configuration; None where the node's file is all of it."""

    def __str__(self) -> str:
        published = "" if self.version is None else f" with configuration version {self.version.number}"
        return f"generation {self.number}{published}"

    def next(self, config: Config, version: Version | None = None) -> Generation:
        """Return the generation after this one. Raises SlotsExhaustedError."""
        return Generation(
            self.number + 1,
            config,
            self.routes.assign(route_names(config)),
            self.endpoints.assign(endpoint_keys(config)),
            version,
        )

    def dump(self) -> bytes:
        """Return the generation for a child of this process."""
        return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)

    @staticmethod
    def load(data: bytes) -> Generation:
        """Take what `dump` returned: only ever from this process's own parent."""
        loaded = pickle.loads(data)
        assert isinstance(loaded, Generation)
        return loaded


@dataclass(frozen=True)
class Shared:
    """What the processes share: memory made before the fork, and who counts where in this generation."""

    memory: MetricsMemory
    flags: EndpointFlags
    suspicions: Suspicions
    limits: LimitMemory
    generation: int
    routes: SlotMap
    endpoints: SlotMap

    def of(self, generation: Generation) -> Shared:
        """Return the same memory with the slots of another generation."""
        return replace(self, generation=generation.number, routes=generation.routes, endpoints=generation.endpoints)

    def clear_fresh(self, generation: Generation) -> None:
        """Empty the slots that a generation gave to new keys. Before any child learns of them."""
        for slot in generation.routes.fresh:
            self.memory.clear_route(slot)
        for slot in generation.endpoints.fresh:
            self.memory.endpoints.clear(slot)
            self.flags.clear(slot)


def first_generation(config: Config, version: Version | None = None) -> tuple[Generation, Shared]:
    """Return generation 1 and the shared memory for it and its successors."""
    route_capacity = 2 * len(route_names(config)) + _SPARE
    endpoint_capacity = 2 * len(endpoint_keys(config)) + _SPARE
    before = Generation(0, config, SlotMap(route_capacity), SlotMap(endpoint_capacity))
    generation = before.next(config, version)
    memory = MetricsMemory(config.server.workers, route_capacity, endpoint_capacity)
    flags, suspicions = EndpointFlags(endpoint_capacity), Suspicions(endpoint_capacity)
    limits = LimitMemory(config.server.workers)
    slots = generation.number, generation.routes, generation.endpoints
    return generation, Shared(memory, flags, suspicions, limits, *slots)


def endpoint_keys(config: Config) -> list[str]:
    """Return `upstream/server` for each configured server, `upstream/name` for one found by SRV records."""
    keys = [endpoint_key(name, server) for name, spec in config.upstreams.items() for server in spec.servers]
    return keys + [f"{name}/{spec.srv}" for name, spec in config.upstreams.items() if spec.srv is not None]
