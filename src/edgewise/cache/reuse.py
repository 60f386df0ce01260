"""May a stored response answer this request now (RFC 9111 sections 4 and 5.2.1)?"""

from __future__ import annotations

from enum import IntEnum

from edgewise.cache.request import CacheRequest
from edgewise.cache.stored import Stored

ERRORS = frozenset((500, 502, 503, 504))
"""Statuses in place of which a stale response may be used (RFC 5861 section 4)."""


class Use(IntEnum):
    """What to do with a stored response."""

    FRESH = 0
    """Answer with it."""
    STALE = 1
    """Answer with it: the client accepts it stale."""
    REVALIDATE = 2
    """Answer with it and validate it at the same time (RFC 5861 section 3)."""
    VALIDATE = 3
    """Validate it first."""
    UNSATISFIED = 4
    """The client wants nothing but a stored response, and this one will not do: 504 (section 5.2.1.7)."""


def decide(stored: Stored, request: CacheRequest, now: float) -> Use:
    """Return the use of a response that the store found; `now`: seconds since the epoch. The hot path is one line."""
    if now < stored.fresh_until and request.said.plain:
        return Use.FRESH
    use = _use(stored, request, now)
    return Use.UNSATISFIED if use == Use.VALIDATE and request.said.only_if_cached else use


def _use(stored: Stored, request: CacheRequest, now: float) -> Use:
    said, left = request.said, stored.fresh_until - now
    if said.no_cache or (said.min_fresh and left < said.min_fresh):
        return Use.VALIDATE
    # A response that never changes while it is fresh is not asked for again by a reload (RFC 8246 section 2).
    if said.max_age is not None and now - stored.born > said.max_age and not (stored.immutable and left > 0):
        return Use.VALIDATE
    if left > 0:
        return Use.FRESH
    if said.max_stale is not None and not stored.forbids_stale and -left <= said.max_stale:
        return Use.STALE
    return Use.REVALIDATE if -left < stored.stale_while_revalidate else Use.VALIDATE


def usable_on_error(stored: Stored, request: CacheRequest, now: float, *, disconnected: bool = False) -> bool:
    """May it stand in for an upstream that is out of reach or answered with one of ERRORS (section 4.2.4)?

    `disconnected`: there was no answer at all. Where it may not, the failure is passed on (section 5.2.2.2).
    """
    if stored.strict:
        return now < stored.fresh_until
    allowed = stored.stale_on_disconnect if disconnected else stored.stale_if_error
    if request.said.stale_if_error is not None and not stored.forbids_stale:
        allowed = max(allowed, request.said.stale_if_error)
    return now < stored.fresh_until + allowed
