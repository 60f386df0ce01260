"""The cache of one route: what the pure parts decide, put together for the engine (a `contracts.cache.RouteCache`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import FileIO
from time import time
from typing import Any

from edgewise.cache import status as cache_status
from edgewise.cache.answering import answer
from edgewise.cache.directives import joined
from edgewise.cache.disk.body import BodyWriter
from edgewise.cache.disk.layout import INLINE
from edgewise.cache.entity_tag import ContentTag
from edgewise.cache.invalidation import invalidated
from edgewise.cache.key import Keys, KeySettings, purge_url
from edgewise.cache.purges import Kind, Purge
from edgewise.cache.recent import remember
from edgewise.cache.report import Refused, report
from edgewise.cache.request import CacheRequest, Requests, Said
from edgewise.cache.reuse import ERRORS, decide, usable_on_error
from edgewise.cache.reuse import Use as Reuse
from edgewise.cache.settings import CacheSettings
from edgewise.cache.slicing import (
    UNFIT,
    Sliced,
    Slicing,
    asked_range,
    count,
    fits,
    same_content,
    slice_key,
)
from edgewise.cache.status import Forwarded
from edgewise.cache.stored import Stored
from edgewise.cache.storing import Refusal, judge, withheld
from edgewise.cache.tags import named_tags
from edgewise.cache.tiers import Epoch, Tiers
from edgewise.cache.validation import CONDITIONS, confirms, freshen, validators
from edgewise.cache.vary import codings
from edgewise.cache.view import View, show
from edgewise.contracts.cache import Asked, Delivery, Fate, Found, Part, Receipt, Use, Whole
from edgewise.contracts.compression import Compression
from edgewise.http.head import Field, RequestHead, ResponseHead

NAME = "edgewise"
"""Of this cache in Cache-Status."""
_HIT = cache_status.hit_template(NAME)
_AT_ONCE = 65536
"""Bytes of content that are given to a client in one go."""
_UNSHARED_SECONDS = 120.0
"""Time for which requests for what could not be stored do not wait for one another."""
_OF_REUSE = {
    Reuse.FRESH: Use.HIT,
    Reuse.STALE: Use.HIT,
    Reuse.REVALIDATE: Use.STALE,
    Reuse.VALIDATE: Use.FETCH,
    Reuse.UNSATISFIED: Use.UNSATISFIED,
}


class HttpCache:
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
        self.view = view
        self.compression: Compression | None = None
        self.settings = settings
        self.key_settings = keys
        self.most_bytes = settings.most_bytes
        self.in_memory = max(self.most_bytes, settings.slice) if store.disk is None else INLINE
        self._store = store
        self._memory = store.memory
        self._keys = Keys(keys)
        self.device = self._keys.device
        self._requests = Requests(self._keys, settings)
        self._slicing = Slicing(settings)
        self._purged = purged
        self._may_purge = may_purge
        self._unshared: dict[bytes, float] = {}
        """Key -> time until which its requests go to a server one by one, the oldest first."""
        self._varies: dict[bytes, tuple[bytes, ...]] = {}
        """Key -> what its latest answer varies on, the oldest first."""
        self._refused: dict[bytes, Refused] = {}
        """Key -> why its latest answer was not stored, the oldest first."""

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

    # ---- fetching ----------------------------------------------------------------------------------------------------

    def asked(self, request: CacheRequest, found: Found) -> Asked:
        """Return the fields of a request for a response or a slice of it, or for one in place of what is stored.

        Accept-Encoding is what variants are told apart by, so that no server sees more than the key tells.
        """
        fields = [field for field in request.head.fields if field.name not in CONDITIONS]
        value = joined(fields, b"accept-encoding")
        if value is not None:
            fields = [field for field in fields if field.name != b"accept-encoding"]
            fields.append(_field(b"Accept-Encoding", codings(value)))
        if found.part is not None:
            fields.append(_field(b"Range", asked_range(found.part)))
        if found.stored is not None:
            assert isinstance(found.stored, Stored)
            for line in validators(found.stored).splitlines():
                name, _, value = line.partition(b": ")
                fields.append(_field(name, value))
        return Asked(tuple(fields), self._keys.query(request.head.query))

    def epoch(self) -> Epoch:
        """Return the epoch for a fetch that begins now."""
        return self._store.epoch

    def joins(self, request: CacheRequest, epoch: Epoch) -> bool:
        """May a request that comes now be answered by a fetch that began at `epoch`?"""
        return self._store.unpurged(request.url, epoch)

    def receive(
        self,
        request: CacheRequest,
        found: Found,
        response: ResponseHead,
        asked: float,
        now: float,
        epoch: Epoch,
        *,
        disconnected: bool,
    ) -> Receipt:
        """Decide about a server's answer; `disconnected`: about our own, since none came."""
        part, before = found.part, found.stored
        assert before is None or isinstance(before, Stored)
        if part is not None and part.of is not None:
            return self._slice_received(request, part, response, asked, now)
        if before is not None and response.status == 304:
            return self._validated(request, before, response, asked, now, epoch)
        why = Forwarded.STALE if before is not None else Forwarded.URI_MISS
        failed = response.status in ERRORS
        if failed and before is not None and usable_on_error(before, request, now, disconnected=disconnected):
            told = "disconnected" if disconnected else "stale-if-error"
            status = 0 if disconnected else response.status
            line = cache_status.forwarded(NAME, why, status=status, ttl=before.ttl(now), detail=told)
            return Receipt(Fate.STOOD_IN, before, line)
        partial = part is not None and response.status in (206, 416)
        judged: Sliced | Stored | Refusal
        if partial:
            assert part is not None
            judged = self._judge_part(request, part, response, asked, now)
        else:
            judged = judge(self._fetched_by(request), response, self.settings, asked, now)
        if isinstance(judged, Refusal):
            if response.status < 500 and judged is not UNFIT:
                remember(self._unshared, request.key, now + _UNSHARED_SECONDS)
            self._refuse(request, judged.reason)
            if partial or (judged.reason == "size" and request.said.ranged and response.status == 200):
                self._replaced(before, None)
                return Receipt(Fate.OTHER, None, b"")
            return Receipt(Fate.PRIVATE, None, cache_status.forwarded(NAME, why, detail=judged.reason))
        stored = judged.stored if isinstance(judged, Sliced) else judged
        self._unshared.pop(request.key, None)
        if stored.vary:
            remember(self._varies, request.key, stored.vary)
        self._replaced(before, stored)
        line = cache_status.forwarded(NAME, why, stored=True, ttl=stored.ttl(now))
        line += withheld(response, stored, self.settings)
        if not isinstance(judged, Sliced):
            if self.settings.etag and stored.status == 200 and response.get(b"etag") is None:
                stored.digest = ContentTag(weak=self.settings.etag == "weak")
            return Receipt(Fate.SHARED, stored, line)
        self._keep(request, stored, epoch)
        return Receipt(Fate.SLICE, stored, line, judged.part)

    def _judge_part(
        self, request: CacheRequest, part: Part, response: ResponseHead, asked: float, now: float
    ) -> Sliced | Stored | Refusal:
        """Decide about what came for the first slice that was asked for of an object: a 206, or that there is none."""
        if response.status == 416:
            self._slicing.unsatisfied(request, part, now)
            return UNFIT
        fetched_by = self._fetched_by(request)
        judged = self._slicing.judge(fetched_by, part, response, asked, now)
        if judged is UNFIT:
            self._slicing.ask_whole(request, now)
        if isinstance(judged, ResponseHead):
            return judge(fetched_by, judged, self.settings, asked, now)
        return judged

    def _slice_received(
        self, request: CacheRequest, part: Part, response: ResponseHead, asked: float, now: float
    ) -> Receipt:
        """Decide about what came for a slice of an object that is known."""
        assert isinstance(part.of, Stored)
        if response.status >= 500 or response.status == 429:
            return Receipt(Fate.PRIVATE, None, b"")
        found, refused = self._slicing.slice_of(self._fetched_by(request), part, response, asked, now)
        if found is not None:
            return Receipt(Fate.PRIVATE if refused else Fate.SLICE, part.of, b"", found)
        current = self._store.get(part.of.key)
        if current is not None and same_content(current, part.of):
            self._slicing.changed(request, now)
            self._replaced(current, None)
        return Receipt(Fate.OTHER, None, b"")

    def _replaced(self, before: Stored | None, stored: Stored | None) -> None:
        """A server sent something else than was stored before: drop what cannot be used any more."""
        if before is None or (stored is not None and same_content(before, stored)):
            return
        if stored is None:
            self._store.discard(before)
        for number in range(count(before)):
            part = self._memory.get(slice_key(before, number))  # on disk it fits no more, and is written over
            if part is not None:
                self._memory.discard(part)

    def _fetched_by(self, request: CacheRequest) -> CacheRequest:
        """Return the request as it was sent: a GET, whose answer serves HEAD too."""
        head = request.head
        if not request.said.head_only:
            return request
        asked = RequestHead(b"GET", head.target, head.path, head.query, head.minor, head.lines, head.secret)
        return CacheRequest(asked, request.scheme, self._keys, Said(asked, self.settings))

    def _validated(
        self, request: CacheRequest, before: Stored, response: ResponseHead, asked: float, now: float, epoch: Epoch
    ) -> Receipt:
        if not confirms(before, response):
            self._store.discard(before)
            return Receipt(Fate.OTHER, None, b"")
        fresh, reason = freshen(before, self._fetched_by(request), response, self.settings, asked, now)
        if reason:
            self._refuse(request, reason)
            self._store.discard(before)
            fresh.view = self.view  # as its server has it: what is not kept is not told in other words
        else:
            self._renewed(before, fresh)
            self._store.put(fresh, epoch)
        line = cache_status.forwarded(
            NAME, Forwarded.STALE, status=304, stored=not reason, ttl=fresh.ttl(now), detail=reason
        )
        return Receipt(Fate.RENEWED, fresh, line + withheld(response, fresh, self.settings))

    def _renewed(self, before: Stored, fresh: Stored) -> None:
        """A server confirmed what was stored: `fresh` takes its place, with the same content."""

    def shares(self, request: CacheRequest, stored: Stored, now: float) -> Use:
        """May an answer that just came answer another request that waited for it?"""
        if request.key != stored.primary or request.variant(stored.vary) != stored.key:
            return Use.FETCH
        return Use.HIT if decide(stored, request, now) < Reuse.VALIDATE else Use.PASS

    def whole(self, request: CacheRequest, stored: Stored, content: bytes, epoch: Epoch) -> None:
        """Keep an answer whose content came whole."""
        stored.fill(content)
        self._keep(request, stored, epoch)

    def begin_body(self, request: CacheRequest, stored: Stored) -> BodyWriter | None:
        """Return where the content of an answer is kept that is longer than `in_memory`; None: it is not kept."""
        disk = self._store.disk
        body = None if disk is None else disk.begin_body(stored)
        if body is None:
            self._refuse(request, "disk")
        return body

    def written(self, request: CacheRequest, stored: Stored, body: BodyWriter, epoch: Epoch) -> None:
        """Keep an answer whose content came whole into `body`."""
        if body.commit(stored):
            self._keep(request, stored, epoch)
        else:
            self._refuse(request, "disk")

    def _keep(self, request: CacheRequest, stored: Stored, epoch: Epoch) -> None:
        if self._store.put(stored, epoch):
            self._refused.pop(request.key, None)
        else:
            self._refuse(request, "purged while it was fetched, older than what is stored, or larger than the memory")

    def open_body(self, stored: Stored) -> FileIO | None:
        """Return the file that holds the content of a stored answer; None: it is gone, so ask `find` again.

        Another worker stored a later one, or room was needed on disk.
        """
        disk = self._store.disk
        file = None if disk is None else disk.open_body(stored)
        if file is None:
            self._memory.discard(stored)
        return file

    def outgrew(self, request: CacheRequest) -> None:
        """An answer that was to be stored is longer than `most_bytes`."""
        self._refuse(request, "size")

    def _refuse(self, request: CacheRequest, reason: str) -> None:
        remember(self._refused, request.key, Refused(reason, time()))

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


def _field(name: bytes, value: bytes) -> Field:
    return Field(name.lower(), value, b"%b: %b\r\n" % (name, value))
