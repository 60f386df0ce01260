"""How a route caches: what an operator decides, beside what responses say themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgewise.http.head import Field

DAY = 86_400.0
TARGETS = (b"cdn-cache-control",)
"""Targeted fields of a shared cache in front of an origin (RFC 9213 section 3)."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Durations are seconds; names of fields are lower-case."""

    targets: tuple[bytes, ...] = TARGETS
    """Fields that count in place of Cache-Control, the first that is there and valid (RFC 9213 section 2.2)."""
    default_ttl: float = 0.0
    """Freshness of a response that says nothing about it, with a status that is heuristically cacheable; 0: none."""
    status_ttl: Mapping[int, float] = field(default_factory=dict)
    """The same by status, any status: negative caching. Comes before `default_ttl` and heuristics."""
    heuristic_share: float = 0.1
    """Part of the time since Last-Modified for which a response that says nothing is fresh (RFC 9111 section 4.2.2)."""
    heuristic_most: float = DAY
    """Bound of that time."""
    stale_while_revalidate: float = 0.0
    """Time after its end of freshness in which a response is used while it is validated, where it does not say."""
    stale_if_error: float = 0.0
    """Time after its end of freshness in which a response stands in for a failed upstream, where it does not say."""
    stale_on_disconnect: float = 60.0
    """Time after its end of freshness in which a response stands in while no server can be reached, unless it forbids
    stale use (RFC 9111 section 4.2.4)."""
    request_directives: bool = True
    """Heed max-age, min-fresh, max-stale and no-cache of requests. no-store and only-if-cached count in any case."""
    store_set_cookie: bool = False
    """Store a response with its Set-Cookie, as RFC 9111 section 7.3 allows. By default it is stored only where it is
    explicitly for shared caches, and without its cookies: a session cookie given to the next visitor is a login."""
    authenticated: bool = False
    """Upstreams are told who asks, whatever the request has: every request counts as one with Authorization."""
    purge_from: tuple[str, ...] = ()
    """Networks of those whose PURGE requests are obeyed; none: PURGE is a method like any other."""
    etag: str = ""
    """"weak" or "strong": what is stored whole, without an entity tag, gets one of its content; "": it does not."""
    browser: bytes = b""
    """Cache-Control that clients get in place of that of what is stored; b"": they get the answer's own."""
    hide: tuple[bytes, ...] = ()
    """Fields that clients do not get."""
    added: tuple[Field, ...] = ()
    """Fields that clients get with all that is stored."""
    most_bytes: int = 8_388_608
    """Content of an object that is kept whole, at most."""
    slice: int = 0
    """Bytes of the slices that larger objects are asked for and kept in; 0: they are not."""
