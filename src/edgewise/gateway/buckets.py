"""Token buckets by key, as theoretical arrival times (the generic cell rate algorithm, ITU-T I.371 annex A)."""

from __future__ import annotations

_DEBT_SECONDS = 10.0
"""What others admitted puts a key off by this much at most, whatever a counter says."""


class Buckets:
    """For each key a bucket of `burst` tokens that gets `rate` tokens a second. One float a key.

    Two generations of at most `most_keys` // 2: full buckets are no different from unknown ones, so forgetting keys
    that were not used lately costs nothing but a flood's own.
    """

    __slots__ = ("_cost", "_keys", "_most", "_old", "_tolerance")

    def __init__(self, rate: float, burst: int, most_keys: int = 131072) -> None:
        self._cost = 1.0 / rate
        self._tolerance = burst / rate
        self._most = most_keys // 2
        self._keys: dict[str, float] = {}
        """Key -> when its bucket is full again (monotonic seconds)."""
        self._old: dict[str, float] = {}

    def take(self, key: str, now: float) -> float:
        """Take a token; return 0.0, or the seconds until there is one."""
        before = self._full_at(key, now)
        full = before + self._cost
        wait = full - now - self._tolerance
        if wait > 1e-9:
            self._keep(key, before)
            return wait
        self._keep(key, full)
        return 0.0

    def charge(self, key: str, tokens: int, now: float) -> None:
        """Take tokens that others gave away, below zero if need be."""
        full = self._full_at(key, now) + tokens * self._cost
        self._keep(key, min(full, now + self._tolerance + _DEBT_SECONDS))

    def __len__(self) -> int:
        return len(self._keys) + len(self._old)

    def _full_at(self, key: str, now: float) -> float:
        full = self._keys.get(key)
        if full is None:
            full = self._old.pop(key, now)
        return full if full > now else now

    def _keep(self, key: str, full: float) -> None:
        if len(self._keys) >= self._most and key not in self._keys:
            self._old = self._keys
            self._keys = {}
        self._keys[key] = full
