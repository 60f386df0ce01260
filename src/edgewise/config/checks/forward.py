"""Forward authentication: that there is the upstream, and that it is known what an answer depends on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgewise.config.checks.policies import policy_tables
from edgewise.config.checks.tables import value_at
from edgewise.config.problems import Mistake, nearest


def check_forward(data: dict[str, Any]) -> Iterator[Mistake]:
    """Yield the mistakes of `auth.forward`."""
    upstreams = value_at(data, "upstreams")
    names = list(upstreams) if isinstance(upstreams, dict) else []
    for path, policies in policy_tables(data):
        spec = value_at(policies, "auth", "forward")
        if not isinstance(spec, dict):
            continue
        where = (*path, "auth", "forward")
        name = spec.get("upstream")
        if isinstance(name, str) and name not in names:
            yield Mistake(
                (*where, "upstream"), f"there is no upstream {name!r}", "one of [upstreams]", nearest(name, names)
            )
        if spec.get("cache") and not (spec.get("cache_by") or spec.get("request_headers")):
            yield Mistake((*where, "cache"), "does not say what answers depend on", "cache_by, or request_headers")
