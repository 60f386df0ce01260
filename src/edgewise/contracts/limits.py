"""The door for what may refuse a request for coming too soon."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.state import StateEngine


class Limit(Protocol):
    """A rate limit of one route, as one worker sees it. Kept across reloads where its settings are the same."""

    strict: bool
    """Each request is counted by the shared engine before it is let through."""

    def take(self, exchange: Exchange, now: float) -> float:
        """Count a request at `now` (monotonic seconds); return 0.0, or the seconds after which it may come again."""

    def ask(self, exchange: Exchange, now: float) -> Awaitable[float]:
        """As `take`, decided by the shared engine; by this worker alone where the engine is out of reach."""

    def connect(self, engine: StateEngine | None) -> None:
        """Use this engine from now on; None: it is out of reach."""

    def counter(self, key: str) -> str:
        """Return the name of a key's shared counter: the same on every worker and node."""

    def due(self, *, everything: bool) -> list[tuple[str, int]]:
        """Return what was admitted and not shared yet: (key, requests); only what matters soon, or `everything`."""

    def shared(self, key: str, amount: int, total: int, now: float) -> None:
        """`amount` was added to the shared count of a key, which is `total` now."""

    def unshared(self, key: str, amount: int) -> None:
        """The engine could not be told: it stays due."""
