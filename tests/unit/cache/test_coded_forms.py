"""Coded forms of kept answers: made once, in their object's time and room, and always its content."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from edgewise.cache import coding as coding_module
from edgewise.cache.coding import ON_THE_SPOT, CodingCache
from edgewise.cache.key import KeySettings
from edgewise.cache.memory import MemoryStore
from edgewise.cache.purges import Kind, Purge
from edgewise.cache.request import CacheRequest
from edgewise.cache.settings import CacheSettings
from edgewise.cache.stored import Stored
from edgewise.cache.tiers import Tiers
from edgewise.cache.view import View
from edgewise.contracts.cache import Fate
from edgewise.contracts.compression import Compression
from edgewise.http.head import Field, RequestHead, ResponseHead, plain_head
from edgewise.protocols.http1 import parse_response_head

NOW = 1_700_000_000.0
ALL = Compression((b"br", b"zstd", b"gzip"), {b"br": 3, b"zstd": 3, b"gzip": 4}, min_size=1)
DECODERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"br": brotli.decompress,
    b"zstd": zstd.decompress,
    b"gzip": lambda data: zlib.decompress(data, 31),
}
SMALL, LARGE = b"small " * 500, b"large " * 20_000


class Threads:
    """Stands for threads: work is done when a test says so."""

    def __init__(self) -> None:
        self.work: list[tuple[Callable[[], bytes], Callable[[bytes | None], None]]] = []

    def __call__(self, work: Callable[[], bytes], then: Callable[[bytes | None], None]) -> None:
        self.work.append((work, then))

    def run(self) -> None:
        while self.work:
            work, then = self.work.pop(0)
            then(work())


class Site:
    """A cache that compresses, what is in it, and the threads it has."""

    def __init__(self, memory: int = 10_000_000, compression: Compression = ALL) -> None:
        self.store = MemoryStore(memory)
        self.threads = Threads()
        self.cache = self.remade(compression)

    def remade(self, compression: Compression) -> CodingCache:
        """Return a cache over the same store, as a reload makes one."""
        settings, keys = CacheSettings(), KeySettings()
        return CodingCache(
            Tiers(self.store),
            settings,
            keys,
            lambda purges, done: None,
            lambda ip: True,
            View(compression=compression),
            compression,
            self.threads,
        )

    def request(self, coding: bytes, path: bytes = b"/") -> CacheRequest:
        head = plain_head()
        made = self.cache.request(RequestHead(b"GET", path, path, None, 1, head.lines), b"https", coding)
        assert made is not None
        return made

    def answer(self, *lines: str) -> ResponseHead:
        given = "".join(f"{line}\r\n" for line in ("Content-Type: text/html", "Cache-Control: max-age=60", *lines))
        return parse_response_head(f"HTTP/1.1 200 OK\r\n{given}\r\n".encode())

    def keep(self, body: bytes, path: bytes = b"/", *lines: str) -> Stored:
        request, epoch = self.request(b"", path), self.cache.epoch()
        found = self.cache.find(request, NOW)
        receipt = self.cache.receive(request, found, self.answer(*lines), NOW, NOW, epoch, disconnected=False)
        assert receipt.fate is Fate.SHARED
        assert isinstance(receipt.stored, Stored)
        self.cache.whole(request, receipt.stored, body, epoch)
        return receipt.stored

    def get(self, coding: bytes, path: bytes = b"/", now: float = NOW) -> tuple[bytes, bytes]:
        """Return coding and content of a hit."""
        request = self.request(coding, path)
        whole = self.cache.at_once(request, now)
        if whole is None:
            stored = self.cache.find(request, now).stored
            assert isinstance(stored, Stored)
            form = self.cache.form(request, stored)
            return coded_by(form.fields), form.body
        return whole.head.partition(b"Content-Encoding: ")[2].partition(b"\r\n")[0], whole.content

    def counted(self) -> int:
        """Return what the objects of the store cost now."""
        return sum(stored.size for stored in self.store.under(self.request(b"").key))


def coded_by(fields: tuple[Field, ...]) -> bytes:
    return next((field.value for field in fields if field.name == b"content-encoding"), b"")


@given(body=st.one_of(st.binary(max_size=4000), st.binary(min_size=1, max_size=40).map(lambda word: word * 700)))
def test_a_coded_answer_decodes_to_the_content(body: bytes) -> None:
    site = Site()
    site.keep(body)
    for coding, decode in DECODERS.items():
        for _ in range(2):
            found, content = site.get(coding)
            site.threads.run()
            assert found in (b"", coding)
            assert (decode(content) if found else content) == body
    assert site.store.bytes == site.counted()


def test_small_content_is_coded_on_the_spot_and_large_by_a_thread() -> None:
    site = Site()
    site.keep(SMALL, b"/small")
    site.keep(LARGE, b"/large")
    assert site.get(b"br", b"/small")[0] == b"br"
    assert site.get(b"br", b"/large") == (b"", LARGE)
    assert site.get(b"br", b"/large") == (b"", LARGE)
    assert len(site.threads.work) == 1
    site.threads.run()
    assert site.get(b"br", b"/large")[0] == b"br"
    assert len(SMALL) <= ON_THE_SPOT < len(LARGE)


def test_a_form_is_made_once() -> None:
    site = Site()
    site.keep(SMALL)
    first = site.cache.at_once(site.request(b"gzip"), NOW)
    assert first is not None
    assert site.cache.at_once(site.request(b"gzip"), NOW) is first
    later = site.cache.at_once(site.request(b"gzip"), NOW + 5)
    assert later is not None
    assert later.content is first.content
    assert b"Age: 5\r\n" in later.head


def test_forms_cost_room_and_give_it_back() -> None:
    site = Site()
    stored = site.keep(SMALL)
    plain = site.store.bytes
    for coding in DECODERS:
        site.get(coding)
    assert site.store.bytes == stored.size > plain + 3 * 1000
    site.store.purge(Purge(Kind.ALL), NOW)
    assert site.cache.find(site.request(b"br"), NOW).stored is None
    assert site.store.bytes == 0


def test_forms_that_find_no_room_make_some() -> None:
    def filled(memory: int) -> Site:
        site = Site(memory)
        site.keep(b"0" * 9000, b"/0")
        site.keep(b"1" * 3000, b"/1")
        for coding in DECODERS:
            assert site.get(coding, b"/1")[0] == coding
        return site

    roomy = filled(1_000_000)
    assert len(roomy.store) == 2
    crowded = filled(roomy.store.bytes - 1)
    assert len(crowded.store) == 1
    assert crowded.store.bytes < roomy.store.bytes - 9000


@pytest.mark.parametrize("end", ["purged", "replaced", "evicted"])
def test_a_form_that_comes_after_the_end_of_its_object_is_dropped(end: str) -> None:
    site = Site(memory=200_000)
    stored = site.keep(LARGE)
    site.get(b"br")
    if end == "purged":
        site.store.purge(Purge(Kind.ALL), NOW)
        assert site.cache.find(site.request(b"br"), NOW).stored is None
    elif end == "replaced":
        site.keep(SMALL)
    else:
        site.keep(LARGE, b"/other")
    before = site.store.bytes
    site.threads.run()
    assert site.store.bytes == before
    assert stored.forms == {b"br": None}
    if end == "replaced":
        assert DECODERS[b"br"](site.get(b"br")[1]) == SMALL


def test_a_form_that_takes_too_much_of_the_memory_is_not_kept() -> None:
    site = Site(memory=1_000_000)
    body = random.Random(1).randbytes(140_000).hex().encode()
    site.keep(body)
    site.get(b"gzip")
    site.threads.run()
    assert site.get(b"gzip") == (b"", body)
    assert len(site.store) == 1


def test_a_thread_that_fails_leaves_the_content_as_it_is() -> None:
    site = Site()
    site.keep(LARGE)
    site.get(b"br")
    _, then = site.threads.work.pop()
    then(None)
    assert site.get(b"br") == (b"", LARGE)
    assert site.threads.work == []


def test_what_threads_cannot_take_now_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding_module, "MOST_WAITING", 2 * len(LARGE) - 1)
    site = Site()
    for path in (b"/1", b"/2"):
        site.keep(LARGE, path)
        assert site.get(b"br", path) == (b"", LARGE)
    assert len(site.threads.work) == 1
    site.threads.run()
    site.get(b"br", b"/2")
    site.threads.run()
    assert [site.get(b"br", path)[0] for path in (b"/1", b"/2")] == [b"br", b"br"]


def test_rfc9111_4_3_4_a_304_keeps_the_forms_and_changes_their_fields() -> None:
    site = Site()
    site.keep(SMALL, b"/", 'ETag: "1"')
    first = site.get(b"br")
    request, epoch = site.request(b"br"), site.cache.epoch()
    found = site.cache.find(request, NOW + 61)
    renewed = parse_response_head(b'HTTP/1.1 304 X\r\nETag: "1"\r\nCache-Control: max-age=60\r\nX-New: 1\r\n\r\n')
    receipt = site.cache.receive(request, found, renewed, NOW + 61, NOW + 61, epoch, disconnected=False)
    assert receipt.fate is Fate.RENEWED
    whole = site.cache.at_once(request, NOW + 61)
    assert whole is not None
    assert whole.content is first[1]
    assert b"X-New: 1\r\n" in whole.head
    assert b"Age: 0\r\n" in whole.head
    assert site.store.bytes == site.counted()


def test_a_reload_with_other_settings_makes_forms_anew() -> None:
    site = Site()
    site.keep(SMALL)
    assert site.get(b"br")[0] == b"br"
    site.cache = site.remade(Compression((b"br",), {b"br": 3}, types=(b"image/*",)))
    assert site.get(b"br", now=NOW + 1) == (b"", SMALL)
    site.cache = site.remade(ALL)
    assert site.get(b"br", now=NOW + 2)[0] == b"br"
    assert site.store.bytes == site.counted()
