"""What a worker heeds of numbered purges: nothing is used from disk while one of its own has no number."""

from __future__ import annotations

from pathlib import Path

from edgewise.cache.disk.store import DiskStore
from edgewise.cache.memory import MemoryStore
from edgewise.cache.purges import GONE, Kind, Mark, Purge, Purges
from edgewise.cache.tiers import Tiers
from edgewise.router.caching import Caches
from edgewise.server.numbered_purges import NumberedPurges

OF_URL = Mark(7, Kind.URL, b"a/", None)


def caches(directory: Path) -> tuple[Caches, DiskStore]:
    disk = DiskStore(directory)
    return Caches(Tiers(MemoryStore(1000), disk)), disk


def test_the_disk_heeds_what_the_supervisor_knew_at_the_fork(tmp_path: Path) -> None:
    purges = Purges()
    purges.apply(Purge(Kind.ALL), 0.0, 5)
    found, disk = caches(tmp_path)
    NumberedPurges(purges, caught_up=True).attach(found)
    assert (disk.epoch, disk.pending) == (5, 0)


def test_nothing_is_used_from_disk_until_an_own_purge_has_its_number(tmp_path: Path) -> None:
    found, disk = caches(tmp_path)
    numbered = NumberedPurges(Purges(), caught_up=True)
    numbered.attach(found)
    numbered.told()
    numbered.told()
    assert disk.pending == 2
    numbered.numbered([OF_URL])
    assert disk.pending == 1
    numbered.numbered([])
    assert disk.pending == 0
    assert disk.purges.until(b"a/", b"", 6) == GONE


def test_nothing_is_used_from_disk_until_other_nodes_were_heard(tmp_path: Path) -> None:
    found, disk = caches(tmp_path)
    numbered = NumberedPurges(Purges(), caught_up=False)
    numbered.attach(found)
    assert disk.pending == 1
    numbered.caught_up()
    numbered.caught_up()
    assert disk.pending == 0


def test_caches_of_a_later_reload_heed_what_came_before(tmp_path: Path) -> None:
    numbered = NumberedPurges(Purges(), caught_up=True)
    numbered.attach(None)
    numbered.take([OF_URL])
    numbered.told()
    found, disk = caches(tmp_path)
    numbered.attach(found)
    assert (disk.epoch, disk.pending) == (7, 1)
    numbered.numbered([])
    assert disk.pending == 0
    numbered.forget(9)
    assert disk.purges.floor == 9


def test_where_nobody_gives_numbers_none_are_waited_for(tmp_path: Path) -> None:
    found, disk = caches(tmp_path)
    numbered = NumberedPurges(None, caught_up=True)
    numbered.attach(found)
    numbered.told()
    assert disk.pending == 0
