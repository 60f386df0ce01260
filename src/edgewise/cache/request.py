"""What a request head says to the cache: worked out once, and kept with the plan of that head."""

from __future__ import annotations

from edgewise.cache.directives import NOTHING, of_request
from edgewise.cache.key import Keys
from edgewise.cache.settings import CacheSettings
from edgewise.http.head import NO_BODY, FieldLines, RequestHead
from edgewise.http.preconditions import Conditions, conditions

_TELLING = frozenset(name.replace("_", "-").encode() for name in Conditions._fields) | {
    b"cache-control",
    b"authorization",
}
"""Fields without which a request says nothing to a cache."""
_MOST_VARIANTS = 4
_MOST_LINES = 1024
"""Field lines of which it is remembered what they say."""


class Said:
    """What the fields of a request say to a cache. Seconds are None where they do not say."""

    __slots__ = (
        "authorized", "conditions", "head_only", "max_age", "max_stale", "min_fresh", "no_cache", "no_store",
        "only_if_cached", "plain", "ranged", "stale_if_error", "straight",
    )  # fmt: skip

    def __init__(self, head: RequestHead, settings: CacheSettings) -> None:
        fields = head.fields
        told = {field.name for field in fields if field.name in _TELLING}
        said = of_request(fields) if b"cache-control" in told else NOTHING
        heeded = settings.request_directives
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


class CacheRequest:
    """A pure function of head, scheme and settings."""

    __slots__ = ("_variants", "coding", "head", "key", "keys", "said", "scheme", "url")

    def __init__(self, head: RequestHead, scheme: bytes, keys: Keys, said: Said, coding: bytes = b"") -> None:
        self.head = head
        self.scheme = scheme
        self.coding = coding
        """Content coding that the client gets where the route compresses, b"" for none."""
        self.keys = keys
        self.said = said
        self.url = keys.url_of(head, scheme)
        self.key = keys.key(head, scheme, self.url)
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


class Requests:
    """Makes requests for one route; what field lines say is remembered for all heads that share them."""

    __slots__ = ("_keys", "_said", "_settings")

    def __init__(self, keys: Keys, settings: CacheSettings) -> None:
        self._keys = keys
        self._settings = settings
        self._said: dict[FieldLines, Said] = {}
        """Of GET requests whose secret, if any, is a cookie."""

    def of(self, head: RequestHead, scheme: bytes, coding: bytes = b"") -> CacheRequest | None:
        """Return what a request says to the cache; None where it has nothing to do with it (fwd=bypass).

        Nothing but GET and HEAD without content is answered from the cache; a tunnel is no response.
        """
        # A cookie, which is not among the lines, says nothing of it; other secrets do.
        usual = head.method == b"GET" and (not head.secret or head.secret[:7].lower() == b"cookie:")
        said = self._said.get(head.lines) if usual else None
        if said is None:
            if head.method not in (b"GET", b"HEAD") or head.body != NO_BODY or head.lines.upgrade is not None:
                return None
            said = Said(head, self._settings)
            asked = said.conditions
            # These speak of what the origin has (RFC 9111 section 4.3.2).
            if asked is not None and (asked.if_match or asked.if_unmodified_since):
                return None
            if usual and head.lines.kept:
                self._remember(head.lines, said)
        return CacheRequest(head, scheme, self._keys, said, coding)

    def _remember(self, lines: FieldLines, said: Said) -> None:
        """Keep what lines say that other heads have too."""
        if len(self._said) >= _MOST_LINES:
            self._said.clear()
        self._said[lines] = said
