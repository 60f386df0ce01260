"""The door for policies that learn from how attempts went."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from edgewise.contracts.balancing import BalancingPolicy
from edgewise.contracts.endpoint import Endpoint


@runtime_checkable
class ObservingPolicy(Protocol):
    """What a policy has beside `BalancingPolicy` when it wants to know the latency of attempts."""

    def observe(self, endpoint: Endpoint, seconds: float, ok: bool) -> None:
        """Take into account that an attempt ended after `seconds`."""


def observer_of(policy: BalancingPolicy) -> Callable[[Endpoint, float, bool], None] | None:
    """Return the policy's `observe`, None for a policy that has none."""
    return policy.observe if isinstance(policy, ObservingPolicy) else None
