from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edgewise.server.run_directory import RunDirectory, RunDirectoryError, base_directory


def test_the_directory_is_private_and_its_name_the_same_at_each_start(tmp_path: Path) -> None:
    first = RunDirectory("/etc/edgewise.toml", tmp_path)
    path = first.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    first.remove()
    assert not path.exists()
    second = RunDirectory("/etc/edgewise.toml", tmp_path)
    assert second.path == path
    second.remove()


def test_two_instances_with_the_same_configuration_do_not_run_at_once(tmp_path: Path) -> None:
    first = RunDirectory("/etc/edgewise.toml", tmp_path)
    with pytest.raises(RunDirectoryError, match=r"already runs with /etc/edgewise.toml"):
        RunDirectory("/etc/edgewise.toml", tmp_path)
    other = RunDirectory("/etc/other.toml", tmp_path)
    assert other.path != first.path
    other.remove()
    first.remove()


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    first = RunDirectory("x", tmp_path)
    path = first.path
    first.remove()
    path.mkdir()
    path.chmod(0o755)
    with pytest.raises(RunDirectoryError, match="not a directory of this user alone"):
        RunDirectory("x", tmp_path)


def test_a_link_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    first = RunDirectory("x", tmp_path)
    path = first.path
    first.remove()
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    path.symlink_to(target)
    with pytest.raises(RunDirectoryError):
        RunDirectory("x", tmp_path)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"RUNTIME_DIRECTORY": "/run/edge:/run/other", "XDG_RUNTIME_DIR": "/run/user/1"}, "/run/edge"),
        ({"XDG_RUNTIME_DIR": "/run/user/1"}, "/run/user/1"),
    ],
)
def test_the_service_managers_directories_come_first(environ: dict[str, str], expected: str) -> None:
    assert base_directory(environ) == Path(expected)
