"""Keys as NATS subjects."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from edgewise.state.nats.subjects import decode, encode, wildcard

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
SUBJECT = re.compile(r"[A-Za-z0-9_=-]+(\.[A-Za-z0-9_=-]+)*")


@given(KEYS)
def test_every_key_is_a_subject_and_comes_back(key: str) -> None:
    assert SUBJECT.fullmatch(encode(key))
    assert decode(encode(key)) == key


@given(KEYS, KEYS)
def test_different_keys_have_different_subjects(one: str, other: str) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@given(KEYS, st.integers(0, 40))
def test_a_wildcard_matches_every_key_with_its_prefix(key: str, cut: int) -> None:
    root = wildcard(key[:cut]).removesuffix(">")
    assert encode(key).startswith(root)
