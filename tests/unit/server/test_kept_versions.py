"""The published version that a node keeps on its disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edgewise.config import ConfigError
from edgewise.config.cluster import Cluster
from edgewise.contracts.sealing import Sealer
from edgewise.server.common import Common
from edgewise.server.kept_versions import KeptVersions
from edgewise.state.versions import PURPOSE, Version

KEY = "0123456789abcdef0123456789abcdef"
SETTINGS = Cluster(key=KEY)
ONE, TWO = Version(1, "1-a", 0.0, "ann@a"), Version(2, "2-b", 0.0, "bob@b")


def kept(directory: Path, key: str = KEY) -> KeptVersions:
    return KeptVersions(directory / "cluster", Sealer(key.encode(), PURPOSE))


def test_a_candidate_is_run_from_then_on_only_when_it_was_accepted(tmp_path: Path) -> None:
    files = kept(tmp_path)
    assert files.accepted() is None
    files.propose(ONE, {"routes": []})
    assert files.accepted() is None
    files.accept("2-b")
    assert files.accepted() is None, "another one was accepted"
    files.accept("1-a")
    found = files.accepted()
    assert found is not None
    assert (found.version, found.content) == (ONE, {"routes": []})
    files.propose(TWO, {"routes": [1]})
    files.drop()
    assert files.candidate("2-b") is None
    assert files.accepted() == found


def test_the_files_are_sealed_and_readable_by_their_user_alone(tmp_path: Path) -> None:
    files = kept(tmp_path)
    files.propose(ONE, {"secret": "swordfish"})
    files.accept("1-a")
    path = tmp_path / "cluster" / "accepted"
    assert b"swordfish" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert kept(tmp_path, "f" * 32).accepted() is None, "with another key there is nothing"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert kept(tmp_path).accepted() is None


def test_a_load_takes_the_accepted_version_and_a_trial_the_candidate(tmp_path: Path) -> None:
    files, common = kept(tmp_path), Common(tmp_path / "cluster")
    with common.trying(""):
        assert common.choose(SETTINGS) is None
    assert common.version is None
    files.propose(ONE, {"routes": [1]})
    with common.trying("1-a"):
        document = common.choose(SETTINGS)
    assert document is not None
    assert document.data == {"routes": [1]}
    assert common.version == ONE
    with common.trying(""):
        assert common.choose(SETTINGS) is None, "not accepted yet"
    common.accept(ONE)
    with common.trying(""):
        common.choose(SETTINGS)
    assert common.version == ONE


def test_a_trial_is_refused_where_the_file_follows_nothing_any_more(tmp_path: Path) -> None:
    common = Common(tmp_path / "cluster")
    with pytest.raises(ConfigError, match="does not follow"), common.trying("1-a"):
        pass
    kept(tmp_path).propose(ONE, {})
    with pytest.raises(ConfigError, match="does not follow"), common.trying("1-a"):
        common.choose(Cluster(key=KEY, configuration=False))


def test_a_secret_that_cannot_be_read_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    common = Common(tmp_path / "cluster")
    with pytest.raises(ConfigError, match="No such file"), common.trying(""):
        common.choose(Cluster(key_file=str(tmp_path / "none")))
    (tmp_path / "short").write_text("short\n")
    with pytest.raises(ConfigError, match="32 to 4096"), common.trying(""):
        common.choose(Cluster(key_file=str(tmp_path / "short")))
