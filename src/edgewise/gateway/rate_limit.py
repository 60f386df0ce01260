"""A route's rate limit: whose requests are counted together, the decision, and what other workers are told.

The decision is local. What was admitted goes to the shared counters a moment later, and what others admitted in the
meantime is taken off this worker's bucket as a debt: over time exactly `rate` gets through, all workers and nodes
together, and within one exchange of counts at most `rate` times its interval too much from each.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from edgewise.contracts.state import KEY_BYTES, StateEngine, StateError
from edgewise.gateway.buckets import Buckets

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

WINDOW = 60.0
"""Seconds of the shared counters' windows; only differences within one matter."""
_SHARE = 0.02
"""Part of the burst below which a key's count can wait for the next full exchange."""
_MOST_DUE = 2000
"""Keys told to the engine at once."""


@dataclass(frozen=True)
class RateSettings:
    """`rate` requests a second, `burst` at once; `by` client_ip, route, header:NAME or cookie:NAME."""

    rate: float
    burst: int
    by: str = "client_ip"
    strict: bool = False


class RateLimit:
    """A `contracts.limits.Limit`; `name` is that of the shared counters: the same on every worker and node."""

    __slots__ = ("_buckets", "_engine", "_key", "_name", "_settings", "_totals", "_used", "strict")

    def __init__(self, name: str, settings: RateSettings) -> None:
        self._name = name
        self._settings = settings
        self.strict = settings.strict
        self._key = key_reader(settings.by)
        self._buckets = Buckets(settings.rate, settings.burst)
        self._engine: StateEngine | None = None
        self._used: dict[str, int] = {}
        """Admitted here and not shared yet."""
        self._totals: dict[str, int] = {}
        """The shared count of a key when it was last seen."""

    @property
    def settings(self) -> tuple[str, RateSettings]:
        """What the limit was made of; equal ones may go on being used."""
        return self._name, self._settings

    # ---- decisions ---------------------------------------------------------------------------------------------------

    def take(self, exchange: Exchange, now: float) -> float:
        """Count a request; return 0.0, or the seconds after which it may come again."""
        key = self._key(exchange)
        wait = self._buckets.take(key, now)
        if not wait and self._engine is not None:
            self._used[key] = self._used.get(key, 0) + 1
        return wait

    async def ask(self, exchange: Exchange, now: float) -> float:
        """As `take`, by a count that all share: `burst` requests in each window of `burst` / `rate` seconds."""
        if self._engine is None:
            return self.take(exchange, now)
        settings = self._settings
        window = min(max(settings.burst / settings.rate, 1.0), 86400.0)
        most = settings.rate * window
        try:
            count = await self._engine.add(self.counter(self._key(exchange)), 1, window)
        except StateError:
            return self._buckets.take(self._key(exchange), now)
        return 0.0 if count.value <= most else (count.resets_in or window)

    # ---- sharing -----------------------------------------------------------------------------------------------------

    def connect(self, engine: StateEngine | None) -> None:
        """Use this engine from now on; None: it is out of reach, and what was admitted meanwhile stays local."""
        self._engine = engine
        if engine is None:
            self._used.clear()
            self._totals.clear()

    def counter(self, key: str) -> str:
        """Return the name of a key's shared counter."""
        return f"limit:{self._name}:{key}"[:KEY_BYTES]

    def due(self, *, everything: bool) -> list[tuple[str, int]]:
        """Return (key, requests) admitted and not shared yet; without `everything` only counts that matter soon."""
        least = 1 if everything else max(1, int(self._settings.burst * _SHARE))
        due = [(key, amount) for key, amount in self._used.items() if amount >= least][:_MOST_DUE]
        for key, _ in due:
            del self._used[key]
        return due

    def shared(self, key: str, amount: int, total: int, now: float) -> None:
        """Take what others admitted since the last exchange off the bucket."""
        before = self._totals.get(key)
        if before is None:
            others = 0  # what the others did before this worker knew the key is over
        elif total < before:
            others = total - amount  # a new window began
        else:
            others = total - before - amount
        if len(self._totals) >= 2 * _MOST_DUE and key not in self._totals:
            self._totals.clear()
        self._totals[key] = total
        if others > 0:
            self._buckets.charge(key, others, now)

    def unshared(self, key: str, amount: int) -> None:
        """The engine could not be told: it stays due."""
        self._used[key] = self._used.get(key, 0) + amount


# ---- keys ------------------------------------------------------------------------------------------------------------


def key_reader(by: str) -> Callable[[Exchange], str]:
    """Return what tells whose request it is; one without the header or cookie counts as its client address."""
    kind, _, name = by.partition(":")
    if kind == "route":
        return lambda exchange: "*"
    if kind == "client_ip":
        return lambda exchange: client_key(exchange.client.peer_ip)
    wanted = name.lower().encode("latin-1")
    read = _header if kind == "header" else _cookie

    def key(exchange: Exchange) -> str:
        value = read(exchange, wanted)
        if value is None:
            return client_key(exchange.client.peer_ip)
        return "=" + blake2b(value, digest_size=16).hexdigest()  # it may be a secret, and counters are shared

    return key


def client_key(ip: str) -> str:
    """Return the address, of IPv6 its /64: a household has that many (RFC 6177)."""
    if ":" not in ip or ip == "unix:":
        return ip
    try:
        address = ipaddress.IPv6Address(ip)
    except ValueError:
        return ip
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def _header(exchange: Exchange, name: bytes) -> bytes | None:
    value = exchange.plan.request.get(name)
    return value or None


def _cookie(exchange: Exchange, name: bytes) -> bytes | None:
    for field in exchange.plan.request.fields:
        if field.name != b"cookie":
            continue
        for pair in field.value.split(b";"):
            found, equals, value = pair.strip(b" \t").partition(b"=")
            if equals and found.lower() == name and value:
                return value
    return None
