"""The cache of one route: what the pure parts decide, put together for the engine (a `contracts.cache.RouteCache`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import FileIO
from time import time
from typing import Any

from edgewise.cache import status as cache_status
from edgewise.cache.answering import answer
from edgewise.cache.fetching import NAME, Fetching
from edgewise.cache.invalidation import invalidated
from edgewise.cache.key import KeySettings, purge_url
from edgewise.cache.purges import Kind, Purge
from edgewise.cache.report import report
from edgewise.cache.request import CacheRequest, Requests
from edgewise.cache.reuse import Use as Reuse
from edgewise.cache.reuse import decide
from edgewise.cache.settings import CacheSettings
from edgewise.cache.slicing import fits, slice_key
from edgewise.cache.status import Forwarded
from edgewise.cache.stored import Stored
from edgewise.cache.tags import named_tags
from edgewise.cache.tiers import Tiers
from edgewise.cache.view import View, show
from edgewise.contracts.cache import Delivery, Found, Part, Use, Whole
from edgewise.contracts.compression import Compression
from edgewise.http.head import RequestHead, ResponseHead

_HIT = cache_status.hit_template(NAME)
_AT_ONCE = 65536
"""Bytes of content that are given to a client in one go."""
_OF_REUSE = {
    Reuse.FRESH: Use.HIT,
    Reuse.STALE: Use.HIT,
    Reuse.REVALIDATE: Use.STALE,
    Reuse.VALIDATE: Use.FETCH,
    Reuse.UNSATISFIED: Use.UNSATISFIED,
}


class HttpCache(Fetching):
    """What a route stores and answers from; `store` is the worker's, shared by its routes."""

    def __init__(
        self,
        store: Tiers,
        settings: CacheSettings,
        keys: KeySettings,
        purged: Callable[[list[Purge], Callable[[], None] | None], None],
        may_purge: Callable[[str], bool] = lambda ip: False,
        view: View | None = None,
    ) -> None:
        """`purged(purges, done)` tells other workers and nodes of what a request made invalid; `done`, where given, is
        called once the workers have heeded it. `may_purge` tells whether a client's PURGE requests are obeyed; `view`
        what clients see of answers, None: all that servers say.
        """
        super().__init__(store, settings, keys, view)
        self.compression: Compression | None = None
        self.device = self._keys.device
        self._requests = Requests(self._keys, settings)
        self._purged = purged
        self._may_purge = may_purge

    def request(self, head: RequestHead, scheme: bytes, coding: bytes = b"") -> CacheRequest | None:
        """Return what a request head says to the cache; None where it cannot be answered from one."""
        return self._requests.of(head, scheme, coding)

    def at_once(self, request: CacheRequest, now: float) -> Whole | None:
        """Return the whole answer where it is stored, fresh and small, made once a second."""
        if not request.said.straight:
            return None
        stored = self._memory.find(request)
        if stored is None or now >= stored.fresh_until:
            return None
        served = stored.served
        if served is not None and served.second == int(now):
            return served
        return self._prepared(stored, stored, request, now)

    def _prepared(self, stored: Stored, form: Stored, request: CacheRequest, now: float) -> Whole | None:
        """Return the answer of this second: `form` of a stored response, which may be that itself."""
        if form.length > _AT_ONCE:
            return None
        if form.view is not self.view:
            self._show(form)
        status, head, _, _ = answer(form, request, now, _HIT % stored.ttl(now))
        self._store.used(stored, now)
        served = form.served = Whole(int(now), status, head + b"\r\n", form.body)
        return served

    def find(self, request: CacheRequest | None, now: float) -> Found:
        """Return how a request is answered."""
        if request is None:
            return Found(Use.PASS, b"", None, cache_status.forwarded(NAME, Forwarded.BYPASS))
        stored = self._store.find(request, now)
        if stored is None:
            return self._missed(request, now)
        self._store.used(stored, now)
        use = _OF_REUSE[decide(stored, request, now)]
        if use is Use.HIT:
            return Found(use, stored.key, stored, _HIT % stored.ttl(now))
        if use is Use.STALE:
            return Found(use, stored.key, stored, _HIT % stored.ttl(now), self._slicing.first(request, now))
        why = Forwarded.STALE if now >= stored.fresh_until else Forwarded.REQUEST
        return Found(use, stored.key, stored, cache_status.forwarded(NAME, why), self._slicing.first(request, now))

    def _missed(self, request: CacheRequest, now: float) -> Found:
        varies = self._varies.get(request.key)
        why = Forwarded.URI_MISS if varies is None else Forwarded.VARY_MISS
        use = Use.FETCH
        if request.said.only_if_cached:
            use = Use.UNSATISFIED
        elif request.said.no_store:
            use, why = Use.PASS, Forwarded.REQUEST
        elif self._unshared.get(request.key, 0.0) > now:
            use = Use.PASS
        key = request.key if varies is None else request.variant(varies)
        return Found(use, key, None, cache_status.forwarded(NAME, why), self._slicing.first(request, now))

    def slice(self, request: CacheRequest, stored: Stored, number: int) -> Found:
        """Return where a slice of a stored object comes from; one of what the object was before is dropped."""
        key = slice_key(stored, number)
        part = self._store.get(key)
        if part is not None and fits(stored, number, part):
            return Found(Use.HIT, key, part, b"")
        if part is not None and part.received < stored.received:
            self._store.discard(part)
        if request.said.only_if_cached:
            return Found(Use.UNSATISFIED, key, None, b"")
        return self.missing(request, stored, number)

    def missing(self, request: CacheRequest, stored: Stored, number: int) -> Found:
        """Return what a fetch of a slice goes by."""
        line = cache_status.forwarded(NAME, Forwarded.PARTIAL, stored=True)
        return Found(Use.FETCH, slice_key(stored, number), None, line, Part(number, stored.slice, stored))

    def fits(self, stored: Stored, number: int, part: Stored) -> bool:
        """Is `part` the slice of this number of the object, as that is now?"""
        return fits(stored, number, part)

    def open_body(self, stored: Stored) -> FileIO | None:
        """Return the file that holds the content of a stored answer; None: it is gone, so ask `find` again.

        Another worker stored a later one, or room was needed on disk.
        """
        disk = self._store.disk
        file = None if disk is None else disk.open_body(stored)
        if file is None:
            self._memory.discard(stored)
        return file

    def report(self, text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return what is stored of a URL, and why what is not was not. Raises ValueError where it is none."""
        return report(self._store, self._keys, self._refused, text, time())

    # ---- answering ---------------------------------------------------------------------------------------------------

    def deliver(self, request: CacheRequest, stored: Stored, length: int, status: bytes, now: float) -> Delivery:
        """Prepare an answer; of what is still being fetched, a part where its length is known."""
        if stored.view is not self.view:
            self._show(stored)
        prepared = answer(stored, request, now, status, stored.length if stored.head else length)
        if stored.head or prepared.status != stored.status:
            return Delivery(*prepared)
        head = b"%b%b%b" % (stored.head_of(length), stored.age_lines(now), status)
        return Delivery(stored.status, head, 0, length)

    def form(self, request: CacheRequest, stored: Stored) -> Stored:
        """Return the form of a stored response that a client gets."""
        return stored

    def _show(self, stored: Stored) -> None:
        """Prepare what clients see of a response, in the store or on its way there."""
        change = partial(show, stored, self.view)
        if not self._memory.amend(stored, change):
            change()

    def collapsed(self, request: CacheRequest) -> bytes:
        """Return the Cache-Status line for a request that waited for another one's answer."""
        return cache_status.forwarded(NAME, Forwarded.URI_MISS, collapsed=True)

    def passed(self, head: RequestHead, scheme: bytes, response: ResponseHead) -> None:
        """Forget what a request changed, here and everywhere."""
        purges = invalidated(head, scheme, self._keys, response)
        if purges:
            self._purge(purges, None)

    def purge(self, head: RequestHead, scheme: bytes, ip: str, done: Callable[[], None]) -> bool | None:
        """Forget a URL with all its variants, or the tags that the request names, here and everywhere."""
        if not self.settings.purge_from:
            return None
        if not self._may_purge(ip):
            return False
        tags = named_tags(head.fields)
        by_url = Purge(Kind.URL, self._keys.url_of(head, scheme))
        self._purge([Purge(Kind.TAG, tag) for tag in tags] or [by_url], done)
        return True

    def _purge(self, purges: list[Purge], done: Callable[[], None] | None) -> None:
        for purge in purges:
            self._store.purge(purge, time())
        self._purged(purges, done)

    def url(self, text: str) -> bytes:
        """Return what a purge of a URL goes by. Raises ValueError where it is none with a host."""
        return purge_url(text, self._keys)
