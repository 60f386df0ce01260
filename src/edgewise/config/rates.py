"""The values of limits: rates, and whose requests are counted together. Stdlib only, ASCII digits only."""

from __future__ import annotations

import re
from typing import NamedTuple

from edgewise.config.problems import BadValue, nearest, show

_RATE = re.compile(r"([1-9][0-9]{0,9})/(s|m|h|d|month)")
_NAMED = ("header", "cookie", "query")
_PLAIN = ("client_ip", "consumer", "credential", "group", "route", "all", "host", "method")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "month": 30 * 86400}
"""Seconds of a unit; of a month about."""


class Rate(NamedTuple):
    """So many requests in each unit of time."""

    amount: int
    unit: str
    """A key of UNITS."""

    @property
    def per_second(self) -> float:
        """Return a second's share."""
        return self.amount / UNITS[self.unit]


def read_rate(text: str) -> Rate:
    """Return what a checked rate says."""
    amount, _, unit = text.partition("/")
    return Rate(int(amount), unit)


def check_rate(value: object) -> str:
    """Return "100/s", "30/m", "1000/h", "10000/d" or "1000000/month" as it is. Raises BadValue."""
    if not isinstance(value, str) or _RATE.fullmatch(value) is None:
        expected = 'a rate such as "100/s", "30/m", "1000/h", "10000/d" or "1000000/month"'
        raise BadValue(f"{show(value)} is not a rate", expected)
    return value


def check_limit_key(text: str) -> str:
    """Return what tells requests apart, such as "client_ip" or "header:NAME". Raises BadValue."""
    kind, colon, name = text.partition(":")
    if text in _PLAIN or (kind in _NAMED and colon and _TOKEN.fullmatch(name)):
        return text
    close = nearest(kind, [*_PLAIN, *_NAMED])
    if close in _NAMED:
        close = f"{close}:{name}" if colon and _TOKEN.fullmatch(name) else ""
    expected = ", ".join(f'"{one}"' for one in (*_PLAIN, *(f"{kind}:NAME" for kind in _NAMED)))
    raise BadValue(f"{show(text)} does not tell clients apart", f"one of {expected}", close)
