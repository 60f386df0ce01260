"""A root opens what is below it and nothing else, whatever links say and whoever moves them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from edgewise.static.root import Root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a root with files, directories and links, and a secret beside it."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("a")
    (root / "sub/b.txt").write_text("b")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root-not").mkdir()
    (tmp_path / "root-not/c.txt").write_text("secret")
    return root


def content(root: Root, name: str, now: float = 0.0) -> bytes | None:
    """Return the content of the file with a name; None where there is none."""
    opened = root.open(name.encode(), now)
    return None if opened is None or opened.file is None else opened.file.read()


def test_files_below_it_are_opened(tree: Path) -> None:
    root = Root(str(tree))
    assert content(root, "a.txt") == b"a"
    assert content(root, "sub/b.txt") == b"b"


def test_a_directory_is_found_and_not_opened(tree: Path) -> None:
    for name in (b".", b"sub"):
        opened = Root(str(tree)).open(name, 0.0)
        assert opened is not None
        assert opened.file is None


@pytest.mark.parametrize("name", ["none", "a.txt/b", "sub/none", "x" * 300, "a.txt\n"])
def test_what_is_not_there_is_not_found(tree: Path, name: str) -> None:
    assert Root(str(tree)).open(name.encode(), 0.0) is None


def test_links_within_are_followed(tree: Path) -> None:
    (tree / "relative").symlink_to("sub/b.txt")
    (tree / "absolute").symlink_to(tree / "a.txt")
    (tree / "sub/up").symlink_to("..")
    root = Root(str(tree))
    assert [content(root, name) for name in ("relative", "absolute", "sub/up/a.txt")] == [b"b", b"a", b"a"]


@pytest.mark.parametrize(
    ("link", "leads", "name"),
    [
        ("out", "../secret.txt", "out"),
        ("door", "..", "door/secret.txt"),
        ("twin", "../root-not", "twin/c.txt"),
        ("absolute", "/etc/hostname", "absolute"),
        ("process", "/proc/self/root", "process/etc/hostname"),
        ("device", "/dev/zero", "device"),
        ("loop", "loop", "loop"),
    ],
)
def test_links_that_lead_out_are_not(tree: Path, link: str, leads: str, name: str) -> None:
    (tree / link).symlink_to(leads)
    assert Root(str(tree)).open(name.encode(), 0.0) is None


def test_a_fifo_is_no_file_and_holds_nobody_up(tree: Path) -> None:
    os.mkfifo(tree / "fifo")
    assert Root(str(tree)).open(b"fifo", 0.0) is None


def test_no_moment_is_left_for_a_link_to_be_put_in_place_of_a_file(tree: Path) -> None:
    """A file and a link out of the root change places all the time: nothing but the file is ever read."""
    root, ended = Root(str(tree)), threading.Event()

    def change_places() -> None:
        while not ended.is_set():
            (tree / "new").write_text("a")
            os.replace(tree / "new", tree / "moving")
            (tree / "link").symlink_to("../secret.txt")
            os.replace(tree / "link", tree / "moving")

    changing = threading.Thread(target=change_places)
    changing.start()
    try:
        seen = {content(root, "moving") for _ in range(5_000)}
    finally:
        ended.set()
        changing.join()
    assert seen <= {None, b"", b"a"}


def test_another_directory_in_its_place_is_seen_after_a_second(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "next").mkdir()
    (tmp_path / "next/a.txt").write_text("next")
    (tmp_path / "current").symlink_to("root")
    root = Root(str(tmp_path / "current"))
    assert content(root, "a.txt", 10.0) == b"a"
    (tmp_path / "link").symlink_to("next")
    os.replace(tmp_path / "link", tmp_path / "current")
    assert content(root, "a.txt", 11.5) == b"next"


def test_a_root_that_is_gone_is_an_error_and_may_come_back(tmp_path: Path) -> None:
    root = Root(str(tmp_path / "later"))
    with pytest.raises(FileNotFoundError):
        root.open(b"a", 0.0)
    (tmp_path / "later").mkdir()
    (tmp_path / "later/a").write_text("a")
    assert content(root, "a") == b"a"


def test_entries_are_those_that_would_be_opened(tree: Path) -> None:
    (tree / "inside").symlink_to("a.txt")
    (tree / "out").symlink_to("../secret.txt")
    (tree / "nowhere").symlink_to("none")
    os.mkfifo(tree / "fifo")
    entries = {entry.name: entry for entry in Root(str(tree)).entries(b".", 0.0)}
    assert set(entries) == {b"a.txt", b"sub", b"inside"}
    assert (entries[b"sub"].directory, entries[b"a.txt"].directory, entries[b"a.txt"].size) == (True, False, 1)


def test_no_descriptor_is_left_open(tree: Path) -> None:
    (tree / "out").symlink_to("../secret.txt")
    before = len(os.listdir("/proc/self/fd"))
    root = Root(str(tree))
    for name in (b"a.txt", b"none", b"out", b"sub", b"."):
        root.open(name, 0.0)
        root.entries(name if name in (b"sub", b".") else b".", 5.0)
    del root
    assert len(os.listdir("/proc/self/fd")) == before
