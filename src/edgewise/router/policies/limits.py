"""The tables `rate_limit` and `concurrency` to policies: counted by what, under which name, before or after `auth`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.config.limits import RateLimit as RateLimitSpec
from edgewise.config.rates import UNITS, Rate, read_rate
from edgewise.contracts.limits import LimitMemory
from edgewise.gateway.concurrency import Concurrency
from edgewise.gateway.limit_keys import OF_IDENTITY
from edgewise.gateway.meters import Meter, Quota, SlidingWindow, TokenBucket
from edgewise.gateway.rate_limit import RateLimit, RateLimits, Rates, RateSettings
from edgewise.gateway.sharing import Sharing
from edgewise.router.policies.building import Building

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewise.config.limits import Concurrency as ConcurrencySpec
    from edgewise.contracts.policies import Policy
    from edgewise.router.policies.levels import Held

_Numbered = list[tuple[int, RateLimitSpec]]
_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "month": "month"}


def early_limits(spec: RateLimitSpec | list[RateLimitSpec], building: Building) -> Policy | None:
    """Return the limits that need not know who asks: they hold for whoever fails to show it, too."""
    return _policy([one for one in numbered(spec) if not needs_identity(one[1])], spec, building)


def late_limits(spec: RateLimitSpec | list[RateLimitSpec], building: Building) -> Policy | None:
    """Return the limits by who asks."""
    return _policy([one for one in numbered(spec) if needs_identity(one[1])], spec, building)


def early_concurrency(spec: ConcurrencySpec, building: Building) -> Policy | None:
    """Return the limit of what is under way, where it need not know who asks."""
    return None if OF_IDENTITY.intersection(keys(spec.by)) else _concurrency(spec, building)


def late_concurrency(spec: ConcurrencySpec, building: Building) -> Policy | None:
    """Return the same by who asks."""
    return _concurrency(spec, building) if OF_IDENTITY.intersection(keys(spec.by)) else None


def numbered(spec: RateLimitSpec | list[RateLimitSpec]) -> _Numbered:
    """Return the tables with their numbers."""
    return list(enumerate(spec if isinstance(spec, list) else [spec], start=1))


def needs_identity(spec: RateLimitSpec) -> bool:
    """Is the limit by who asks?"""
    return bool(OF_IDENTITY.intersection(keys(spec.by)) or spec.groups or spec.consumers)


def keys(by: str | list[str]) -> tuple[str, ...]:
    """Return what is counted by."""
    return (by,) if isinstance(by, str) else tuple(by)


def burst_of(spec: RateLimitSpec, rate: Rate | None = None) -> int:
    """Return how many requests may come at once; at another rate than the usual one, more or fewer in proportion."""
    usual = read_rate(spec.rate)
    rate = rate or usual
    if spec.counted != "token_bucket":
        return rate.amount
    if spec.burst is None:
        return max(1, spec.cost, round(rate.per_second))
    return max(1, spec.cost, round(spec.burst * rate.per_second / usual.per_second))


def limit_lines(policies: Mapping[str, Held]) -> list[str]:
    """Return what limits a request, for `edgewise explain`."""
    lines = []
    if "rate_limit" in policies:
        spec, level = policies["rate_limit"]
        place = "" if level == "route" else f" ({level})"
        lines += [f"limit     {rate_words(one)}{place}" for _, one in numbered(spec)]
    if "concurrency" in policies:
        spec, level = policies["concurrency"]
        lines.append(f"limit     {concurrency_words(spec)}{'' if level == 'route' else f' ({level})'}")
    return lines


def rate_words(spec: RateLimitSpec) -> str:
    """Return a limit in words, for `edgewise explain`."""
    rate = read_rate(spec.rate)
    counted = {
        "token_bucket": f", {burst_of(spec)} at once",
        "sliding_window": " in a sliding window",
        "fixed": " of the calendar, in UTC",
    }[spec.counted]
    words = f"{spec.rate} by {' and '.join(keys(spec.by))}: {rate.amount} requests a {_UNITS[rate.unit]}{counted}"
    others = [f"{name} {other}" for rates in (spec.groups, spec.consumers) for name, other in rates.items()]
    words += f"; {', '.join(others)}" if others else ""
    words += f"; each costs {spec.cost}" if spec.cost > 1 else ""
    words += f"; counted as {spec.name}" if spec.name is not None else ""
    words += "; counted by the shared engine before each request" if spec.strict else ""
    return words + ("; only tried" if spec.dry_run else "")


def concurrency_words(spec: ConcurrencySpec) -> str:
    """Return a limit of what is under way in words."""
    named = f"; counted as {spec.name}" if spec.name is not None else ""
    return f"at most {spec.limit} requests under way by {' and '.join(keys(spec.by))}, more get {spec.status}{named}"


def _policy(limits: _Numbered, spec: RateLimitSpec | list[RateLimitSpec], building: Building) -> Policy | None:
    alone = not isinstance(spec, list) or len(spec) == 1
    sharing = _sharing(building)
    made = tuple(_rate_limit(one, number, building, sharing, alone=alone) for number, one in limits)
    if not made:
        return None
    return made[0].check if len(made) == 1 else RateLimits(made).check


def _rate_limit(spec: RateLimitSpec, number: int, building: Building, sharing: Sharing, *, alone: bool) -> RateLimit:
    methods = () if spec.methods is None else [spec.methods] if isinstance(spec.methods, str) else spec.methods
    told = spec.name or ("default" if alone else f"default-{number}")
    settings = RateSettings(
        name=spec.name or f"{_place(building)} {number}",
        by=keys(spec.by),
        ipv6_prefix=spec.ipv6_prefix,
        methods=frozenset(method.encode() for method in methods),
        cost=spec.cost,
        strict=spec.strict,
        dry_run=spec.dry_run,
        told=told if spec.headers and not spec.dry_run else "",
    )
    rates = Rates(
        _meter(spec, read_rate(spec.rate)),
        tuple((name, _meter(spec, read_rate(rate))) for name, rate in spec.groups.items()),
        tuple((name, _meter(spec, read_rate(rate))) for name, rate in spec.consumers.items()),
    )
    key = ("rate limit", settings, spec.model_dump_json())
    return building.gateway.share(key, lambda: RateLimit(settings, rates, sharing))


def _meter(spec: RateLimitSpec, rate: Rate) -> Meter:
    if spec.counted == "fixed":
        return Quota(rate.amount, rate.unit)
    if spec.counted == "sliding_window":
        return SlidingWindow(rate.amount, UNITS[rate.unit])
    return TokenBucket(rate.per_second, burst_of(spec, rate))


def _concurrency(spec: ConcurrencySpec, building: Building) -> Policy:
    gateway = building.gateway
    name = spec.name or _place(building)
    key = ("concurrency", name, spec.model_dump_json())
    return gateway.share(
        key,
        lambda: Concurrency(
            name,
            spec.limit,
            keys(spec.by),
            _memory(building),
            status=spec.status,
            prefix=spec.ipv6_prefix,
        ),
    ).check


def _place(building: Building) -> str:
    """Return where a table stands: what all routes have of one table counts together."""
    return f"route {building.route.name}" if building.level == "route" else building.level


def _memory(building: Building) -> LimitMemory:
    gateway = building.gateway
    return gateway.share(
        "limit memory", lambda: (gateway.limits or LimitMemory(gateway.worker + 1)).of_worker(gateway.worker)
    )


def _sharing(building: Building) -> Sharing:
    gateway, memory = building.gateway, _memory(building)
    opening = gateway.opening
    nodes = opening is not None and opening.waits
    return gateway.share("limits", lambda: Sharing(memory, opening, nodes=nodes, speaks=gateway.worker == 0))
