"""Keeps retries a small share of the traffic, so that they cannot turn a slow upstream into a dead one."""

from __future__ import annotations

from edgewise.contracts.endpoint import Upstream


def retry_allowed(upstream: Upstream) -> bool:
    """May one more retry begin? At most max(budget_min, budget_ratio x active) are under way at a time in a worker.

    The caller counts a retry in `upstream.retries` from its start to its end.
    """
    retry = upstream.retry
    return upstream.retries < max(retry.budget_min, retry.budget_ratio * upstream.active)
