"""X-Accel-Redirect and X-Sendfile reach files below the route's directories and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.proxy.accel import locate


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a directory with `public` to share and `secret` beside it."""
    for name in ("public/a.txt", "public/sub/b c.txt", "public-not/x.txt", "secret/key", "other/a.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "public/inside").symlink_to(tmp_path / "public/a.txt")
    (tmp_path / "public/outside").symlink_to(tmp_path / "secret/key")
    (tmp_path / "public/door").symlink_to(tmp_path / "secret")
    return tmp_path


def found(tree: Path, target: str, *roots: tuple[bytes, str]) -> str | None:
    """Return the file found for `target`, relative to the tree."""
    path = locate(target.replace("TREE", str(tree)).encode(), roots or ((b"/files/", str(tree / "public")),))
    return None if path is None else str(Path(path).relative_to(tree.resolve()))


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("/files/a.txt", "public/a.txt"),
        ("/files/sub/b%20c.txt", "public/sub/b c.txt"),
        ("/files/sub/../a.txt", "public/a.txt"),
        ("/files/inside", "public/a.txt"),
        ("/files//a.txt", "public/a.txt"),
        ("TREE/public/a.txt", "public/a.txt"),
        ("TREE/public/./sub/b c.txt", "public/sub/b c.txt"),
    ],
)
def test_files_below_the_root_are_found(tree: Path, target: str, file: str) -> None:
    assert found(tree, target) == file


@pytest.mark.parametrize(
    "target",
    [
        "/files/../secret/key", "/files/%2e%2e/secret/key", "/files/..%2fsecret/key", "/files/outside",
        "/files/door/key", "/files/sub/../../secret/key", "/files/", "/files", "/elsewhere/a.txt", "TREE/secret/key",
        "TREE/public/../secret/key", "TREE/public-not/x.txt", "TREE/public/door/key", "TREE/public", "a.txt", "",
        "../secret/key", "/files/a.txt%00.png", "/files/../public-not/x.txt", "/etc/passwd", "//etc/passwd",
    ],
)  # fmt: skip
def test_nothing_else_is_found(tree: Path, target: str) -> None:
    assert found(tree, target) is None


def test_the_longest_prefix_of_whole_segments_decides(tree: Path) -> None:
    roots = ((b"/f", str(tree / "public")), (b"/f/other", str(tree / "other")))
    assert found(tree, "/f/a.txt", *roots) == "public/a.txt"
    assert found(tree, "/f/other/a.txt", *roots) == "other/a.txt"
    assert found(tree, "/files/a.txt", *roots) is None


def test_a_route_without_directories_sends_nothing(tree: Path) -> None:
    assert locate(str(tree / "public/a.txt").encode(), ()) is None


segments = st.sampled_from(["..", ".", "", "a.txt", "sub", "door", "key", "outside", "%2e%2e", "%2F", "secret", "\0"])


@given(st.lists(segments, max_size=6), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_path_leads_outside(tree: Path, parts: list[str], absolute: bool) -> None:
    base = str(tree / "public") if absolute else "/files"
    path = locate("/".join([base, *parts]).encode(), ((b"/files/", str(tree / "public")),))
    assert path is None or path.startswith(str((tree / "public").resolve()) + "/")
