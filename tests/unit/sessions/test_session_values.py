"""What a session may hold, and what its mapping notices."""

from __future__ import annotations

import datetime
import enum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.sessions import Session
from edgewise.sessions.values import DEPTH, decode_value, encode_value

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=9
)
KEYS = st.sampled_from("abcd")


class Text(str):
    """As markupsafe.Markup."""


class Number(float):
    pass


class Colour(enum.IntEnum):
    RED = 1


@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert decode_value(encode_value(value)) == value


def test_subclasses_come_back_as_what_they_are() -> None:
    value = decode_value(encode_value([Text("a"), Number(1.5), Colour.RED, (1, 2)]))
    assert value == ["a", 1.5, 1, [1, 2]]
    assert [type(each) for each in value] == [str, float, int, list]


@pytest.mark.parametrize("value", [b"a", {1: 2}, {1, 2}, object(), datetime.datetime.now(), [{"a": b""}], 1j])
def test_what_is_not_json_like_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="JSON-like"):
        encode_value(value)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800", {"\udfff": 1}])
def test_what_msgpack_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="of a session"):
        encode_value(value)


def test_nesting_is_bounded_also_where_a_list_holds_itself() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="within each other"):
        encode_value(endless)
    deep: Any = 1
    for _ in range(DEPTH):
        deep = [deep]
    assert decode_value(encode_value(deep)) == deep


def kept(data: dict[str, Any]) -> Session:
    encoded = {key: msgspec.Raw(encode_value(value)) for key, value in data.items()}
    return Session(encoded, origin=object())


STEPS = st.lists(
    st.tuples(st.just("set"), KEYS, VALUES)
    | st.tuples(st.just("delete"), KEYS, st.none())
    | st.tuples(st.just("append"), KEYS, SCALARS)
    | st.tuples(st.just("clear"), KEYS, st.none())
    | st.tuples(st.just("change"), KEYS, SCALARS),
    max_size=8,
)


def take(step: tuple[str, str, Any], target: Any) -> None:
    """Do one step to a session or a dict."""
    name, key, value = step
    if name == "set":
        target[key] = decode_value(encode_value(value))
    elif name == "delete":
        target.pop(key, None)
    elif name == "clear":
        target.clear()
    elif name == "append":
        if isinstance(target.get(key), list):
            target[key].append(value)
    elif isinstance(target, Session):
        target.change(key, lambda _: value)
    else:
        target[key] = value


@given(st.dictionaries(KEYS, VALUES), STEPS)
def test_a_session_is_a_dict_whose_changes_lead_from_what_was_kept_to_what_is_there(
    before: dict[str, Any], steps: list[tuple[str, str, Any]]
) -> None:
    session, model = kept(before), decode_value(encode_value(before))
    for step in steps:
        take(step, session)
        take(step, model)
    assert dict(session) == model
    assert len(session) == len(model)
    encoded = {key: msgspec.Raw(encode_value(value)) for key, value in before.items()}
    merged = session.merged(encoded, session.changes())
    assert {key: bytes(raw) for key, raw in merged.items()} == {k: encode_value(v) for k, v in model.items()}
    assert {key: bytes(raw) for key, raw in session.content().items()} == {k: bytes(v) for k, v in merged.items()}


@given(st.dictionaries(KEYS, VALUES))
def test_reading_changes_nothing(data: dict[str, Any]) -> None:
    session = kept(data)
    assert dict(session) == data
    assert not session.modified


def test_a_change_that_is_taken_back_is_none() -> None:
    session = kept({"a": [1], "b": 2})
    session["a"].append(2)
    session["b"] = 3
    assert session.changes().keys() == {"a", "b"}
    session["a"].pop()
    session["b"] = 2
    assert not session.modified


def test_a_session_tells_whether_the_app_looked_at_it() -> None:
    session = kept({"a": 1})
    assert not session.accessed
    assert "x" not in session
    assert session.accessed


def test_keys_are_str() -> None:
    with pytest.raises(TypeError, match="keys are str"):
        Session()[1] = 2  # type: ignore[index]


def test_deleting_what_is_not_there_is_a_key_error() -> None:
    session = kept({"a": 1})
    del session["a"]
    with pytest.raises(KeyError):
        del session["a"]
    with pytest.raises(KeyError):
        session["a"]


def test_who_logs_in_has_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        Session().login("")
