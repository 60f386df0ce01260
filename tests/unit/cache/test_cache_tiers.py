"""Memory over disk, as the routes of two workers see it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.cache.disk.store import DiskStore
from edgewise.cache.key import KeySettings
from edgewise.cache.memory import MemoryStore
from edgewise.cache.purges import Kind, Purge
from edgewise.cache.request import CacheRequest
from edgewise.cache.route import HttpCache
from edgewise.cache.tiers import Tiers
from edgewise.contracts.cache import Fate, Found, Use
from edgewise.http.head import ResponseHead
from support.cache import NOW, SETTINGS, Lines, date, request_head, response_head

LINES = {"Cache-Control": "max-age=60", "ETag": '"a"'}


class Worker:
    """One worker's cache of one route, and what the engine does with it."""

    def __init__(self, directory: Path | None, *, memory: int = 10_000_000) -> None:
        self.disk = None if directory is None else DiskStore(directory)
        self.tiers = Tiers(MemoryStore(memory), self.disk)
        self.cache = HttpCache(self.tiers, SETTINGS, KeySettings(), lambda purges, done: None)

    def request(self, target: str = "/a", lines: Lines | None = None) -> CacheRequest:
        found = self.cache.request(request_head(target, lines), b"https")
        assert found is not None
        return found

    def answered(
        self, target: str = "/a", content: bytes = b"hello", lines: Lines | None = None, now: float = NOW
    ) -> Fate:
        """Fetch from a server that answers like this, and have it written."""
        request = self.request(target)
        head = response_head({"Date": date(now), "Content-Length": str(len(content)), **LINES, **(lines or {})})
        return self.receive(request, self.cache.find(request, now), head, content, now)

    def receive(self, request: CacheRequest, found: Found, head: ResponseHead, content: bytes, now: float) -> Fate:
        epoch = self.cache.epoch()
        receipt = self.cache.receive(request, found, head, now, now, epoch, disconnected=False)
        if receipt.fate is Fate.SHARED:
            if len(content) > self.cache.in_memory:
                body = self.cache.begin_body(request, receipt.stored)  # type: ignore[arg-type]
                assert body is not None
                body.write(content)
                self.cache.written(request, receipt.stored, body, epoch)  # type: ignore[arg-type]
            else:
                self.cache.whole(request, receipt.stored, content, epoch)  # type: ignore[arg-type]
        self.written()
        return receipt.fate

    def written(self) -> None:
        assert self.disk is None or self.disk.flush(30)

    def purge(self, purge: Purge, now: float, number: int) -> None:
        """Heed a purge that has a number."""
        assert self.disk is not None
        self.tiers.purge(purge, now)
        self.disk.purges.apply(purge, now, number)

    def use(self, target: str = "/a", now: float = NOW + 1, lines: Lines | None = None) -> Use:
        return self.cache.find(self.request(target, lines), now).use


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Worker, Worker]:
    """Two workers on one directory."""
    return Worker(tmp_path), Worker(tmp_path)


def test_what_one_worker_stored_another_answers_with_and_has_in_memory_then(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    assert one.answered() is Fate.SHARED
    request = other.request()
    assert other.cache.at_once(request, NOW + 1) is None
    found = other.cache.find(request, NOW + 1)
    assert found.use is Use.HIT
    assert found.status == b"Cache-Status: edgewise; hit; ttl=59\r\n"
    whole = other.cache.at_once(request, NOW + 1)
    assert whole is not None
    assert whole.content == b"hello"


def test_a_restart_finds_what_there_was(tmp_path: Path) -> None:
    Worker(tmp_path).answered(lines={"Vary": "Accept-Language", "Surrogate-Key": "t"})
    later = Worker(tmp_path)
    assert later.use() is Use.HIT
    assert later.use(lines={"Accept-Language": "de"}) is Use.FETCH
    assert later.disk is not None
    later.disk.purges.apply(Purge(Kind.TAG, b"t"), NOW, 1)
    again = Worker(tmp_path)
    assert again.disk is not None
    again.disk.purges.apply(Purge(Kind.TAG, b"t"), NOW, 1)
    assert again.use() is Use.FETCH


def test_what_memory_has_no_room_for_is_answered_from_disk(tmp_path: Path) -> None:
    worker = Worker(tmp_path, memory=100)
    worker.answered()
    assert (len(worker.tiers.memory), worker.use()) == (0, Use.HIT)


def test_a_stale_object_that_another_worker_renewed_is_found_on_disk(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    one.answered()
    assert other.use() is Use.HIT
    assert (one.use(now=NOW + 61), other.use(now=NOW + 61)) == (Use.FETCH, Use.FETCH)
    request = one.request()
    confirmed = response_head({"Date": date(NOW + 62), **LINES}, 304)
    assert one.receive(request, one.cache.find(request, NOW + 62), confirmed, b"", NOW + 62) is Fate.RENEWED
    assert other.use(now=NOW + 63) is Use.HIT
    assert other.cache.find(other.request(), NOW + 63).stored.body == b"hello"  # type: ignore[union-attr]


def test_an_object_that_a_304_does_not_confirm_is_not_found_on_disk_again(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    one.answered()
    request = one.request()
    other_one = response_head({"Date": date(NOW + 62), "ETag": '"b"'}, 304)
    assert one.receive(request, one.cache.find(request, NOW + 62), other_one, b"", NOW + 62) is Fate.OTHER
    found = one.cache.find(request, NOW + 62)
    assert (found.use, found.stored) == (Use.FETCH, None)
    assert other.use() is Use.FETCH


def test_what_a_304_forbids_to_store_is_gone_from_disk(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    one.answered()
    request = one.request()
    private = response_head({"Date": date(NOW + 62), **LINES, "Cache-Control": "private"}, 304)
    assert one.receive(request, one.cache.find(request, NOW + 62), private, b"", NOW + 62) is Fate.RENEWED
    assert (one.use(), other.use()) == (Use.FETCH, Use.FETCH)


def test_large_content_is_in_a_file_and_renewed_without_being_copied(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    content = b"x" * 1_000_000
    one.answered(content=content)
    assert one.tiers.memory.bytes < 10_000
    for worker in pair:
        assert worker.cache.at_once(worker.request(), NOW + 1) is None
        stored = worker.cache.find(worker.request(), NOW + 1).stored
        assert stored is not None
        file = worker.cache.open_body(stored)  # type: ignore[arg-type]
        assert file is not None
        with file:
            assert file.read() == content
    request = one.request()
    confirmed = response_head({"Date": date(NOW + 62), **LINES}, 304)
    one.receive(request, one.cache.find(request, NOW + 62), confirmed, b"", NOW + 62)
    found = other.cache.find(other.request(), NOW + 63)
    assert found.use is Use.HIT
    assert found.stored.file == stored.file  # type: ignore[union-attr]
    delivery = other.cache.deliver(other.request(), found.stored, 1_000_000, b"", NOW + 63)  # type: ignore[arg-type]
    assert (delivery.start, delivery.end) == (0, 1_000_000)


def test_an_answer_whose_file_is_gone_is_gone(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.answered(content=b"x" * 1_000_000)
    stored = worker.cache.find(worker.request(), NOW + 1).stored
    assert worker.disk is not None
    worker.disk.files.remove(stored.file)  # type: ignore[union-attr]
    assert worker.cache.open_body(stored) is None  # type: ignore[arg-type]
    assert worker.use() is Use.FETCH


def test_an_answer_whose_file_another_worker_replaced_gives_way_to_the_later_one(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    one.answered(content=b"x" * 1_000_000)
    before = one.cache.find(one.request(), NOW + 1).stored
    head = response_head({"Date": date(NOW + 2), **LINES, "Content-Length": "900000"})
    found = other.cache.find(other.request(), NOW + 2)
    other.receive(other.request(), found._replace(use=Use.FETCH, stored=None), head, b"y" * 900_000, NOW + 2)
    assert one.cache.open_body(before) is None  # type: ignore[arg-type]
    later = one.cache.find(one.request(), NOW + 3)
    assert later.use is Use.HIT
    file = one.cache.open_body(later.stored)  # type: ignore[arg-type]
    assert file is not None
    with file:
        assert file.read() == b"y" * 900_000
    one.tiers.discard(before)  # type: ignore[arg-type]
    assert Worker(one.disk.directory).use() is Use.HIT  # type: ignore[union-attr]


def test_a_workers_own_purge_is_heeded_before_it_has_a_number(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    one.answered()
    one.cache.passed(request_head("/a", {"Content-Length": "1"}, "POST"), b"https", response_head())
    assert one.disk is not None
    one.disk.pending += 1
    assert (one.use(), other.use()) == (Use.FETCH, Use.HIT)
    one.disk.purges.apply(Purge(Kind.URL, b"a.example/a"), NOW, 1)
    one.disk.pending -= 1
    assert one.use() is Use.FETCH


def test_a_fill_that_a_purge_overtook_is_stored_in_neither(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    request = one.request()
    epoch = one.cache.epoch()
    found = one.cache.find(request, NOW)
    head = response_head({"Date": date(NOW), **LINES})
    receipt = one.cache.receive(request, found, head, NOW, NOW, epoch, disconnected=False)
    for worker in pair:
        worker.purge(Purge(Kind.URL, b"a.example/a"), NOW, 1)
    one.cache.whole(request, receipt.stored, b"hello", epoch)  # type: ignore[arg-type]
    one.written()
    assert (one.use(), other.use()) == (Use.FETCH, Use.FETCH)


def test_without_a_disk_all_is_as_memory_has_it() -> None:
    worker = Worker(None)
    assert worker.cache.in_memory == worker.cache.most_bytes
    assert worker.answered() is Fate.SHARED
    assert worker.use() is Use.HIT
    stored = worker.tiers.find(worker.request(), NOW)
    assert stored is not None
    assert worker.cache.begin_body(worker.request(), stored) is None


def test_a_stale_object_is_looked_for_on_disk_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(tmp_path)
    worker.answered()
    looked: list[CacheRequest] = []
    monkeypatch.setattr(DiskStore, "find", lambda disk, request: looked.append(request))
    request = worker.request()
    for now in (NOW + 100, NOW + 100.5, NOW + 100.9, NOW + 101.1):
        worker.cache.find(request, now)
    assert len(looked) == 2


def test_what_memory_answers_with_counts_as_used_on_disk(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.answered(lines={"Cache-Control": "max-age=10000"})
    used: list[object] = []
    worker.disk.touch = used.append  # type: ignore[union-attr,method-assign]
    stored = worker.tiers.memory.find(worker.request())
    assert stored is not None
    stored.looked = NOW
    for second in (1, 2, 700, 701, 1400):
        assert worker.cache.at_once(worker.request(), NOW + second) is not None
    assert used == [stored, stored]


def test_a_report_tells_what_is_in_memory_and_what_on_disk(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    one.answered()
    assert [held["in"] for held in one.cache.report("https://a.example/a")[0]] == [["memory", "disk"]]
    assert [held["in"] for held in other.cache.report("https://a.example/a")[0]] == [["disk"]]
    assert other.cache.report("https://a.example/b") == ([], [])


_STEPS = st.lists(
    st.tuples(st.sampled_from(["answered", "use", "renew", "purge"]), st.integers(0, 1), st.integers(0, 1)), max_size=20
)


@settings(deadline=None, max_examples=40)
@given(_STEPS)
def test_two_workers_never_answer_with_what_both_purged(steps: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as directory:
        pair = Worker(Path(directory)), Worker(Path(directory))
        version = [0, 0]
        for step, (event, who, which) in enumerate(steps):
            worker, target, now = pair[who], f"/{which}", NOW + 40 * step
            if event == "answered":
                worker.answered(target, b"%d" % version[which], {"ETag": f'"{version[which]}"'}, now)
                continue
            if event == "purge":
                version[which] += 1
                for each in pair:
                    each.purge(Purge(Kind.URL, b"a.example/%d" % which), now, sum(version))
                continue
            found = worker.cache.find(worker.request(target), now)
            assert found.stored is None or found.stored.body == b"%d" % version[which]
            if event == "renew" and found.stored is not None:
                lines = {"Date": date(now), "Cache-Control": "max-age=60", "ETag": f'"{version[which]}"'}
                worker.receive(worker.request(target), found, response_head(lines, 304), b"", now)
