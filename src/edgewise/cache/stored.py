"""A stored response, with all that a hit needs worked out when it was stored."""

from __future__ import annotations

import re
from math import floor
from typing import TYPE_CHECKING

from edgewise.cache.directives import joined
from edgewise.cache.freshness import timestamp
from edgewise.http.head import Field

if TYPE_CHECKING:
    from edgewise.cache.directives import Directives
    from edgewise.cache.entity_tag import ContentTag
    from edgewise.cache.settings import CacheSettings
    from edgewise.cache.view import BrowserPolicy, View
    from edgewise.contracts.cache import Whole

_ETAG = re.compile(rb'(?:W/)?"[!#-~\x80-\xff]*+"')
OVERHEAD = 1100
"""Bytes an object is taken to cost beside its key, its fields and its content."""
_FIELD_OVERHEAD = 180
"""Bytes a field is taken to cost beside its bytes: a tuple, two bytes objects, their parts in the head."""


class Stored:
    """One response under one key. Instants are seconds since the epoch.

    Immutable but for what the store keeps: `checked`, `visited`, its neighbours, and `fresh_until`, which a
    soft purge brings forward; and for what clients see of it, which its route's view decides.
    """

    __slots__ = (
        "body", "born", "checked", "date", "digest", "etag", "fields", "file", "forbids_stale", "forms", "fresh_until",
        "head", "immutable", "key", "length", "lines", "looked", "modified", "newer", "no_cache", "older", "policy",
        "primary", "reason", "received", "served", "shown", "slice", "stale_if_error", "stale_on_disconnect",
        "stale_while_revalidate", "status", "strict", "tagged", "tags", "told", "trial", "url", "vary", "view",
        "visited",
    )  # fmt: skip

    def __init__(self, status: int, reason: bytes, fields: tuple[Field, ...]) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields
        """Without those that are not stored (RFC 9111 section 3.1), and without Content-Length."""
        self.body = b""
        """Its content; b"" where that is kept elsewhere."""
        self.length = 0
        """Bytes of its content."""
        self.file = ""
        """Name of the file that holds its content; "": none does."""
        self.slice = 0
        """Bytes of each of the slices that its content is kept in, as objects of their own; 0: it is kept whole."""
        self.primary = b""
        """Key of the request."""
        self.key = b""
        """The same with the variant."""
        self.url = b""
        self.vary: tuple[bytes, ...] = ()
        self.tags = b""
        """Ids of its tags (`tags.tag_ids`)."""
        self.received = 0.0
        self.date = 0.0
        self.born = 0.0
        """Its current age is the time since then."""
        self.fresh_until = 0.0
        self.stale_while_revalidate = 0.0
        """Seconds after `fresh_until`; 0 where forbidden."""
        self.stale_if_error = 0.0
        """Seconds after `fresh_until`; 0 where forbidden."""
        self.stale_on_disconnect = 0.0
        """Seconds after `fresh_until`; 0 where forbidden."""
        self.no_cache = False
        """Never used without validation."""
        self.strict = False
        """Never used stale, whoever asks for it: no-cache, must-revalidate or proxy-revalidate."""
        self.forbids_stale = False
        """The same, or s-maxage: stale only where the response allows it in so many words."""
        self.immutable = False
        etag = joined(fields, b"etag")
        self.etag = etag if etag is not None and _ETAG.fullmatch(etag) else None
        """Where it is one and well formed."""
        self.tagged = False
        """It was made here: no server knows it."""
        self.digest: ContentTag | None = None
        """Takes the content while it comes, where that is to have a tag made here."""
        modified = [field.value for field in fields if field.name == b"last-modified"]
        self.modified = modified[0] if len(modified) == 1 and timestamp(modified[0]) is not None else None
        """Last-Modified as sent, where it is a date."""
        self.head = b""
        """Status line, field lines and Content-Length, without the empty line at the end."""
        self.lines = b"".join(field.line for field in fields)
        self.shown = fields
        """What clients get of them, as the route's view leaves them."""
        self.told = self.lines
        """The same as lines."""
        self.view: View | None = None
        """Whose `shown` is; None: nobody's, they are all fields."""
        self.policy: BrowserPolicy | None = None
        """What clients are told in place of Cache-Control."""
        self.forms: dict[bytes, Stored | None] | None = None
        """Its content in content codings, made of `shown`: objects beside this one; None of those there are not. None
        where none was asked for yet."""
        self.checked = 0
        """The last purge that it was compared with; at first, the last one before its request went out."""
        self.looked = 0.0
        """When it was last written to disk, read there or looked for there."""
        self.visited = False
        self.trial = 0
        """What it costs, while it is new (`admission.Probation`)."""
        self.served: Whole | None = None
        """The answer of the present second, for requests that ask for no part of it."""
        self.newer: Stored | None = None
        self.older: Stored | None = None

    @property
    def size(self) -> int:
        """Bytes it is taken to cost in memory."""
        texts = 2 * len(self.lines) + 2 * len(self.head) + len(self.key) + len(self.primary) + len(self.url)
        size = OVERHEAD + texts + _FIELD_OVERHEAD * len(self.fields) + len(self.tags) + len(self.body)
        if self.view is not None:
            size += len(self.told) + _FIELD_OVERHEAD * len(self.shown)
        if self.forms is not None:
            size += sum(form.size for form in self.forms.values() if form is not None)
        return size

    @property
    def validates(self) -> bool:
        """Has it a validator that a conditional request can carry (RFC 9110 section 8.8)?"""
        return (self.etag is not None and not self.tagged) or self.modified is not None

    def allow(self, said: Directives, settings: CacheSettings) -> None:
        """Take over what the directives say of stale use; the settings count where they say nothing."""
        self.no_cache = said.no_cache
        self.strict = said.no_cache or said.must_revalidate or said.proxy_revalidate
        self.forbids_stale = said.forbids_stale
        self.immutable = said.immutable
        if self.strict:
            return
        # An origin that writes s-maxage and one of these means both, though s-maxage alone forbids stale use.
        implied = 0.0 if said.forbids_stale else 1.0
        revalidate, error = said.stale_while_revalidate, said.stale_if_error
        self.stale_while_revalidate = implied * settings.stale_while_revalidate if revalidate is None else revalidate
        self.stale_if_error = implied * settings.stale_if_error if error is None else error
        self.stale_on_disconnect = max(self.stale_if_error, implied * settings.stale_on_disconnect)

    def fill(self, body: bytes) -> None:
        """Take the whole content and make the head."""
        self.body = body
        self.measure(len(body))

    def measure(self, length: int) -> None:
        """Make the head for content of that many bytes, which may be kept elsewhere."""
        self.length = length
        if self.digest is not None:
            self._tag(self.digest.value())
        self.head = self.head_of(length)

    def _tag(self, value: bytes) -> None:
        """Take an entity tag of all of the content; what clients saw before of the fields is out of date."""
        self.etag, self.tagged, self.digest = value, True, None
        self.fields = self.shown = (*self.fields, Field(b"etag", value, b"ETag: %b\r\n" % value))
        self.lines = self.told = b"".join(field.line for field in self.fields)
        self.view = self.policy = None

    def head_of(self, length: int) -> bytes:
        """Return `head` for content of that many bytes; negative: not known."""
        known = b"" if self.status == 204 or length < 0 else b"Content-Length: %d\r\n" % length
        return b"HTTP/1.1 %d %b\r\n%b%b" % (self.status, self.reason, self.told, known)

    def show(self, fields: tuple[Field, ...]) -> None:
        """Tell clients these fields from now on; what was made of others is dropped."""
        self.shown = fields
        self.told = b"".join(field.line for field in fields)
        self.forms = self.served = None
        if self.head:
            self.head = self.head_of(self.length)

    def age_lines(self, now: float) -> bytes:
        """Return Age, which goes with each answer from here (RFC 9111 section 4), and a policy that goes by it."""
        age = self.age(now)
        line = b"Age: %d\r\n" % age
        return line if self.policy is None else self.policy.line(age) + line

    def age(self, now: float) -> int:
        """Return the value of Age (RFC 9111 section 5.1)."""
        return max(0, int(now - self.born))

    def ttl(self, now: float) -> int:
        """Return the seconds it is still fresh, negative where it is stale (RFC 9211 section 2.4)."""
        return floor((self.born if self.no_cache else self.fresh_until) - now)
