"""What a request head says to the cache: worked out once, and kept with the plan of that head."""

from __future__ import annotations

from edgewise.cache.directives import NOTHING, of_request
from edgewise.cache.key import Keys
from edgewise.cache.settings import CacheSettings
from edgewise.http.head import NO_BODY, RequestHead
from edgewise.http.preconditions import Conditions, conditions

_TELLING = frozenset(name.replace("_", "-").encode() for name in Conditions._fields) | {
    b"cache-control",
    b"authorization",
}
"""Fields without which a request says nothing to a cache."""
_MOST_VARIANTS = 4


class CacheRequest:
    """A pure function of head, scheme and settings. Seconds are None where the request does not say."""

    __slots__ = (
        "_variants", "authorized", "conditions", "head", "head_only", "key", "keys", "max_age", "max_stale",
        "min_fresh", "no_cache", "no_store", "only_if_cached", "plain", "ranged", "scheme", "stale_if_error",
        "straight", "url",
    )  # fmt: skip

    def __init__(self, head: RequestHead, scheme: bytes, keys: Keys, settings: CacheSettings) -> None:
        fields = head.fields
        told = {field.name for field in fields if field.name in _TELLING}
        said = of_request(fields) if b"cache-control" in told else NOTHING
        heeded = settings.request_directives
        self.head = head
        self.scheme = scheme
        self.keys = keys
        self.url = keys.url_of(head, scheme)
        self.key = keys.key(head, scheme, self.url)
        self.head_only = head.method == b"HEAD"
        self.authorized = settings.authenticated or b"authorization" in told
        self.no_store = said.no_store
        self.only_if_cached = said.only_if_cached
        self.no_cache = heeded and (said.no_cache or bool(said.no_cache_fields))
        self.max_age = said.max_age if heeded else None
        self.min_fresh = said.min_fresh if heeded else None
        self.max_stale = said.max_stale if heeded else None
        self.stale_if_error = said.stale_if_error if heeded else None
        self.plain = not (self.no_cache or self.only_if_cached or self.max_age is not None or bool(self.min_fresh))
        """A fresh object may be used without another look."""
        self.conditions = conditions(head) if told else None
        """None: the answer is neither 304 nor 206."""
        self.ranged = self.conditions is not None and bool(self.conditions.range) and not self.head_only
        self.straight = self.plain and self.conditions is None and not self.head_only
        """A fresh object may be sent whole without another look."""
        self._variants: dict[tuple[bytes, ...], bytes] = {}

    def variant(self, names: tuple[bytes, ...]) -> bytes:
        """Return the key of the variant that this request asks for, of a response that varies on `names`."""
        if not names:
            return self.key
        key = self._variants.get(names)
        if key is None:
            if len(self._variants) >= _MOST_VARIANTS:
                self._variants.clear()
            key = self._variants[names] = b"%b\n%b" % (self.key, self.keys.variants.key(names, self.head.fields))
        return key

    def somebody(self) -> bool:
        """Has the request cookies that separate users?"""
        return self.keys.somebody(self.head)


def cache_request(head: RequestHead, scheme: bytes, keys: Keys, settings: CacheSettings) -> CacheRequest | None:
    """Return what the request says to the cache; None where it has nothing to do with it (Cache-Status: fwd=bypass).

    Nothing but GET and HEAD without content is answered from the cache; a tunnel is no response.
    """
    if head.method not in (b"GET", b"HEAD") or head.body != NO_BODY or head.lines.upgrade is not None:
        return None
    request = CacheRequest(head, scheme, keys, settings)
    asked = request.conditions
    # These speak of what the origin has (RFC 9111 section 4.3.2).
    for_the_origin = asked is not None and (asked.if_match or asked.if_unmodified_since)
    return None if for_the_origin else request
