"""What the cache holds of a URL, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TIERS = {"memory": "in memory", "disk": "on disk"}


def cached_text(found: dict[str, Any]) -> str:
    """Return the admin API's answer about a URL as text for a terminal."""
    lines = []
    for worker in found["workers"]:
        told = [line for route in worker["routes"] for line in _route_lines(route)]
        lines += [f"worker {worker['worker']}: {line}" for line in told or ["nothing is stored, nothing was refused"]]
    return "\n".join(lines)


def _route_lines(route: dict[str, Any]) -> Iterator[str]:
    for held in route["held"]:
        yield f"route {route['route']}, {held['scheme']}: {_held(held)}"
    for refused in route["refused"]:
        yield f"route {route['route']}, {refused['scheme']}: not stored {refused['ago']:g} s ago: {refused['reason']}"


def _held(held: dict[str, Any]) -> str:
    fresh = f"fresh for {held['ttl']} s" if held["ttl"] > 0 else f"stale for {-held['ttl']} s"
    where = " and ".join(_TIERS[tier] for tier in held["in"])
    parts = [where, f"status {held['status']}", fresh, f"age {held['age']} s", f"{held['content']} bytes of content"]
    if "slice" in held:
        parts.append(f"in slices of {held['slice']}, {held['slices']} of them in memory")
    if held["vary"]:
        parts.append(f"varies on {', '.join(held['vary'])}")
    if held["tags"]:
        parts.append(f"{len(held['tags'])} tags")
    return ", ".join(parts)
