"""A clock that moves when a test says so."""

from __future__ import annotations


class ManualClock:
    """Callable like time.monotonic; `now` is in seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Let time pass; return the time it is then."""
        self.now += seconds
        return self.now
