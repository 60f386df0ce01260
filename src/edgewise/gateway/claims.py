"""Claims by their path: `org.id` is the member `id` of the claim `org`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ABSENT: Any = object()
"""What a path leads to that no claim has."""


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return what a path leads to, ABSENT for nothing; a claim whose own name has the dots goes first."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return ABSENT
        found = found[part]
    return found
