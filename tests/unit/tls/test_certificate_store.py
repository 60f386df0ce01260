"""What is kept on disk: for its owner alone, whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edgewise.tls.errors import TlsError
from edgewise.tls.store import Record, Store, check_directory, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_and_directories_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "a" / "b" / "key.pem", b"secret")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a" / "b" / "key.pem") == 0o600
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


def test_a_file_is_replaced_in_one_step_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    write_private(file, b"old")
    with file.open("rb") as reader:
        write_private(file, b"new")
        assert reader.read() == b"old"
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    file = tmp_path / "target"
    file.mkdir()
    with pytest.raises(OSError, match=r"."):
        write_private(file, b"new")
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_in_the_place_of_the_file_being_made_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / f".key.pem.{os.getpid()}").symlink_to(victim)
    write_private(tmp_path / "key.pem", b"secret")
    assert victim.read_bytes() == b"untouched"
    assert not (tmp_path / "key.pem").is_symlink()


def test_a_directory_that_others_may_read_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    with pytest.raises(TlsError, match="must belong to edgewise's user and have mode 0700"):
        check_directory(directory)
    directory.chmod(0o700)
    check_directory(directory)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TlsError, match=r"file/state: File exists"):
        check_directory(tmp_path / "file" / "state")


def test_certificates_and_what_is_known_of_them_are_read_back(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert store.certificate("shop.test") is None
    assert store.record("shop.test") == Record()
    store.keep_certificate("shop.test", b"pem")
    record = Record("https://ca.test/", 5.0, 2, "https://ca.test/", 9.0, "no", (1.0, 2.0), 3.0)
    store.keep_record("shop.test", record)
    assert store.certificate("shop.test") == b"pem"
    assert Store(str(tmp_path)).record("shop.test") == record


@pytest.mark.parametrize("content", [b"", b"junk", b"[]", b'{"failures": "many"}', b"\xff"])
def test_a_damaged_record_counts_as_none(tmp_path: Path, content: bytes) -> None:
    store = Store(str(tmp_path))
    store.keep_record("shop.test", Record(failures=3))
    next((tmp_path / "certificates").glob("*.json")).write_bytes(content)
    assert store.record("shop.test") == Record()


def test_each_authority_has_an_account_of_its_own_that_stays(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    key, url = store.account("https://ca.test/directory")
    assert url is None
    store.keep_account("https://ca.test/directory", "https://ca.test/account/1")
    assert Store(str(tmp_path)).account("https://ca.test/directory") == (key, "https://ca.test/account/1")
    assert store.account("https://ca.test/staging")[0] != key


@pytest.mark.parametrize("name", ["*.example.com", "::1", "../../etc/passwd", ".hidden", "a/b"])
def test_no_name_leads_out_of_the_directory(tmp_path: Path, name: str) -> None:
    file = Store(str(tmp_path)).certificate_file(name)
    assert file.resolve().parent == tmp_path / "certificates"
    assert not file.name.startswith(".")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.keep_certificate("shop.test", b"pem")
    store.keep_challenge("shop.test", b"pem")
    (tmp_path / "certificates" / ".shop.test.pem.4711").write_bytes(b"half")
    store.clear_leftovers()
    found = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["shop.test.pem"]
