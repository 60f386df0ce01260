"""The one table of built-in balancing policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from edgewise.balancer.consistent_hash import ConsistentHash
from edgewise.balancer.ewma import PeakEwma
from edgewise.balancer.ip_hash import IpHash
from edgewise.balancer.least_connections import LeastConnections
from edgewise.balancer.options import PolicyOptions
from edgewise.balancer.random_two import RandomTwo
from edgewise.balancer.round_robin import RoundRobin
from edgewise.contracts.balancing import BalancingPolicy

POLICIES: Mapping[str, Callable[[PolicyOptions], BalancingPolicy]] = MappingProxyType(
    {
        "round_robin": RoundRobin,
        "least_connections": LeastConnections,
        "random_two": RandomTwo,
        "ewma": PeakEwma,
        "ip_hash": IpHash,
        "consistent_hash": ConsistentHash,
    }
)


def make_policy(name: str, **options: Any) -> BalancingPolicy:
    """Return a new policy of the table, told `options` (see PolicyOptions; each policy reads those it knows).

    Raises ValueError for a name not in the table or a bad value, TypeError for an option nobody knows.
    """
    factory = POLICIES.get(name)
    if factory is None:
        raise ValueError(f"no balancing policy {name!r}: there are {', '.join(POLICIES)}")
    return factory(PolicyOptions(**options))
