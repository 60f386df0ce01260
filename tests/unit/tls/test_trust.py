"""Trusting the internal authority: a file in the system's store, and the command that takes it up."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgewise.tls.errors import TlsError
from edgewise.tls.trust import TrustStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    file = tmp_path / "root.pem"
    file.write_text("certificate")
    return file


@pytest.fixture
def store(tmp_path: Path) -> TrustStore:
    """Return a store whose command writes down what it was given."""
    directory = tmp_path / "store"
    directory.mkdir()
    code = f"import sys; open({str(tmp_path / 'ran')!r}, 'a').write(' '.join(['run', *sys.argv[1:]]) + '\\n')"
    return TrustStore(directory, [sys.executable, "-c", code])


def test_a_root_is_put_into_the_store_and_taken_out_again(tmp_path: Path, root: Path, store: TrustStore) -> None:
    assert store.usable
    store.install(root)
    (kept,) = store.directory.iterdir()
    assert kept.suffix == ".crt"  # update-ca-certificates takes no other
    assert kept.read_text() == "certificate"
    assert kept.stat().st_mode & 0o777 == 0o644
    assert store.uninstall(root)
    assert list(store.directory.iterdir()) == []
    assert not store.uninstall(root)
    assert (tmp_path / "ran").read_text() == "run\nrun --fresh\n"


def test_a_new_root_takes_the_place_of_the_old_one(root: Path, store: TrustStore) -> None:
    store.install(root)
    root.write_text("another")
    store.install(root)
    assert [file.read_text() for file in store.directory.iterdir()] == ["another"]


def test_a_command_that_fails_is_told_with_its_words(root: Path, store: TrustStore) -> None:
    broken = store._replace(update=[sys.executable, "-c", "import sys; sys.exit('the store is locked')"])
    with pytest.raises(TlsError, match="the store is locked"):
        broken.install(root)


def test_a_missing_root_is_named(tmp_path: Path, store: TrustStore) -> None:
    with pytest.raises(TlsError, match=r"gone\.pem: No such file"):
        store.install(tmp_path / "gone.pem")


def test_a_system_of_another_kind_is_not_usable(tmp_path: Path, store: TrustStore) -> None:
    assert not store._replace(directory=tmp_path / "nowhere").usable
    assert not store._replace(update=["no-such-command-here"]).usable


def test_what_to_do_by_hand_can_be_copied(tmp_path: Path, store: TrustStore) -> None:
    root = tmp_path / "a b" / "root.pem"
    store = store._replace(update=("update-ca-certificates",))
    copy, update = store.by_hand(root, uninstall=False)
    assert copy == f"sudo install -m 644 '{root}' {store.file(root)}"
    assert update == "sudo update-ca-certificates"
    assert store.by_hand(root, uninstall=True) == [f"sudo rm {store.file(root)}", "sudo update-ca-certificates --fresh"]
