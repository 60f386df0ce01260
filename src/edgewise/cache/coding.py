"""The cache of a route that compresses: an answer in a coding is made once, and kept beside the answer itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import FileIO

from edgewise.cache.key import KeySettings
from edgewise.cache.purges import Purge
from edgewise.cache.request import CacheRequest
from edgewise.cache.route import HttpCache
from edgewise.cache.settings import CacheSettings
from edgewise.cache.stored import Stored
from edgewise.cache.tiers import Tiers
from edgewise.cache.view import View, coded_form
from edgewise.contracts.cache import Whole
from edgewise.contracts.coded_heads import covered
from edgewise.contracts.compression import Compression
from edgewise.protocols.content_coding import make_encoder

ON_THE_SPOT = 16_384
"""Bytes of content that are encoded at once, a third of a millisecond at most; more is for a thread."""
MOST_WAITING = 33_554_432
"""Bytes of content that threads have to encode at a time: what comes then goes out as it is, and is tried again."""
SHARE = 8
"""A form may take one in so many bytes of the memory."""

Aside = Callable[[Callable[[], bytes], Callable[[bytes | None], None]], None]
"""Have a thread do the first; then, in the loop's own, call the second with what came of it, None where it failed."""


class CodingCache(HttpCache):
    """Answers in the coding that the client prefers, once there is that form of the object.

    Forms cost room as objects do, are found by their object only, and go with it.
    """

    def __init__(
        self,
        store: Tiers,
        settings: CacheSettings,
        keys: KeySettings,
        purged: Callable[[list[Purge], Callable[[], None] | None], None],
        may_purge: Callable[[str], bool],
        view: View,
        compression: Compression,
        aside: Aside,
    ) -> None:
        super().__init__(store, settings, keys, purged, may_purge, view)
        self.compression = self._compression = compression
        self._aside = aside
        self._waiting = 0
        """Bytes of content that threads have to encode."""

    def at_once(self, request: CacheRequest, now: float) -> Whole | None:
        """As for any route, with the form of the object that the client prefers."""
        if not request.said.straight:
            return None
        stored = self._memory.find(request)
        if stored is None or now >= stored.fresh_until:
            return None
        form: Stored | None = stored
        coding = request.coding
        if coding:
            forms = stored.forms
            form = None if forms is None else forms.get(coding)
            if form is None or stored.view is not self.view:
                form = self._form(stored, coding)
        assert form is not None
        served = form.served
        if served is not None and served.second == int(now):
            return served
        return self._prepared(stored, form, request, now)

    def form(self, request: CacheRequest, stored: Stored) -> Stored:
        """Return what a client gets of an object: a form of it; where there is none, or a part is wanted, itself."""
        if not request.coding or request.said.ranged or not stored.head:
            return stored
        if stored.view is not self.view:
            self._show(stored)
        return (stored.forms or {}).get(request.coding) or self._form(stored, request.coding)

    def _form(self, stored: Stored, coding: bytes) -> Stored:
        """Return a form that was not found: made on the spot, or the object itself while a thread makes it."""
        if stored.view is not self.view:
            self._show(stored)
        if stored.forms is None:
            stored.forms = {} if self._qualifies(stored) else dict.fromkeys(self._compression.codings)
        if coding in stored.forms:
            return stored
        if stored.length <= ON_THE_SPOT:
            stored.forms[coding] = None
            self._attach(stored, coding, self._encode(coding, stored.body))
            return stored.forms[coding] or stored
        if self._waiting + stored.length <= MOST_WAITING:
            stored.forms[coding] = None
            self._have_encoded(stored, coding)
        return stored

    def _qualifies(self, stored: Stored) -> bool:
        whole = bool(stored.file) or len(stored.body) == stored.length
        return whole and covered(self._compression, stored.status, stored.shown, stored.length)

    def _have_encoded(self, stored: Stored, coding: bytes) -> None:
        """Have a thread encode content, of a file too."""
        if stored.file:
            file = self.open_body(stored)
            if file is None:
                return
            work = partial(self._encode_file, coding, file)
        else:
            work = partial(self._encode, coding, stored.body)
        self._waiting += stored.length
        self._aside(work, partial(self._encoded, stored, coding))

    def _encode_file(self, coding: bytes, file: FileIO) -> bytes:
        with file:
            return self._encode(coding, file.read())

    def _encode(self, coding: bytes, content: bytes) -> bytes:
        return make_encoder(coding, self._compression.levels[coding], len(content)).finish(content)

    def _encoded(self, stored: Stored, coding: bytes, coded: bytes | None) -> None:
        """A thread has done its work, or failed."""
        self._waiting -= stored.length
        if coded is not None and stored.view is self.view:
            self._attach(stored, coding, coded)

    def _attach(self, stored: Stored, coding: bytes, coded: bytes) -> None:
        """Keep a form, unless it saves nothing, takes too much, or its object is gone meanwhile, by whatever way."""
        if len(coded) < stored.length and len(coded) <= self._memory.max_bytes // SHARE:
            self._memory.amend(stored, partial(_add, stored, coding, coded_form(stored, coding, coded)))

    def _renewed(self, before: Stored, fresh: Stored) -> None:
        """A server confirmed an object: its content is what it was, and so are the forms of that."""
        self._show(fresh)
        if before.forms is None or before.view is not self.view or not self._qualifies(fresh):
            return
        made = [(coding, form.body) for coding, form in before.forms.items() if form is not None]
        fresh.forms = {coding: coded_form(fresh, coding, content) for coding, content in made}


def _add(stored: Stored, coding: bytes, form: Stored) -> None:
    assert stored.forms is not None
    stored.forms[coding] = form
