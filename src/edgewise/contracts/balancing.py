"""The door for balancing policies and for what watches the outcome of attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Endpoint
    from edgewise.contracts.exchange import Exchange


SESSION = "edgewise.session"
"""Under which the context of an exchange keeps the `HeldSession` that its request came with, if any."""


class HeldSession(Protocol):
    """What the gateway knows of a request's session."""

    def affinity(self) -> bytes | None:
        """Return what stays the same as long as the session, and tells nobody how to open it; None for none."""


class BalancingPolicy(Protocol):
    """Chooses an endpoint for each exchange."""

    def update(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Take the endpoints that may be chosen from now on (never asked to choose another); may be empty."""

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """Return an endpoint, or None when there is none. Runs for each request: O(log n) at most.

        Where `exchange.tried` is not empty this is a retry: prefer an endpoint that is not in it.
        """


class Outlier(Protocol):
    """Watches the end of every attempt; may eject endpoints (set `ejected`, then `upstream.changed()`)."""

    def attempted(self, endpoint: Endpoint, seconds: float, ok: bool) -> None:
        """Note that an attempt ended after `seconds` (to the first byte).

        `ok` is False for a failed connect, a broken answer, a timeout, or status 502, 503 or 504.
        """

    def suspect(self, endpoint: Endpoint) -> None:
        """Note that another node finds the endpoint failing: that alone may never eject it."""

    def tick(self, now: float) -> None:
        """Run once a quarter second: end ejections that are over, judge the interval, advance slow start."""
