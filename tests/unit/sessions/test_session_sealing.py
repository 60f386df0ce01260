"""Sealed cookies open as they were sealed, or not at all."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.sessions.sealing import MOST_OPENED, Sealer

SEALER = Sealer(["k" * 32])


@given(st.binary(max_size=2000), st.binary(max_size=40))
def test_what_is_sealed_opens_with_the_same_context_and_no_other(data: bytes, context: bytes) -> None:
    token = SEALER.seal(data, context)
    assert token.isascii()
    assert SEALER.open(token, context) == data
    assert SEALER.open(token, context + b"x") is None


@given(st.binary(max_size=300), st.data())
def test_any_change_of_any_bit_is_noticed(data: bytes, draw: st.DataObject) -> None:
    token = SEALER.seal(data, b"")
    raw = bytearray(base64.urlsafe_b64decode(token + "=="))
    raw[draw.draw(st.integers(0, len(raw) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    assert SEALER.open(base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), b"") is None


@given(st.text(max_size=200) | st.text("Aa-_09", min_size=60, max_size=200))
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    assert SEALER.open(text, b"") is None


def test_a_cookie_has_one_spelling() -> None:
    for size in range(3):
        token = SEALER.seal(b"a" * size, b"")
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        opening = [last for last in alphabet if SEALER.open(token[:-1] + last, b"") is not None]
        assert opening == [token[-1]]


def test_every_listed_secret_opens_and_the_first_seals() -> None:
    old, new = "o" * 32, "n" * 32
    token = Sealer([old]).seal(b"data", b"")
    assert Sealer([new, old]).open(token, b"") == b"data"
    assert Sealer([new]).open(token, b"") is None
    assert Sealer([old]).open(Sealer([new, old]).seal(b"data", b""), b"") is None


def test_the_same_data_is_never_sealed_alike() -> None:
    assert len({SEALER.seal(b"data", b"") for _ in range(100)}) == 100


def test_data_is_deflated_where_that_makes_it_smaller() -> None:
    data = b"the same again " * 100
    plain = Sealer(["k" * 32], compress=False)
    assert len(SEALER.seal(data, b"")) < 200 < len(plain.seal(data, b""))
    assert SEALER.open(plain.seal(data, b""), b"") == data


def test_what_inflates_beyond_the_bound_does_not_open() -> None:
    assert SEALER.open(SEALER.seal(b"0" * MOST_OPENED, b""), b"") == b"0" * MOST_OPENED
    assert SEALER.open(SEALER.seal(b"0" * (MOST_OPENED + 1), b""), b"") is None


@pytest.mark.parametrize("cut", [1, 16, 40])
def test_a_shortened_cookie_does_not_open(cut: int) -> None:
    assert SEALER.open(SEALER.seal(b"x" * 40, b"")[:-cut], b"") is None
