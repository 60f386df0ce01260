"""Rate limits of the configuration to those of the gateway, kept while their settings stay the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgewise.contracts.plan import Route
from edgewise.gateway.rate_limit import RateLimit, RateSettings

if TYPE_CHECKING:
    from edgewise.config.limits import RateLimit as RateLimitSpec


def rate_limit(name: str, spec: RateLimitSpec, before: Mapping[str, Route]) -> RateLimit:
    """Return the limit of the route `name`: the one it had, where nothing about it changed."""
    settings = RateSettings(spec.rate, spec.burst or max(1, round(spec.rate)), spec.by, spec.strict)
    made = RateLimit(name, settings)
    kept = before[name].limit if name in before else None
    return kept if isinstance(kept, RateLimit) and kept.settings == made.settings else made
