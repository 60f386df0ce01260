"""Purges that a cache directory outlives: numbered once, kept before they are heeded, never trusted where damaged."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.cache.disk import purge_log
from edgewise.cache.disk.purge_log import NAME, PurgeLog
from edgewise.cache.purges import GONE, Kind, Purge
from edgewise.cache.tags import tag_ids

URL = b"a.example/x"
TAGS = tag_ids((b"red", b"blue"))
OF_URL = [Purge(Kind.URL, URL)]


def opened(directory: Path, boot: str = "run 1") -> PurgeLog:
    return PurgeLog(directory, boot)


def until(log: PurgeLog, since: int) -> float:
    return log.purges.until(URL, TAGS, since) if since >= log.purges.floor else GONE


@pytest.mark.parametrize(
    "purge",
    [
        Purge(Kind.URL, URL),
        Purge(Kind.PREFIX, b"a.ex"),
        Purge(Kind.HOST, b"a.example"),
        Purge(Kind.TAG, b"blue"),
        Purge(Kind.PATTERN, b"*/x"),
        Purge(Kind.ALL),
    ],
)
def test_a_purge_is_heeded_after_any_end_of_the_process(tmp_path: Path, purge: Purge) -> None:
    log = opened(tmp_path)
    before = log.purges.epoch
    marks, kept = log.add([[purge]])
    assert kept
    assert [mark.number for mark in marks] == [before + 1]
    again = opened(tmp_path)  # what was written is with the kernel: nothing was closed
    assert until(again, before) == GONE
    assert until(again, before + 1) == inf
    assert again.purges.epoch == before + 1


def test_purges_of_one_order_have_one_number_and_the_next_another(tmp_path: Path) -> None:
    log = opened(tmp_path)
    marks, _ = log.add([[Purge(Kind.URL, b"a"), Purge(Kind.URL, b"b")], [Purge(Kind.HOST, b"c")]])
    first = marks[0].number
    assert [mark.number for mark in marks] == [first, first, first + 1]


def test_a_soft_purge_keeps_its_time(tmp_path: Path) -> None:
    log = opened(tmp_path)
    before = log.purges.epoch
    marks, _ = log.add([[Purge(Kind.URL, URL, soft=True)]])
    assert until(opened(tmp_path), before) == marks[0].soft_at


def test_with_the_file_gone_nothing_is_used_that_was_stored(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.add([OF_URL])
    epoch = log.purges.epoch
    (tmp_path / NAME).unlink()
    again = opened(tmp_path)
    assert again.purges.epoch > epoch
    assert until(again, epoch) == GONE


@pytest.mark.parametrize("change", ["cut", "longer", "other", "empty"])
def test_with_the_file_damaged_nothing_is_used_that_was_stored(tmp_path: Path, change: str) -> None:
    log = opened(tmp_path)
    log.add([OF_URL])
    log.add([[Purge(Kind.TAG, b"green")]])
    epoch, path = log.purges.epoch, tmp_path / NAME
    data = path.read_bytes()
    changed = {"cut": data[:-1], "longer": data + b"\0", "other": data[:-1] + b"?", "empty": b""}
    path.write_bytes(changed[change])
    again = opened(tmp_path)
    assert until(again, epoch) == GONE
    assert again.purges.epoch > epoch
    assert until(opened(tmp_path), epoch) == GONE, "nor at the start after that"


@given(st.binary(max_size=200))
def test_any_content_of_the_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    directory = tmp_path_factory.mktemp("cache")
    (directory / NAME).write_bytes(b"EWP\x01" + data)
    log = opened(directory)
    assert log.purges.epoch > 0


def test_after_another_start_of_the_machine_all_is_validated(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.add([OF_URL])
    epoch = log.purges.epoch
    again = opened(tmp_path, "run 2")
    assert GONE < until(again, epoch) < inf
    assert again.purges.epoch > epoch + 1_000_000, "numbers that were lost are not used again"
    third = opened(tmp_path, "run 2")
    assert third.purges.epoch == again.purges.epoch, "once"


def test_where_the_run_of_the_machine_is_not_known_all_is_validated(tmp_path: Path) -> None:
    epoch = opened(tmp_path, "").purges.epoch
    assert GONE < until(opened(tmp_path, ""), epoch) < inf


def test_an_edgewise_that_ended_lets_the_machine_stop(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.add([OF_URL])
    epoch = log.purges.epoch
    log.end()
    assert until(opened(tmp_path, "run 2"), epoch) == inf
    assert GONE < until(opened(tmp_path, "run 3"), epoch) < inf, "the one after it did not end"


def test_what_is_forgotten_is_so_after_a_restart(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.add([OF_URL])
    compared = log.purges.epoch
    log.add([[Purge(Kind.TAG, b"red")]])
    log.forget(compared)
    again = opened(tmp_path)
    assert len(again.purges) == 1
    assert until(again, compared - 1) == GONE, "it was not compared"
    assert again.purges.floor == compared


def test_the_file_is_bounded_by_what_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge_log, "MOST_SPARE", 2000)
    log = opened(tmp_path)
    for _ in range(500):
        log.add([OF_URL])
    assert (tmp_path / NAME).stat().st_size < 2600
    assert until(opened(tmp_path), log.purges.epoch - 1) == GONE


def test_a_flood_of_different_purges_is_said_to_be_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewise.cache.purges.MOST_MARKS", 4096)
    log = opened(tmp_path)
    for index in range(2000):
        log.add([[Purge(Kind.URL, b"%d" % index)]])
    assert not log.full
    log.add([[Purge(Kind.URL, b"more %d" % index)] for index in range(1200)])
    assert log.full
    log.forget(log.purges.epoch)
    assert not log.full
    assert until(log, log.purges.epoch - 1) == GONE


def test_a_disk_that_takes_nothing_has_the_file_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(tmp_path)
    epoch = log.purges.epoch
    write = os.write

    def full(file: int, data: Any) -> int:
        return write(file, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    _, kept = log.add([OF_URL])
    assert kept, "the next start trusts nothing"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    _, kept = log.add([[Purge(Kind.TAG, b"green")]])
    assert kept
    assert until(opened(tmp_path), epoch) == GONE, "once there is room, all of it is written"


def test_a_directory_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    log = opened(directory)
    epoch = log.purges.epoch
    (directory / NAME).unlink()
    directory.rmdir()
    _, kept = log.add([OF_URL])
    assert kept
    assert until(opened(directory), epoch) == GONE


def test_how_far_other_nodes_were_heard_is_known_for_the_same_engine(tmp_path: Path) -> None:
    log = opened(tmp_path)
    assert log.heard_of("nats://one") is None
    log.heard("nats://one", 7, "h")
    log.heard("nats://one", 8, "h")
    again = opened(tmp_path)
    assert again.heard_of("nats://one") == (8, "h")
    assert again.heard_of("nats://two") is None
    assert opened(tmp_path).heard_of("nats://one") == (8, "h"), "it is written anew too"
    (tmp_path / NAME).write_bytes(b"damaged")
    assert opened(tmp_path).heard_of("nats://one") is None


def test_a_rule_that_is_new_is_told(tmp_path: Path) -> None:
    log = opened(tmp_path)
    assert log.obeys([b"a", b"b"]), "nothing is stored yet"
    again = opened(tmp_path)
    assert again.obeys([b"b"])
    assert not again.obeys([b"a", b"b"]), "what was purged meanwhile was not read by it"
    assert opened(tmp_path).obeys([b"a", b"b"])


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    opened(tmp_path / "cache")
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "cache" / NAME).stat().st_mode & 0o777 == 0o600
