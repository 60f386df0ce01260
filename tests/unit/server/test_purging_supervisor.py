"""What the supervisor does of purges where answers are on disk: numbers, keeps, then spreads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from edgewise.cache.disk.purge_log import PurgeLog
from edgewise.cache.purges import GONE
from edgewise.config import Config, build
from edgewise.server import messages as m
from edgewise.server.cache_directory import CacheDirectory, CacheDirectoryError
from edgewise.server.processes import Child
from edgewise.server.purging import Purging
from edgewise.server.supervisor import Supervisor
from edgewise.server.timers import Timers

A = m.PurgeSpec("url", "https://shop.example/a?b=1")


def config(**more: Any) -> Config:
    route: dict[str, Any] = {"cache": {}, "upstream": "app"}
    shape = {"upstreams": {"app": {"servers": ["127.0.0.1:1"]}}, "routes": [route], **more}
    return build(shape)


@dataclass
class Recorder:
    """Stands for the supervisor, its reactor, its generation and its children."""

    cache_directory: CacheDirectory
    config: Config
    workers: list[Child] = field(default_factory=lambda: [child("w0", 0), child("w1", 1)])
    sent: list[tuple[str, m.ToChild]] = field(default_factory=list)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.timers = Timers(lambda: self.now)

    @property
    def children(self) -> Recorder:
        return self

    reactor = generation = children
    """All of them."""

    def send(self, child: Any, message: m.ToChild) -> None:
        self.sent.append((child.name, message))

    def tell_control(self, message: m.ToChild) -> None:
        self.sent.append(("control", message))

    def to(self, name: str) -> list[m.ToChild]:
        return [message for each, message in self.sent if each == name]


def child(name: str, slot: int | None) -> Child:
    found = Child(name, slot, lambda channel: 0)
    found.channel = cast(Any, object())
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[CacheDirectory]:
    found = CacheDirectory(tmp_path / "cache")
    yield found
    found.close()


def purging(recorder: Recorder) -> Purging:
    return Purging(cast(Supervisor, recorder))


def test_a_purge_is_kept_and_told_with_its_number(directory: CacheDirectory, tmp_path: Path) -> None:
    recorder = Recorder(directory, config())
    supervisor, before = purging(recorder), directory.log.purges.epoch
    supervisor.publish(m.PurgeWanted(7, [A]), child("control", None))
    again = PurgeLog(tmp_path / "cache").purges
    assert again.until(b"shop.example/a?b=1", b"", before) == GONE
    (told,) = recorder.to("w0")
    assert isinstance(told, m.Purge)
    assert [mark.number for mark in told.numbered] == [before + 1]
    assert m.PurgesNumbered(told.numbered) in recorder.to("control")
    supervisor.answered("w0", 1, 0)
    assert m.PurgeAnswer(7, 0) not in recorder.to("control")
    supervisor.answered("w1", 1, 0)
    assert recorder.to("control")[-1] == m.PurgeAnswer(7, 0)


def test_a_worker_that_purged_is_told_its_number_and_the_others_the_purge(directory: CacheDirectory) -> None:
    recorder = Recorder(directory, config())
    purging(recorder).publish(m.PurgeWanted(0, [A]), recorder.workers[0])
    assert [type(message) for message in recorder.to("w0")] == [m.PurgesNumbered]
    assert [type(message) for message in recorder.to("w1")] == [m.Purge]


def test_counting_changes_nothing(directory: CacheDirectory) -> None:
    recorder, before = Recorder(directory, config()), directory.log.purges.epoch
    purging(recorder).publish(m.PurgeWanted(7, [A], count=True), child("control", None))
    assert directory.log.purges.epoch == before
    assert [type(message) for _, message in recorder.sent] == [m.Purge, m.Purge]


def test_a_purge_that_the_disk_neither_takes_nor_lets_go_is_told(
    directory: CacheDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(directory, config(), workers=[])
    supervisor = purging(recorder)

    def refuse(*arguments: Any, **options: Any) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "write", refuse)
    monkeypatch.setattr(os, "unlink", refuse)
    supervisor.publish(m.PurgeWanted(7, [A]), child("control", None))
    assert recorder.to("control")[-1] == m.PurgeAnswer(7, 0, kept=False)


def test_more_different_purges_than_can_be_remembered_cost_what_is_on_disk(
    directory: CacheDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgewise.cache.purges.MOST_MARKS", 2000)
    recorder = Recorder(directory, config(), workers=[])
    supervisor = purging(recorder)
    for start in range(0, 2000, 500):
        specs = [m.PurgeSpec("url", f"shop.example/{start + index}") for index in range(500)]
        supervisor.publish(m.PurgeWanted(0, specs), child("control", None))
    forgotten = [message.epoch for message in recorder.to("control") if isinstance(message, m.PurgesForgotten)]
    assert forgotten
    assert directory.log.purges.floor == forgotten[-1]
    assert len(directory.log.purges) < 2000


def test_what_was_compared_is_forgotten_by_all(directory: CacheDirectory) -> None:
    recorder = Recorder(directory, config())
    supervisor = purging(recorder)
    supervisor.publish(m.PurgeWanted(0, [A]), child("control", None))
    epoch = directory.log.purges.epoch
    supervisor.forget(epoch)
    assert len(directory.log.purges) == 0
    for name in ("w0", "w1", "control"):
        assert recorder.to(name)[-1] == m.PurgesForgotten(epoch)


def test_a_node_uses_its_disk_once_it_has_heard_the_others(directory: CacheDirectory) -> None:
    recorder = Recorder(directory, config(state={"url": "nats://127.0.0.1:1"}))
    supervisor = purging(recorder)
    assert not supervisor.caught_up
    supervisor.heard(m.PurgesHeard(5, "h", 0.0))
    assert recorder.to("w0") == []
    supervisor.heard(m.PurgesHeard(6, "h", 99.0))
    supervisor.heard(m.PurgesHeard(6, "h", 100.0))
    assert recorder.to("w0") == [m.PurgesCaughtUp()]
    assert directory.log.heard_of("nats://127.0.0.1:1") == (6, "h")
    again = purging(Recorder(directory, config(state={"url": "nats://127.0.0.1:1"}))).ledger
    assert again is not None
    assert (again.cursor, again.history) == (6, "h")


def test_a_node_that_hears_nothing_validates_its_disk_and_uses_it_then(directory: CacheDirectory) -> None:
    recorder = Recorder(directory, config(state={"url": "nats://127.0.0.1:1"}))
    supervisor = purging(recorder)
    recorder.now += supervisor._offline() + 1
    recorder.timers.run_due()
    (validated, caught_up) = recorder.to("w0")
    assert isinstance(validated, m.Purge)
    assert (validated.purges, caught_up) == ([m.PurgeSpec("all", soft=True)], m.PurgesCaughtUp())
    assert validated.numbered[0].number == directory.log.purges.epoch


def test_a_directory_is_for_one_edgewise_until_it_ends(tmp_path: Path) -> None:
    first = CacheDirectory(tmp_path)
    with pytest.raises(CacheDirectoryError, match="another edgewise keeps its cache in"):
        CacheDirectory(tmp_path)
    first.close()
    CacheDirectory(tmp_path).close()
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheDirectoryError, match="cannot keep the cache in"):
        CacheDirectory(tmp_path / "file")
