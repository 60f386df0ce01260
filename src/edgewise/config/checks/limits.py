"""Limits: that algorithm and unit go together, that a request can ever pass, and that names are told apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgewise.config.checks.policies import policy_tables
from edgewise.config.problems import BadValue, Mistake, Path
from edgewise.config.rates import Rate, check_rate, read_rate


def check_limits(data: dict[str, Any]) -> Iterator[Mistake]:
    """Yield the mistakes of tables `rate_limit`."""
    for path, policies in policy_tables(data):
        spec = policies.get("rate_limit")
        one = isinstance(spec, dict)
        names: set[str] = set()
        for index, limit in enumerate([spec] if one else spec if isinstance(spec, list) else []):
            if not isinstance(limit, dict):
                continue
            place: Path = (*path, "rate_limit") if one else (*path, "rate_limit", index)
            yield from _limit(place, limit)
            name = limit.get("name")
            if isinstance(name, str) and name in names:
                yield Mistake((*place, "name"), f"{name!r} is counted twice for one request", "another name")
            names.add(str(name))


def _limit(path: Path, limit: dict[str, Any]) -> Iterator[Mistake]:
    rate = _rate(limit.get("rate"))
    if rate is None:
        return
    algorithm = limit.get("algorithm") or ("fixed" if rate.unit in ("d", "month") else "token_bucket")
    if rate.unit == "month" and algorithm != "fixed":
        yield Mistake((*path, "algorithm"), "months are not equally long", '"fixed" for a rate by month')
    if algorithm != "token_bucket" and "burst" in limit:
        yield Mistake((*path, "burst"), f"{algorithm} has no burst", 'algorithm = "token_bucket", or no burst')
    most = limit.get("burst") if algorithm == "token_bucket" else rate.amount
    cost = limit.get("cost", 1)
    if isinstance(cost, int) and isinstance(most, int) and cost > most:
        yield Mistake((*path, "cost"), f"no request can ever pass: {most} is the most at once", f"at most {most}")
    for key in ("groups", "consumers"):
        for name, other in _items(limit.get(key)):
            of = _rate(other)
            if algorithm != "token_bucket" and of is not None and of.unit != rate.unit:
                expected = f"a rate by {rate.unit}, as `rate` is"
                yield Mistake((*path, key, name), f"{algorithm} counts by one unit", expected)


def _rate(value: object) -> Rate | None:
    try:
        return read_rate(check_rate(value))
    except BadValue:
        return None


def _items(value: object) -> list[tuple[str, object]]:
    return list(value.items()) if isinstance(value, dict) else []
