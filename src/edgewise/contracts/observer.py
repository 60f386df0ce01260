"""The door for what watches exchanges: metrics, logs, traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange


class Observer(Protocol):
    """Joined to a route when the configuration is loaded; costs nothing where absent."""

    def done(self, exchange: Exchange) -> None:
        """Note a finished exchange. Must not block and must not raise."""

    def tick(self, now: float) -> None:
        """Run about four times a second, for flushing what was recorded."""

    def close(self) -> None:
        """Flush what is left, at shutdown."""
