"""The part of a route's cache that fetches go by: what servers are asked for, and what becomes of their answers."""

from __future__ import annotations

from time import time

from edgewise.cache import status as cache_status
from edgewise.cache.directives import joined
from edgewise.cache.disk.body import BodyWriter
from edgewise.cache.disk.layout import INLINE
from edgewise.cache.entity_tag import ContentTag
from edgewise.cache.key import Keys, KeySettings
from edgewise.cache.recent import remember
from edgewise.cache.report import Refused
from edgewise.cache.request import CacheRequest, Said
from edgewise.cache.reuse import ERRORS, decide, usable_on_error
from edgewise.cache.reuse import Use as Reuse
from edgewise.cache.settings import CacheSettings
from edgewise.cache.slicing import UNFIT, Sliced, Slicing, asked_range, count, same_content, slice_key
from edgewise.cache.status import Forwarded
from edgewise.cache.stored import Stored
from edgewise.cache.storing import Refusal, judge, withheld
from edgewise.cache.tiers import Epoch, Tiers
from edgewise.cache.validation import CONDITIONS, confirms, freshen, validators
from edgewise.cache.vary import codings
from edgewise.cache.view import View
from edgewise.contracts.cache import Asked, Fate, Found, Part, Receipt, Use
from edgewise.http.head import Field, RequestHead, ResponseHead

NAME = "edgewise"
"""Of this cache in Cache-Status."""
_UNSHARED_SECONDS = 120.0
"""Time for which requests for what could not be stored do not wait for one another."""


class Fetching:
    """What a route's servers are asked, and what of their answers is stored."""

    def __init__(self, store: Tiers, settings: CacheSettings, keys: KeySettings, view: View | None) -> None:
        """`view`: what clients see of answers, None: all that servers say."""
        self.view = view
        self.settings = settings
        self.key_settings = keys
        self.most_bytes = settings.most_bytes
        self.in_memory = max(self.most_bytes, settings.slice) if store.disk is None else INLINE
        self._store = store
        self._memory = store.memory
        self._keys = Keys(keys)
        self._slicing = Slicing(settings)
        self._unshared: dict[bytes, float] = {}
        """Key -> time until which its requests go to a server one by one, the oldest first."""
        self._varies: dict[bytes, tuple[bytes, ...]] = {}
        """Key -> what its latest answer varies on, the oldest first."""
        self._refused: dict[bytes, Refused] = {}
        """Key -> why its latest answer was not stored, the oldest first."""

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
        judged = self._judge(request, part, response, asked, now)
        if isinstance(judged, Refusal):
            return self._not_kept(request, found, response, judged, why, now)
        stored = judged.stored if isinstance(judged, Sliced) else judged
        self._unshared.pop(request.key, None)
        if stored.vary:
            remember(self._varies, request.key, stored.vary)
        self._replaced(before, stored)
        line = cache_status.forwarded(NAME, why, stored=True, ttl=stored.ttl(now))
        line += withheld(response, stored, self.settings)
        if isinstance(judged, Sliced):
            self._keep(request, stored, epoch)
            return Receipt(Fate.SLICE, stored, line, judged.part)
        if self.settings.etag and stored.status == 200 and response.get(b"etag") is None:
            stored.digest = ContentTag(weak=self.settings.etag == "weak")
        return Receipt(Fate.SHARED, stored, line)

    def _not_kept(
        self, request: CacheRequest, found: Found, response: ResponseHead, refusal: Refusal, why: Forwarded, now: float
    ) -> Receipt:
        """An answer is for the one who asked; where its content was asked for in parts, it is asked for anew."""
        if response.status < 500 and refusal is not UNFIT:
            remember(self._unshared, request.key, now + _UNSHARED_SECONDS)
        self._refuse(request, refusal.reason)
        too_large = refusal.reason == "size" and request.said.ranged and response.status == 200
        if too_large or _of_a_part(found.part, response):
            before = found.stored
            assert before is None or isinstance(before, Stored)
            self._replaced(before, None)
            return Receipt(Fate.OTHER, None, b"")
        return Receipt(Fate.PRIVATE, None, cache_status.forwarded(NAME, why, detail=refusal.reason))

    def _judge(
        self, request: CacheRequest, part: Part | None, response: ResponseHead, asked: float, now: float
    ) -> Sliced | Stored | Refusal:
        """Decide about an answer that is no news of what is stored."""
        if part is not None and _of_a_part(part, response):
            return self._judge_part(request, part, response, asked, now)
        return judge(self._fetched_by(request), response, self.settings, asked, now)

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

    def outgrew(self, request: CacheRequest) -> None:
        """An answer that was to be stored is longer than `most_bytes`."""
        self._refuse(request, "size")

    def _refuse(self, request: CacheRequest, reason: str) -> None:
        remember(self._refused, request.key, Refused(reason, time()))


def _field(name: bytes, value: bytes) -> Field:
    return Field(name.lower(), value, b"%b: %b\r\n" % (name, value))


def _of_a_part(part: Part | None, response: ResponseHead) -> bool:
    """Was a part asked for, and does the answer speak of parts?"""
    return part is not None and response.status in (206, 416)
