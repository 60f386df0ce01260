"""What nodes seal opens with their secret and in its place, and in no other way."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.contracts.sealing import OVERHEAD, NoSecretError, Sealer, read_secret

SECRET = b"a secret of thirty-two characters"
SEALER = Sealer(SECRET, "tests")
PLACE = "certificates/0011223344556677/challenges"
plains = st.binary(max_size=300)


def opens(sealed: bytes, place: str = PLACE, sealer: Sealer = SEALER) -> bool:
    return sealer.open(sealed, place) is not None


@given(plains, st.text(max_size=40))
def test_what_was_sealed_opens_in_its_place(plain: bytes, place: str) -> None:
    assert Sealer(SECRET, "tests").open(SEALER.seal(plain, place), place) == plain


@given(plains, st.text(max_size=40))
def test_it_opens_in_no_other_place(plain: bytes, place: str) -> None:
    assert opens(SEALER.seal(plain, PLACE), place) is (place == PLACE)


@given(plains, st.binary(min_size=32, max_size=64))
def test_it_opens_with_no_other_secret(plain: bytes, secret: bytes) -> None:
    assert opens(SEALER.seal(plain, PLACE), sealer=Sealer(secret, "tests")) is (secret == SECRET)


@given(plains, st.data())
def test_it_does_not_open_when_any_bit_is_another(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(SEALER.seal(plain, PLACE))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    assert not opens(bytes(sealed))


@given(plains, st.data())
def test_it_does_not_open_when_anything_is_missing_or_added(plain: bytes, data: st.DataObject) -> None:
    sealed = SEALER.seal(plain, PLACE)
    assert not opens(sealed[: data.draw(st.integers(0, len(sealed) - 1))])
    assert not opens(sealed + data.draw(st.binary(min_size=1, max_size=20)))


@given(st.binary(max_size=100))
def test_nothing_that_was_not_sealed_opens(junk: bytes) -> None:
    assert not opens(junk)


@given(st.binary(min_size=8, max_size=100))
def test_what_is_sealed_shows_nothing_and_is_never_the_same_twice(plain: bytes) -> None:
    sealed = SEALER.seal(plain, PLACE)
    assert plain not in sealed
    assert len(sealed) == len(plain) + OVERHEAD
    assert sealed != SEALER.seal(plain, PLACE)


def test_nodes_with_another_secret_keep_their_values_elsewhere() -> None:
    assert SEALER.group == Sealer(SECRET, "tests").group
    assert SEALER.group != Sealer(SECRET + b"!", "tests").group


def test_what_is_sealed_for_one_purpose_opens_for_no_other() -> None:
    assert not opens(SEALER.seal(b"", PLACE), sealer=Sealer(SECRET, "other tests"))


def test_the_secret_is_the_text_or_the_file_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "cluster.key"
    file.write_bytes(SECRET + b"\r\n")
    assert read_secret(SECRET.decode(), None) == SECRET
    assert read_secret(None, str(file)) == SECRET
    with pytest.raises(NoSecretError, match="no secret is configured"):
        read_secret(None, None)


@pytest.mark.parametrize("content", [b"", b"too short\n", b"x" * 31 + b"\n\n", b"x" * 5000], ids=len)
def test_a_file_with_too_little_or_too_much_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "cluster.key"
    file.write_bytes(content)
    with pytest.raises(NoSecretError, match=r"cluster\.key: a secret has 32 to 4096 bytes"):
        read_secret(None, str(file))


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(NoSecretError, match=r"none\.key: No such file"):
        read_secret(None, str(tmp_path / "none.key"))
