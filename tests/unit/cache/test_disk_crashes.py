"""What is on disk when a worker is killed at any moment: whole and right, or not there."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from edgewise.cache.disk import layout
from edgewise.cache.disk.store import DiskStore
from support.cache import asking
from support.disk_loop import TARGETS, written

pytestmark = pytest.mark.timeout(300)
ROUNDS = 6


def killed(directory: Path, turns: int, more: float) -> None:
    """Have a process write, and kill it in the midst of it: so many turns and some thousandths of a second later."""
    script = str(Path(__file__).parents[2] / "support" / "disk_loop.py")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, script, str(directory)], stdout=subprocess.PIPE, env=environ)
    assert process.stdout is not None
    with process, process.stdout:
        for _ in range(turns):
            assert process.stdout.readline()
        try:
            process.wait(more)
        except subprocess.TimeoutExpired:
            process.kill()


def test_what_is_found_after_kill_9_is_whole_and_right_and_the_next_writer_goes_on(tmp_path: Path) -> None:
    found_at_all = 0
    for seed in range(ROUNDS):
        killed(tmp_path, 1 + seed % 3, random.Random(seed).random() / 50)
        disk = DiskStore(tmp_path)
        for target in TARGETS:
            found = disk.find(asking(target, {"Foo": "1"}))
            if found is None:
                continue
            found_at_all += 1
            number = int(next(field.value for field in found.fields if field.name == b"x-number"))
            told, content = written(target, number)
            assert (found.head, found.key) == (told.head, told.key)
            if found.file:
                file = disk.open_body(found)
                assert file is not None
                with file:
                    assert file.read() == content
            else:
                assert found.body == content
    assert found_at_all > len(TARGETS)


def test_a_leftover_of_a_killed_writer_is_known_by_its_name(tmp_path: Path) -> None:
    for seed in range(2):
        killed(tmp_path, 1, random.Random(seed).random() / 50)
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    known = (layout.ENTRY, layout.BODY, layout.TEMPORARY)
    assert names
    assert all(any(pattern.fullmatch(name) for pattern in known) for name in names)
