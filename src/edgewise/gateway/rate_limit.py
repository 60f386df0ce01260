"""Rate limits as policies: the decision, in memory that the workers of a machine share, and what clients are told.

What was admitted goes to the other nodes a moment later, and what those admitted comes back as a debt
(`gateway.sharing`): over time exactly the rate gets through, all nodes together.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import TYPE_CHECKING

from edgewise.contracts.policies import POLICIES, Denial, Outcome
from edgewise.contracts.state import StateError
from edgewise.gateway.limit_fields import LimitFields
from edgewise.gateway.limit_keys import Key, key_reader, mark_of
from edgewise.gateway.meters import Meter

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.identity import Identity
    from edgewise.gateway.sharing import Sharing

_MOST_KNOWN = 32768
"""Keys whose rows a worker knows without a look."""
_ROUNDING = 1e-6
_LOGGED = 10.0
"""Seconds between two log lines of a limit that only tries."""
_DRY_RUN = POLICIES.index("rate-limit-dry-run") + 1
_log = logging.getLogger("edgewise.limits")


@dataclass(frozen=True)
class Rates:
    """The meters of one limit: of a consumer, else of the first group that its members are in, else the usual one."""

    usual: Meter
    groups: tuple[tuple[str, Meter], ...] = ()
    consumers: tuple[tuple[str, Meter], ...] = ()

    def all(self) -> tuple[Meter, ...]:
        """Return all of them."""
        return (self.usual, *(meter for _, meter in self.groups), *(meter for _, meter in self.consumers))


@dataclass(frozen=True)
class RateSettings:
    """How requests are counted; see `config.limits.RateLimit`."""

    name: str
    """Of the counts: the same on every worker and node."""
    by: tuple[str, ...] = ("client_ip",)
    ipv6_prefix: int = 64
    methods: frozenset[bytes] = frozenset()
    cost: int = 1
    strict: bool = False
    dry_run: bool = False
    told: str = "default"
    """The limit's name in RateLimit fields; "" for none."""


class RateLimit:
    """A limit of one route; limits of equal name and kind have the same counts."""

    __slots__ = (
        "_cost", "_fields", "_key", "_known", "_logged", "_memory", "_meter", "_methods", "_rates", "_settings",
        "_shared", "_sharing", "_varied", "strict",
    )  # fmt: skip

    def __init__(self, settings: RateSettings, rates: Rates, sharing: Sharing) -> None:
        self._settings = settings
        self._rates = rates
        self._sharing = sharing
        self._memory = sharing.memory
        self._key = key_reader(settings.by, settings.ipv6_prefix)
        self._meter = rates.usual
        self._varied = bool(rates.groups or rates.consumers)
        self._shared = False
        for meter in rates.all():
            self._shared = sharing.share(settings.name, meter) and not settings.strict
        self._methods, self._cost = settings.methods, settings.cost
        self.strict = settings.strict
        """Is each request counted by the engine before it is let through?"""
        self._fields = {
            meter: LimitFields(settings.told, meter.limit, meter.window) for meter in rates.all() if settings.told
        }
        self._known: dict[tuple[Key, int] | Key, tuple[int, int]] = {}
        """Key -> where its row was, and its mark."""
        self._logged = 0.0

    def check(self, exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """Count the request, or refuse it."""
        if self._methods and exchange.plan.request.method not in self._methods:
            return None
        if self.strict:
            return self._ask(exchange)
        meter = self._meter_of(exchange.identity) if self._varied else self._meter
        key = self._key(exchange)
        known = self._known.get(key)
        if known is None:
            return self._look(exchange, meter, key)
        offset, mark = known
        now = exchange.started
        left = meter.take(self._memory, offset, mark, now, self._cost)
        if left is None:
            return self._look(exchange, meter, key)
        if self._shared:
            self._memory.changed[offset // self._memory.row.size] = 1
        if left < 0.0:
            return self._refuse(exchange, meter, -left)
        if self._fields:
            exchange.answer_lines += self._lines(meter, int(left + _ROUNDING), offset, now)
        return None

    def _lines(self, meter: Meter, left: int, offset: int, now: float) -> bytes:
        """Return what clients are told; of a bucket, when it is full follows from what is left."""
        fields = self._fields[meter]
        if left >= fields.step > 1:
            left -= left % fields.step
        if meter.refills:
            return fields.get(left) or fields.add(left, left, meter.reset(self._memory, offset, left, now))
        reset = meter.reset(self._memory, offset, left, now)
        key = left << 32 | reset
        return fields.get(key) or fields.add(key, left, reset)

    def give_back(self, exchange: Exchange) -> None:
        """The request that was counted is refused by another limit."""
        known = self._known.get(self._key(exchange))
        if known is None or not self._applies(exchange):
            return
        self._memory.cells[known[0] // 8 + self._memory.own] -= self._settings.cost

    def _applies(self, exchange: Exchange) -> bool:
        return not self._methods or exchange.plan.request.method in self._methods

    def _meter_of(self, identity: Identity | None) -> Meter:
        if identity is not None and self._varied:
            name = identity.consumer or identity.name
            for consumer, meter in self._rates.consumers:
                if consumer == name:
                    return meter
            for group, meter in self._rates.groups:
                if group in identity.groups:
                    return meter
        return self._meter

    def _look(self, exchange: Exchange, meter: Meter, key: Key) -> Outcome | Awaitable[Outcome]:
        """Find the key's row, then count; a quota's new row learns first what was counted before."""
        mark = mark_of(self._settings.name, meter.kind, key)
        offset, new = self._memory.find(mark, self._sharing.number(self._settings.name, meter))
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[key] = offset, mark
        if new and self._sharing.remembers(meter):
            return self._learn(exchange, meter, offset, mark)
        return self.check(exchange)

    async def _learn(self, exchange: Exchange, meter: Meter, offset: int, mark: int) -> Outcome:
        await self._sharing.learn(meter, offset, mark)
        outcome = self.check(exchange)
        return await outcome if isinstance(outcome, Awaitable) else outcome

    async def _ask(self, exchange: Exchange) -> Outcome:
        """Have the engine count the request; this machine where the engine is out of reach."""
        meter, cost = self._meter_of(exchange.identity), self._settings.cost
        key = self._key(exchange)
        mark = mark_of(self._settings.name, meter.kind, key)
        try:
            count = await self._sharing.add(meter, mark, cost)
        except StateError:
            offset, _ = self._memory.find(mark, self._sharing.number(self._settings.name, meter))
            left = meter.take(self._memory, offset, mark, exchange.started, cost)
            return None if left is None or left >= 0.0 else self._refuse(exchange, meter, -left)
        wait = float(meter.window) if count.resets_in is None else count.resets_in
        if count.value > meter.limit:
            return self._refuse(exchange, meter, wait)
        if self._settings.told:
            exchange.answer_lines += self._fields[meter].add(-1, int(meter.limit - count.value), max(1, ceil(wait)))
        return None

    def _refuse(self, exchange: Exchange, meter: Meter, wait: float) -> Denial | None:
        settings = self._settings
        if settings.dry_run:
            self._tell(exchange)
            return None
        seconds = max(1, ceil(wait))
        if settings.told:
            exchange.answer_lines += self._fields[meter].add(-1, 0, seconds)
        detail = f"More requests than the limit allows; the next may come in {seconds} s."
        return Denial(
            429, "rate-limit", detail, ((b"Retry-After", b"%d" % seconds),), f"over the limit {settings.name}"
        )

    def _tell(self, exchange: Exchange) -> None:
        """Only note what would be refused."""
        exchange.refused = exchange.refused or _DRY_RUN
        now = monotonic()
        if now >= self._logged:
            self._logged = now + _LOGGED
            _log.warning(
                "limit %s would refuse requests, such as one of %s", self._settings.name, exchange.client.peer_ip
            )


class RateLimits:
    """Several limits of a route, all of which must let a request through; one that refuses it costs the others nothing.

    Strict ones come last: what the engine counted stays counted.
    """

    __slots__ = ("_limits",)

    def __init__(self, limits: tuple[RateLimit, ...]) -> None:
        self._limits = tuple(sorted(limits, key=lambda limit: limit.strict))

    def check(self, exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """Count the request by each, or refuse it."""
        for index, limit in enumerate(self._limits):
            outcome = limit.check(exchange)
            if outcome is None:
                continue
            if isinstance(outcome, Awaitable):
                return self._wait(exchange, outcome, index)
            return self._given_back(exchange, outcome, index)
        return None

    async def _wait(self, exchange: Exchange, first: Awaitable[Outcome], index: int) -> Outcome:
        outcome = await first
        while outcome is None and index + 1 < len(self._limits):
            index += 1
            result = self._limits[index].check(exchange)
            outcome = await result if isinstance(result, Awaitable) else result
        return None if outcome is None else self._given_back(exchange, outcome, index)

    def _given_back(self, exchange: Exchange, outcome: Outcome, index: int) -> Outcome:
        """Refuse: the limits before `index` counted the request."""
        for limit in self._limits[:index]:
            limit.give_back(exchange)
        return outcome
