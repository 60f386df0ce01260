"""The keeper of a cache directory: within its bound by last use, free of what was purged, careful with the rest."""

from __future__ import annotations

import os
import time
from math import inf
from pathlib import Path

import pytest

from edgewise.cache.disk import keeper as keeper_module
from edgewise.cache.disk import layout
from edgewise.cache.disk.bucket import ABANDONED, Bucket
from edgewise.cache.disk.keeper import Growth, Keeper
from edgewise.cache.disk.layout import BUCKETS, Head, hash_of
from edgewise.cache.disk.store import DiskStore
from edgewise.cache.purges import Kind, Purge, Purges
from edgewise.cache.stored import Stored
from support.cache import asking, stored

LARGE = b"0123456789" * 50_000
BLOCK = 4096


def one(target: str, tag: str = "t", body: bytes = b"hello") -> Stored:
    lines = {"Cache-Control": "max-age=600", "Surrogate-Key": tag}
    return stored(lines, request=asking(target), body=body)


def keep(disk: DiskStore, *objects: Stored) -> None:
    for each in objects:
        assert disk.put(each, disk.epoch)
    assert disk.flush(30)


def keep_large(disk: DiskStore, found: Stored) -> str:
    body = disk.begin_body(found)
    assert body is not None
    assert body.write(LARGE)
    assert body.commit(found)
    keep(disk, found)
    return found.file


class Kept:
    """A directory, a worker's store in it, and its keeper, whose turns come when the test says so."""

    def __init__(self, directory: Path, most: int = 1 << 30) -> None:
        self.disk = DiskStore(directory)
        self.swept: list[int] = []
        self.keeper = Keeper(directory, most, Purges(), self._growth, self.swept.append)

    def _growth(self) -> Growth:
        files = self.disk.files
        return Growth(files.written - files.removed, files.added - files.lost)

    def turns(self, count: int = BUCKETS) -> None:
        for _ in range(count):
            self.keeper.turn()

    def settle(self) -> None:
        """Take turns until nothing is urgent."""
        for _ in range(3 * BUCKETS):
            if not self.keeper.turn():
                return
        raise AssertionError("it does not come to rest")

    def purge(self, *purges: Purge) -> None:
        marks = []
        for purge in purges:
            number = self.disk.purges.apply(purge, time.time())
            marks += [mark for mark in self.disk.purges.marks() if mark.number == number]
        self.keeper.purged(marks)

    def left(self, *targets: str) -> list[str]:
        fresh = DiskStore(self.disk.directory)
        fresh.purges = self.disk.purges
        return [target for target in targets if fresh.find(asking(target)) is not None]


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file()}


def use(disk: DiskStore, target: str, when: float) -> None:
    os.utime(disk.files.entry(asking(target).key), (when, when))


def test_it_counts_what_is_there_and_what_is_written_later(tmp_path: Path) -> None:
    keep(DiskStore(tmp_path), one("/a"), one("/b"))
    kept = Kept(tmp_path)
    assert kept.keeper.bytes == 0
    kept.settle()
    assert (kept.keeper.bytes, kept.keeper.entries) == (2 * BLOCK, 2)
    keep_large(kept.disk, one("/c"))
    assert kept.keeper.bytes == 3 * BLOCK + layout.on_disk(len(LARGE))
    assert kept.keeper.entries == 3
    kept.disk.discard(one("/a"))
    assert (kept.keeper.bytes, kept.keeper.entries) == (2 * BLOCK + layout.on_disk(len(LARGE)), 2)


def test_what_is_written_while_it_counts_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "_AGAIN", 0.0)
    kept = Kept(tmp_path)
    for index in range(50):
        keep(kept.disk, one(f"/{index}"))
        kept.turns(200)
    kept.settle()
    kept.settle()
    assert kept.keeper.bytes == 50 * BLOCK
    assert kept.keeper.entries == 50


def test_above_its_bound_the_least_used_make_room(tmp_path: Path) -> None:
    kept = Kept(tmp_path, 100 * BLOCK)
    kept.settle()
    now = time.time()
    for index in range(130):
        keep(kept.disk, one(f"/{index}"))
        use(kept.disk, f"/{index}", now - 1000 + index)
    kept.settle()
    assert 80 * BLOCK <= kept.keeper.bytes <= 100 * BLOCK
    assert kept.keeper.evictions == 130 - kept.keeper.entries
    assert len(names(tmp_path)) == kept.keeper.entries
    assert len(kept.left(*(f"/{index}" for index in range(100, 130)))) == 30, "those used last are all there"


def test_a_few_large_objects_give_way_in_the_order_of_their_use(tmp_path: Path) -> None:
    size = BLOCK + layout.on_disk(len(LARGE))
    kept = Kept(tmp_path, 4 * size)
    kept.settle()
    for index in range(6):
        keep_large(kept.disk, one(f"/{index}"))
        use(kept.disk, f"/{index}", time.time() - 1000 + index)
    kept.settle()
    assert kept.left("/0", "/1", "/2", "/3", "/4", "/5") == ["/3", "/4", "/5"]
    assert kept.keeper.bytes == 3 * size
    assert len(names(tmp_path)) == 6, "content goes with its entry"


def test_what_was_purged_goes_first(tmp_path: Path) -> None:
    kept = Kept(tmp_path, 100 * BLOCK)
    kept.settle()
    for index in range(60):
        keep(kept.disk, one(f"/live{index}"))
        use(kept.disk, f"/live{index}", time.time() - 1000)
    for index in range(60):
        keep(kept.disk, one(f"/dead{index}", tag="dead"))
    kept.purge(Purge(Kind.TAG, b"dead"))
    kept.settle()
    kept.turns(4 * BUCKETS)
    assert kept.keeper.evictions <= 2
    assert len(kept.left(*(f"/live{index}" for index in range(60)))) >= 58
    assert kept.keeper.entries == len(kept.left(*(f"/live{index}" for index in range(60)))), "and all of it, in time"


def test_once_there_are_many_purges_all_is_compared_so_that_they_can_be_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgewise.cache.purges.MOST_MARKS", 100)
    kept = Kept(tmp_path)
    kept.settle()
    keep(kept.disk, one("/a"), one("/b", "gone"), one("/c", "stale"))
    use(kept.disk, "/a", 1_700_000_000.0)
    large = keep_large(kept.disk, one("/d", "gone"))
    kept.purge(Purge(Kind.TAG, b"gone"), Purge(Kind.TAG, b"stale", soft=True))
    kept.purge(*(Purge(Kind.URL, b"%d" % index) for index in range(48)))
    compared = kept.disk.purges.epoch
    kept.settle()
    assert kept.swept == [compared]
    kept.settle()
    assert kept.swept == [compared], "once, until they are forgotten"
    kept.disk.purges.forget(compared)
    kept.keeper.forget(compared)
    assert len(kept.disk.purges) == 0
    assert kept.left("/a", "/b", "/c", "/d") == ["/a", "/c"]
    assert large not in names(tmp_path)
    found = kept.disk.get(asking("/c").key)
    assert found is not None
    assert found.fresh_until < time.time() + 1, "the soft purge is noted in the entry"
    assert kept.disk.purges.until(b"", b"", compared) == inf


def test_an_entry_that_came_behind_a_sweep_is_not_used(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    epoch = kept.disk.epoch
    kept.purge(Purge(Kind.URL, asking("/a").url))
    kept.disk.purges.forget(kept.disk.purges.epoch)
    assert not kept.disk.put(one("/a"), epoch)
    assert kept.left("/a") == []


def test_comparing_does_not_count_as_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewise.cache.purges.MOST_MARKS", 100)
    kept = Kept(tmp_path)
    keep(kept.disk, one("/a"))
    use(kept.disk, "/a", 1_700_000_000.0)
    kept.purge(*(Purge(Kind.URL, b"%d" % index) for index in range(50)))
    kept.settle()
    assert kept.swept
    assert os.stat(kept.disk.files.entry(asking("/a").key)).st_mtime == 1_700_000_000.0


def test_purges_are_counted_among_what_is_stored(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    keep(kept.disk, *(one(f"/{index}", "even" if index % 2 == 0 else "odd") for index in range(10)))
    even, url = Purge(Kind.TAG, b"even"), Purge(Kind.URL, asking("/1").url)

    assert kept.keeper.count([even], 30) == (5, True)
    assert kept.keeper.count([even, url], 30) == (6, True)
    assert kept.keeper.count([Purge(Kind.ALL)], 30) == (10, True)
    kept.purge(url)
    assert kept.keeper.count([Purge(Kind.ALL)], 30) == (9, True), "without what is gone already"
    assert not kept.keeper.count([even], -1).exact
    assert len(kept.left(*(f"/{index}" for index in range(10)))) == 9, "nothing was changed"


# ---- what else there may be ------------------------------------------------------------------------------------------


def test_files_of_other_names_are_never_removed(tmp_path: Path) -> None:
    kept = Kept(tmp_path, 1)
    keep(kept.disk, one("/a"))
    bucket = Path(kept.disk.files.entry(asking("/a").key)).parent
    outside = tmp_path / "outside"
    outside.write_text("mine")
    strange = ["notes.txt", "x" * 32, "0" * 31, "0" * 33, f"{'0' * 32}.tmp2", f"{'0' * 32}.{'g' * 16}"]
    for name in strange:
        (bucket / name).write_text("mine")
        os.utime(bucket / name, (0, 0))
    (bucket / ("a" * 32)).mkdir()
    (bucket / ("b" * 32)).symlink_to(outside)
    (tmp_path / "v2" / "abc").mkdir(parents=True)
    (tmp_path / "v2" / "abc" / ("c" * 32)).write_text("of another format")
    kept.turns(3)
    assert kept.left("/a") == []
    assert {*strange, "outside", "c" * 32} <= names(tmp_path)
    assert outside.read_text() == "mine"
    assert (bucket / ("b" * 32)).is_symlink()


def test_what_belongs_to_nothing_goes_once_it_is_old(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    file = keep_large(kept.disk, one("/a"))
    bucket = kept.disk.files.path(file).rpartition("/")[0]
    number, name = layout.bucket_of(file), file.partition(".")[0]
    made = [f"{name}.{'1' * 16}", f"{number:03x}{'0' * 29}.{'2' * 16}", f"{number:03x}{'0' * 29}.{'3' * 16}.tmp"]
    for each in made:
        Path(bucket, each).write_bytes(b"x")
    Bucket(tmp_path, number).compare(lambda head: (head.epoch, head.fresh_until), stamp=False)
    assert set(made) <= names(tmp_path), "a worker may be about to name them"
    for path in Path(bucket).iterdir():
        os.utime(path, (0, time.time() - ABANDONED - 1))
    Bucket(tmp_path, number).compare(lambda head: (head.epoch, head.fresh_until), stamp=False)
    assert not set(made) & names(tmp_path)
    assert kept.left("/a") == ["/a"]


def test_damaged_entries_are_removed(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    keep(kept.disk, one("/a"), one("/b"))
    path = Path(kept.disk.files.entry(asking("/a").key))
    path.write_bytes(path.read_bytes()[:60])
    kept.settle()
    kept.turns(4 * BUCKETS)
    assert not path.exists()
    assert kept.left("/b") == ["/b"]


def test_a_directory_that_goes_away_and_comes_back_is_borne(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "cache")
    keep(kept.disk, one("/a"))
    kept.settle()
    (tmp_path / "cache").rename(tmp_path / "away")
    kept.turns(4 * BUCKETS)
    assert kept.keeper.bytes == 0
    (tmp_path / "away").rename(tmp_path / "cache")
    kept.turns(4 * BUCKETS)
    assert kept.keeper.bytes == BLOCK


def test_a_directory_that_cannot_be_read_is_told_now_and_then(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "v1").write_text("no directory")
    kept = Kept(tmp_path)
    kept.settle()
    assert [record.message for record in caplog.records if "cannot be read" in record.message][1:] == []
    assert "cannot be read" in caplog.text


def test_its_thread_begins_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "_LOOK", 0.01)
    kept = Kept(tmp_path, BLOCK)
    keep(kept.disk, one("/a"), one("/b"), one("/c"))
    kept.keeper.start()
    deadline = time.monotonic() + 30
    while kept.keeper.evictions < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    kept.keeper.close()
    assert len(names(tmp_path)) <= 1


def test_a_stamp_goes_into_the_entry_that_was_compared(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    keep(disk, one("/a"))
    name = hash_of(asking("/a").key)

    def replaced_meanwhile(head: Head) -> tuple[int, float]:
        keep(disk, one("/a", body=b"newer"))
        return 99, 1.0

    Bucket(tmp_path, layout.bucket_of(name)).compare(replaced_meanwhile, stamp=True)
    assert layout.read_head(disk.files.path(name)).epoch == 0
