"""The store on disk: shared by the workers of a machine, never wrong, and only not there where the disk fails."""

from __future__ import annotations

import errno
import os
import subprocess
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.cache.disk import layout, writer
from edgewise.cache.disk.store import DiskStore
from edgewise.cache.memory import MOST_VARIANTS
from edgewise.cache.purges import Kind, Purge
from edgewise.cache.request import CacheRequest
from edgewise.cache.stored import Stored
from support.cache import NOW, Lines, asking, stored

LINES = {"Cache-Control": "max-age=600", "ETag": '"a"'}
LARGE = b"0123456789" * 50_000


def one(target: str = "/", lines: Lines | None = None, request: Lines | None = None, **more: object) -> Stored:
    return stored({**LINES, **(lines or {})}, request=asking(target, request), **more)  # type: ignore[arg-type]


def keep(disk: DiskStore, *objects: Stored) -> None:
    for each in objects:
        assert disk.put(each, disk.epoch)
    assert disk.flush(30)


def keep_large(disk: DiskStore, found: Stored, content: bytes = LARGE) -> None:
    body = disk.begin_body(found)
    assert body is not None
    assert body.write(content)
    assert body.commit(found)
    keep(disk, found)


def content_of(disk: DiskStore, request: CacheRequest) -> bytes | None:
    """Return what a request gets, wherever its content is."""
    found = disk.find(request)
    if found is None or not found.file:
        return None if found is None else found.body
    file = disk.open_body(found)
    assert file is not None
    with file:
        return file.read()


def left(disk: DiskStore, *targets: str) -> list[str]:
    return [target for target in targets if disk.find(asking(target)) is not None]


def files(disk: DiskStore) -> list[Path]:
    return [path for path in disk.directory.rglob("*") if path.is_file()]


# ---- found by all who share it ---------------------------------------------------------------------------------------


def test_nothing_is_touched_before_something_is_stored(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path / "cache")
    assert disk.find(asking("/")) is None
    assert disk.get(b"key") is None
    disk.discard(one("/"))
    assert disk.flush(30)
    assert not disk.directory.exists()


def test_what_one_worker_stores_another_finds_and_so_does_the_next_start(tmp_path: Path) -> None:
    one_worker, another = DiskStore(tmp_path), DiskStore(tmp_path)
    keep(one_worker, one("/a", {"X-E": ""}), one("/b", body=b"", status=204))
    for disk in (another, DiskStore(tmp_path)):
        found = disk.find(asking("/a"))
        assert found is not None
        assert (found.body, found.head, found.etag) == (b"hello", one("/a", {"X-E": ""}).head, b'"a"')
        assert content_of(disk, asking("/b")) == b""
    assert another.find(asking("/c")) is None


def test_variants_are_found_by_what_requests_ask_for(tmp_path: Path) -> None:
    disk, another = DiskStore(tmp_path), DiskStore(tmp_path)
    vary = {"Vary": "Foo"}
    keep(disk, one("/", vary, {"Foo": "1"}, body=b"first"))
    keep(another, one("/", vary, {"Foo": "2"}, body=b"second"))
    keep(disk, one("/", {"Vary": "Bar"}, {"Bar": "3"}, body=b"third"))
    asked = [{"Foo": "1"}, {"Foo": "2"}, {"Foo": "3", "Bar": "3"}, {"Foo": "3"}]
    assert [content_of(another, asking("/", lines)) for lines in asked] == [b"first", b"second", b"third", None]
    assert sorted(found.length for found in disk.under(asking("/").key)) == [5, 5, 6]


def test_of_several_that_fit_the_latest_is_found(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    keep(disk, one("/", {"Vary": "Foo"}, {"Foo": "1"}, body=b"later", received=NOW + 9))
    keep(disk, one("/", {"Vary": "Bar"}, {"Bar": "1"}, body=b"before"))
    assert content_of(disk, asking("/", {"Foo": "1", "Bar": "1"})) == b"later"


def test_variants_of_one_key_are_bounded_on_disk_too(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    most = MOST_VARIANTS + 20
    keep(disk, *(one("/", {"Vary": "Foo"}, {"Foo": str(number)}) for number in range(most)))
    assert len(files(disk)) == MOST_VARIANTS + 1
    assert disk.find(asking("/", {"Foo": "0"})) is None
    assert disk.find(asking("/", {"Foo": str(most - 1)})) is not None


def test_a_response_takes_the_place_of_an_earlier_one_and_not_of_a_later_one(tmp_path: Path) -> None:
    disk, another = DiskStore(tmp_path), DiskStore(tmp_path)
    keep(disk, one("/", body=b"later", received=NOW + 5))
    keep(another, one("/", body=b"slow", received=NOW + 1))
    assert content_of(disk, asking("/")) == b"later"
    keep(another, one("/", body=b"latest", received=NOW + 6))
    assert content_of(disk, asking("/")) == b"latest"


def test_what_is_discarded_is_not_found_even_if_it_was_about_to_be_written(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    for number in range(50):
        found = one(f"/{number}")
        disk.put(found, 0)
        disk.discard(found)
        assert disk.find(asking(f"/{number}")) is None
    assert disk.flush(30)
    assert files(disk) == []


# ---- large objects ---------------------------------------------------------------------------------------------------


def test_large_content_is_read_while_it_is_written_and_found_once_it_is_whole(tmp_path: Path) -> None:
    disk, another = DiskStore(tmp_path), DiskStore(tmp_path)
    found = one("/a")
    body = disk.begin_body(found)
    assert body is not None
    for start in range(0, len(LARGE), 70_000):
        assert body.write(LARGE[start : start + 70_000])
        assert body.read(0, body.length) == LARGE[: body.length]
    assert body.read(body.length - 3, body.length + 10) == LARGE[-3:]
    assert another.find(asking("/a")) is None
    assert body.commit(found)
    keep(disk, found)
    assert content_of(another, asking("/a")) == LARGE
    assert found.head.endswith(b"Content-Length: %d\r\n" % len(LARGE))
    assert body.read(5, 10) == LARGE[5:10]


def test_nothing_is_left_of_content_that_broke_off_or_was_replaced(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    body = disk.begin_body(one("/a"))
    assert body is not None
    body.write(LARGE)
    body.drop()
    assert body.read(0, 5) == LARGE[:5]
    assert disk.flush(30)
    assert files(disk) == []
    keep_large(disk, one("/a"))
    keep_large(disk, one("/a"), LARGE[1:])
    assert content_of(disk, asking("/a")) == LARGE[1:]
    assert len(files(disk)) == 2
    keep(disk, one("/a", body=b"small now"))
    assert len(files(disk)) == 1


def test_a_renewed_response_keeps_the_content_there_is(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    found = one("/a")
    keep_large(disk, found)
    fresh = one("/a", received=NOW + 60)
    fresh.file = found.file
    fresh.body = b""
    fresh.measure(found.length)
    keep(disk, fresh)
    assert content_of(disk, asking("/a")) == LARGE
    assert len(files(disk)) == 2
    slow = one("/a", received=NOW + 30)
    slow.file, slow.body = found.file, b""
    slow.measure(found.length)
    keep(disk, slow)
    assert content_of(disk, asking("/a")) == LARGE


def test_an_entry_whose_content_is_gone_or_cut_off_is_a_miss(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    for spoil in (os.unlink, lambda path: os.truncate(path, 5)):
        found = one("/a")
        keep_large(disk, found)
        spoil(disk.files.path(found.file))
        assert disk.open_body(found) is None
        assert disk.find(asking("/a")) is None
        assert disk.flush(30)
        assert files(disk) == []


def test_whoever_reads_content_goes_on_when_it_is_removed(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    found = one("/a")
    keep_large(disk, found)
    file = disk.open_body(found)
    assert file is not None
    disk.discard(found)
    assert disk.flush(30)
    assert files(disk) == []
    assert file.read() == LARGE


# ---- what is damaged -------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_file_that_was_changed_in_any_way_is_a_miss_and_removed(data: st.DataObject) -> None:
    with TemporaryDirectory() as directory:
        disk = DiskStore(Path(directory))
        keep(disk, one("/a", {"Vary": "Foo"}, {"Foo": "1"}))
        path = data.draw(st.sampled_from(sorted(files(disk))))
        whole = path.read_bytes()
        place = data.draw(st.integers(0, len(whole) - 1))
        other = data.draw(st.binary(max_size=9).filter(lambda found: found != whole[place : place + len(found)]))
        path.write_bytes(whole[:place] + other + (whole[place + len(other) :] if other else b""))
        assert disk.find(asking("/a", {"Foo": "1"})) is None
        assert not path.exists()


def test_an_entry_in_another_ones_place_is_a_miss(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    keep(disk, one("/a"))
    place = disk.files.path(layout.hash_of(asking("/b").key))
    os.makedirs(os.path.dirname(place), exist_ok=True)
    os.rename(disk.files.path(layout.hash_of(asking("/a").key)), place)
    assert disk.find(asking("/b")) is None


def test_a_directory_that_is_no_directory_loses_objects_only(tmp_path: Path) -> None:
    for place in ("file", "link to nothing"):
        (tmp_path / "file").touch()
        (tmp_path / "link to nothing").unlink(missing_ok=True)
        (tmp_path / "link to nothing").symlink_to("nowhere")
        disk = DiskStore(tmp_path / place / "cache")
        disk.put(one("/a"), 0)
        assert disk.begin_body(one("/a")) is None
        assert disk.flush(30)
        assert disk.find(asking("/a")) is None


@pytest.mark.parametrize("what", ["directory", "empty", "link to nothing"])
def test_whatever_else_is_found_in_the_place_of_an_entry_is_a_miss(tmp_path: Path, what: str) -> None:
    disk = DiskStore(tmp_path)
    place = Path(disk.files.path(layout.hash_of(asking("/a").key)))
    place.parent.mkdir(parents=True)
    if what == "directory":
        place.mkdir()
    elif what == "empty":
        place.touch()
    else:
        place.symlink_to("nowhere")
    assert disk.find(asking("/a")) is None
    disk.put(one("/a"), 0)
    assert disk.flush(30)
    assert what == "directory" or content_of(disk, asking("/a")) == b"hello"


# ---- purges ----------------------------------------------------------------------------------------------------------


def test_a_purge_that_one_worker_has_heeded_concerns_what_any_of_them_wrote(tmp_path: Path) -> None:
    disk, another = DiskStore(tmp_path), DiskStore(tmp_path)
    keep(disk, one("/a", {"Surrogate-Key": "t"}), one("/b"))
    another.purges.apply(Purge(Kind.TAG, b"t"), NOW, 5)
    assert left(disk, "/a", "/b") == ["/a", "/b"]
    assert left(another, "/a", "/b") == ["/b"]
    assert left(disk, "/a", "/b") == ["/b"]


@pytest.mark.parametrize("purge", [Purge(Kind.URL, b"a.example/a"), Purge(Kind.TAG, b"t"), Purge(Kind.ALL)])
def test_a_purge_between_begin_and_end_of_a_fill_wins_whoever_wrote(tmp_path: Path, purge: Purge) -> None:
    disk, behind = DiskStore(tmp_path), DiskStore(tmp_path)
    began, also = disk.epoch, behind.epoch
    disk.purges.apply(purge, NOW, 1)
    assert not disk.put(one("/a", {"Surrogate-Key": "t"}), began)
    assert behind.put(one("/a", {"Surrogate-Key": "t"}), also)  # it has not heard yet
    assert behind.flush(30)
    assert left(disk, "/a") == []
    behind.purges.apply(purge, NOW, 1)
    keep(behind, one("/a", {"Surrogate-Key": "t"}))
    assert left(disk, "/a") == ["/a"]


def test_large_content_that_was_purged_while_it_came_is_removed(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    found = one("/a")
    body = disk.begin_body(found)
    assert body is not None
    body.write(LARGE)
    disk.purges.apply(Purge(Kind.ALL), NOW)
    assert body.commit(found)
    assert not disk.put(found, 0)
    assert disk.flush(30)
    assert files(disk) == []


def test_a_soft_purge_makes_stale(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    keep(disk, one("/a"))
    disk.purges.apply(Purge(Kind.ALL, soft=True), NOW + 3)
    found = disk.find(asking("/a"))
    assert found is not None
    assert found.fresh_until == NOW + 3


def test_nothing_is_found_while_a_purge_has_no_number(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    keep(disk, one("/a"))
    disk.pending += 1
    assert disk.find(asking("/a")) is None
    assert disk.get(asking("/a").key) is None
    assert disk.under(asking("/a").key) == []
    disk.pending -= 1
    assert left(disk, "/a") == ["/a"]


def test_what_was_not_compared_with_forgotten_purges_is_not_used(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    keep(disk, one("/a"))
    disk.purges.apply(Purge(Kind.TAG, b"other"), NOW)
    keep(disk, one("/b"))
    disk.purges.forget(1)
    assert left(disk, "/a", "/b") == ["/b"]
    assert not disk.put(one("/a"), 0)


_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 1), st.integers(0, 2)),
        st.tuples(st.just("end"), st.integers(0, 1), st.integers(0, 9)),
        st.tuples(st.just("purge"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("hear"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("find"), st.integers(0, 1), st.integers(0, 2)),
    ),
    max_size=30,
)
_TARGETS = ("/a", "/b", "/c")
_PURGES = [Purge(Kind.URL, f"a.example{target}".encode(), soft) for target, soft in product(_TARGETS, (False, True))]


@settings(deadline=None, max_examples=100)
@given(_EVENTS)
def test_no_worker_finds_what_was_asked_for_before_a_purge_that_it_heeded(events: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as directory:
        workers = [DiskStore(Path(directory)), DiskStore(Path(directory))]
        heard = [0, 0]
        told: list[Purge] = []
        fills: list[tuple[int, str, int, int]] = []
        for step, (event, first, second) in enumerate(events):
            disk = workers[first % 2]
            if event == "begin":
                fills.append((first, _TARGETS[second], disk.epoch, len(told)))
            elif event == "end" and fills:
                who, target, epoch, seen = fills.pop(second % len(fills))
                workers[who].put(one(target, {"X-Seen": str(seen)}, received=NOW + step), epoch)
                assert workers[who].flush(30)
            elif event == "purge":
                told.append(_PURGES[first])
            elif event == "hear" and heard[first] < len(told):
                heard[first] += 1
                disk.purges.apply(told[heard[first] - 1], NOW + step, heard[first])
            elif event == "find" and (found := disk.find(asking(_TARGETS[second]))) is not None:
                seen = int(next(field.value for field in found.fields if field.name == b"x-seen"))
                since = [purge for purge in told[seen : heard[first]] if purge.value == found.url]
                assert all(purge.soft for purge in since)
                assert not since or found.fresh_until < NOW + 600


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path / "new" / "cache")
    keep_large(disk, one("/a"))
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_dir()}
    assert modes == {0o700}
    assert {path.stat().st_mode & 0o777 for path in files(disk)} == {0o600}


# ---- use and figures -------------------------------------------------------------------------------------------------


def test_use_is_noted_by_the_time_of_files(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    found = one("/", {"Vary": "Foo"}, {"Foo": "1"})
    keep(disk, found)
    for path in files(disk):
        os.utime(path, (1, 1))
    assert disk.find(asking("/", {"Foo": "1"})) is not None
    assert all(path.stat().st_mtime > time() - 60 for path in files(disk))
    for path in files(disk):
        os.utime(path, (1, 1))
    disk.touch(found)
    assert disk.flush(30)
    assert all(path.stat().st_mtime > time() - 60 for path in files(disk))


def test_figures_tell_what_there_is(tmp_path: Path) -> None:
    disk, another = DiskStore(tmp_path), DiskStore(tmp_path)
    keep(disk, one("/a"), one("/b", body=b"x" * 10_000), one("/v", {"Vary": "Foo"}, {"Foo": "1"}))
    keep_large(disk, one("/c"))
    keep_large(another, one("/c"))
    keep(another, one("/b"))
    disk.discard(one("/a"))
    another.purges.apply(Purge(Kind.URL, b"a.example/c"), NOW)
    assert another.find(asking("/c")) is None
    assert another.flush(30)
    figures = [each.files for each in (disk, another)]
    there = sum(layout.on_disk(path.stat().st_size) for path in files(disk))
    assert sum(each.written - each.removed for each in figures) == there
    assert sum(each.added - each.lost for each in figures) == len(files(disk)) == 3


# ---- a disk that fails -----------------------------------------------------------------------------------------------


def full(*arguments: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_loses_the_object_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = DiskStore(tmp_path)
    keep(disk, one("/before"))
    found = one("/large")
    body = disk.begin_body(found)
    assert body is not None
    assert body.write(b"some")
    monkeypatch.setattr(os, "pwrite", full)
    for number in range(20):
        disk.put(one(f"/{number}"), 0)
    assert not body.write(b"more")
    assert body.read(0, 9) == b"some"
    assert not body.commit(found)
    assert disk.flush(30)
    assert len(files(disk)) == 1
    monkeypatch.undo()
    keep(disk, one("/after"))
    assert left(disk, "/before", "/0", "/large", "/after") == ["/before", "/after"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("name", ["open", "rename"])
def test_a_directory_that_takes_nothing_loses_objects_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    disk = DiskStore(tmp_path)
    found = one("/large")
    body = disk.begin_body(found)
    assert body is not None
    monkeypatch.setattr(os, name, full)
    disk.put(one("/a"), 0)
    assert name == "rename" or disk.begin_body(found) is None
    assert body.commit(found) == (name == "open")
    assert disk.flush(30)
    monkeypatch.undo()
    assert disk.find(asking("/a")) is None
    keep(disk, one("/a"))
    assert content_of(disk, asking("/a")) == b"hello"


def test_a_writer_that_is_behind_leaves_objects_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MOST_WAITING", 3 * one("/0", body=b"x" * 9000).size)
    disk = DiskStore(tmp_path)
    blocked = _Blocked(disk)
    kept = [disk.put(one(f"/{number}", body=b"x" * 9000), 0) for number in range(9)]
    blocked.release()
    assert disk.flush(30)
    assert kept == [True] * 3 + [False] * 6
    assert left(disk, *(f"/{number}" for number in range(9))) == ["/0", "/1", "/2"]
    keep(disk, one("/9"))


class _Blocked:
    """Holds a store's thread until it is released."""

    def __init__(self, disk: DiskStore) -> None:
        self._gate = Event()
        disk._writer.do(self._wait)

    def _wait(self) -> None:
        self._gate.wait(30)

    def release(self) -> None:
        self._gate.set()


def test_what_is_put_again_before_it_is_written_is_written_once_as_it_is_last(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    blocked = _Blocked(disk)
    for number in range(5):
        disk.put(one("/", body=b"%d" % number), 0)
    blocked.release()
    assert disk.flush(30)
    assert content_of(disk, asking("/")) == b"4"
    assert disk.files.written == layout.on_disk(1)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_file_system_that_is_really_full_loses_objects_only(tmp_path: Path) -> None:
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        disk = DiskStore(directory)
        found = one("/large")
        body = disk.begin_body(found)
        assert body is not None
        assert [body.write(LARGE) for _ in range(5)] == [True, True, True, True, False]
        assert body.read(0, body.length) == LARGE * 4
        disk.put(one("/before"), 0)
        assert not body.commit(found)
        assert disk.flush(30)
        assert left(disk, "/before", "/large") == []
        del body
        for number in range(50):
            disk.put(one(f"/{number}", body=b"x" * 50_000), 0)
        assert disk.flush(30)
        there = left(disk, *(f"/{number}" for number in range(50)))
        assert 0 < len(there) < 50
        assert all(content_of(disk, asking(target)) == b"x" * 50_000 for target in there)
        disk.discard(one(there[0]))
        keep(disk, one("/after"))
        assert left(disk, "/after", there[0]) == ["/after"]
        assert not [path for path in files(disk) if path.suffix == ".tmp"]
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)
