"""The tables of limits: how often requests may come, and how many at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from edgewise.config.rates import check_limit_key, check_rate, read_rate
from edgewise.config.types import Methods, Model, PositiveCount, Text, list_or_one

LimitRate = Annotated[
    str,
    BeforeValidator(check_rate),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,9}/(s|m|h|d|month)$"}),
]
LimitKey = Annotated[str, AfterValidator(check_limit_key)]
LimitKeys = Annotated[
    Annotated[LimitKey, Tag("<one>")] | Annotated[list[LimitKey], Field(min_length=1, max_length=8), Tag("<list>")],
    Discriminator(list_or_one),
]
Prefix = Annotated[int, Field(ge=16, le=128)]
LimitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class RateLimit(Model):
    """How often requests may come; what is more gets 429 and Retry-After.

    All workers count together, and all nodes with shared state. Several tables, in a list, hold at once.
    """

    rate: LimitRate
    """Requests over time, such as "100/s", "30/m", "1000/h", "10000/d" or "1000000/month"."""
    burst: PositiveCount | None = None
    """Of a token bucket, requests at once after a rest; by default those of a second, at least one."""
    algorithm: Literal["token_bucket", "sliding_window", "fixed"] | None = None
    """How they are counted: "fixed" by the calendar, in UTC, which is the default by day and month; else
    "token_bucket"."""
    by: LimitKeys = "client_ip"
    """Whose requests are counted together: "client_ip", "consumer", "credential", "group", "route", "host", "method",
    "header:NAME", "cookie:NAME", "query:NAME", or "all" for everybody's; with several in a list, those that agree in
    each. A request without it counts as its client address."""
    ipv6_prefix: Prefix = 64
    """Bits of IPv6 addresses that tell clients apart."""
    name: LimitName | None = None
    """Name of the count and in RateLimit fields: tables of equal names, wherever they stand, count together. Without it
    each table counts by itself."""
    methods: Methods | None = None
    """Limit requests with these methods only."""
    cost: PositiveCount = 1
    """How many requests each is worth."""
    groups: dict[Text, LimitRate] = Field(default={})
    """Rates of consumer groups in place of `rate`; of several the first that the consumer is in."""
    consumers: dict[Text, LimitRate] = Field(default={})
    """Rates of single consumers, before those of groups."""
    strict: bool = False
    """Ask the shared counter before each request: exact over all nodes, at the price of its answer time."""
    dry_run: bool = False
    """Only count and log what would be refused."""
    headers: bool = True
    """Tell clients by RateLimit and RateLimit-Policy what is left."""

    @property
    def counted(self) -> str:
        """The algorithm in use."""
        unit = read_rate(self.rate).unit
        return self.algorithm or ("fixed" if unit in ("d", "month") else "token_bucket")


RateLimits = Annotated[
    Annotated[RateLimit, Tag("<one>")] | Annotated[list[RateLimit], Field(min_length=1, max_length=16), Tag("<list>")],
    Discriminator(list_or_one),
]


class Concurrency(Model):
    """How many requests may be under way at once, on all workers of a machine; what is more is refused."""

    limit: PositiveCount
    """Requests, WebSockets and other tunnels under way."""
    by: LimitKeys = "client_ip"
    """Whose requests are counted together, as with rate_limit."""
    ipv6_prefix: Prefix = 64
    """Bits of IPv6 addresses that tell clients apart."""
    name: LimitName | None = None
    """Name of the count: tables of equal names count together."""
    status: Literal[429, 503] = 503
    """Status of a refusal, which comes with Retry-After."""
