"""The table of a rate limit."""

from __future__ import annotations

from edgewise.config.types import LimitKey, Model, PositiveCount, Rate


class RateLimit(Model):
    """How often a client may come; what is more gets 429 and Retry-After.

    All workers count together, and all nodes with shared state: each decides by itself and tells the others ten times a
    second what it admitted.
    """

    rate: Rate
    """Requests over time, such as "100/s", "30/m" or "1000/h"."""
    burst: PositiveCount | None = None
    """Requests at once after a rest; by default those of a second, at least one."""
    by: LimitKey = "client_ip"
    """Whose requests are counted together: "client_ip" (IPv6: its /64), "route", "header:NAME" or "cookie:NAME"."""
    strict: bool = False
    """Ask the shared counter before each request: exact, at the price of its answer time. Windows of burst / rate."""
