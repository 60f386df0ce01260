"""The copies of sessions in a process: never more than their bound, never another session's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.sessions import SessionSettings
from edgewise.sessions.cookies import read_cookie
from edgewise.sessions.copies import Copies, Copy, copy_size

TOKENS = "abcdefgh"
Step = tuple[str, str, int]
STEPS = st.lists(st.tuples(st.sampled_from(["keep", "get", "drop"]), st.sampled_from(TOKENS), st.integers(1, 60)))


def made(size: int) -> Copy:
    unused: Any = object()
    return Copy(unused, None, unused, 0.0, size)


@given(STEPS, st.integers(0, 200))
def test_a_copy_is_the_last_one_kept_or_none_and_their_bytes_stay_within_the_bound(
    steps: list[Step], most: int
) -> None:
    copies = Copies(most)
    kept: dict[str, Copy] = {}
    for step, token, size in steps:
        if step == "keep":
            kept[token] = made(size)
            copies.keep(token, kept[token])
        elif step == "drop":
            kept.pop(token, None)
            copies.drop(token)
        else:
            found = copies.get(token)
            assert found is None or found is kept.get(token)
        assert copies.size <= most
        assert copies.size == sum(copy.size for copy in kept.values() if any(copy is each for each in copies.all()))


@given(st.integers(1, 50))
def test_what_is_used_outlives_what_is_not(others: int) -> None:
    copies = Copies(100)
    used = made(10)
    copies.keep("used", used)
    for number in range(others):
        copies.keep(f"other {number}", made(10))
        assert copies.get("used") is used


def test_no_room_keeps_nothing() -> None:
    copies = Copies(0)
    copies.keep("a", made(copy_size(0)))
    assert copies.get("a") is None
    assert len(copies) == 0


def test_memory_is_bounded_by_the_settings() -> None:
    with pytest.raises(ValueError, match="memory"):
        SessionSettings(memory=-1)


def split(name: str, field: str) -> str | None:
    """Read a cookie pair by pair, without the short way for one that stands alone."""
    pairs = [pair.strip(" \t") for pair in field.split(";")]
    values = {pair[len(name) + 1 :] for pair in pairs if pair.startswith(f"{name}=")}
    return values.pop() if len(values) == 1 else None


@given(st.lists(st.sampled_from(["s=", "s", "=", ";", "; ", " ", "\t", "x", "a=1", "\x0b"]), max_size=12).map("".join))
def test_a_cookie_that_stands_alone_is_read_as_any_other(field: str) -> None:
    assert read_cookie("s", [field]) == split("s", field)
