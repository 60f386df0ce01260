"""Keys of calls: the same in every process, and never those of another call."""

from __future__ import annotations

import datetime
import decimal
import enum
import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.contrib.cache.keys import FunctionKeys, digest

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(alphabet="ab\u00e9") | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(alphabet="ab"), inner, max_size=3)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=6,
)


class Colour(enum.Enum):
    RED = 1


def add(a: int, b: int = 2, *, c: int = 3) -> int:
    return a + b + c


def two(a: object, b: object = 2) -> object:
    return a, b


def test_a_key_is_the_same_in_another_process_whatever_its_hash_seed() -> None:
    program = (
        "from edgewise.contrib.cache.keys import digest; print(digest('f', {'b', 'a', 'c'}, {'y': 1, 'x': (2, None)}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in "12"
    }
    assert found == {digest("f", {"a", "b", "c"}, {"x": (2, None), "y": 1}) + "\n"}


@given(plain, plain)
def test_different_arguments_have_different_keys(one: object, other: object) -> None:
    same = repr(one) == repr(other) or (one == other and _types(one) == _types(other))
    assert (digest("f", one) == digest("f", other)) == same


def _types(value: object) -> object:
    if isinstance(value, dict):
        return sorted((name, _types(each)) for name, each in value.items()) if value else "dict"
    if isinstance(value, list | tuple):
        return type(value).__name__, [_types(each) for each in value]
    return type(value).__name__ + (repr(value) if isinstance(value, float) else "")


@pytest.mark.parametrize(
    "values",
    [
        [1, True, 1.0, "1", b"1", decimal.Decimal(1)],
        [(1, 2), [1, 2], {1, 2}, frozenset({1, 2})],
        ["2026-01-01", datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1)],
        ["6f9619ff-8b86-d011-b42d-00c04fc964ff", uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")],
        [Colour.RED, "RED", 1],
        [2**64, str(2**64), 2**64 + 1],
    ],
)
def test_what_differs_in_type_alone_has_different_keys(values: list[object]) -> None:
    assert len({digest("f", value) for value in values}) == len(values)


def test_the_ways_to_write_a_call_have_one_key() -> None:
    keys = FunctionKeys(add, None, None, None)
    assert keys.of((1,), {}) == keys.of((1, 2), {}) == keys.of((), {"a": 1, "c": 3}) == keys.of((1,), {"b": 2})
    assert keys.of((1,), {}) != keys.of((1,), {"c": 4})
    positional = FunctionKeys(two, None, None, None)
    assert positional.of((1,), {}) == positional.of((1, 2), {}) == positional.of((1,), {"b": 2})


def test_functions_have_keys_of_their_own_by_module_and_name() -> None:
    assert FunctionKeys(add, None, None, None).name == f"{__name__}.add"
    assert FunctionKeys(add, None, None, None).of((1,), {}) != FunctionKeys(two, None, None, None).of((1, 2), {})


def test_a_function_whose_name_may_be_that_of_others_needs_one() -> None:
    with pytest.raises(ValueError, match="give `name`"):
        FunctionKeys(lambda: 1, None, None, None)
    assert FunctionKeys(lambda: 1, "one", None, None).of((), {})


def test_an_argument_without_a_lasting_form_needs_a_key() -> None:
    with pytest.raises(TypeError, match="object cannot be part of a cache key: give `key`"):
        FunctionKeys(two, None, None, None).of((object(),), {})
    keys = FunctionKeys(two, None, lambda a, b=2: (a, "k"), None)
    assert keys.of((1,), {}) == keys.of((1, 5), {})
    assert keys.of((1,), {}) != keys.of((2,), {})


def test_what_a_call_varies_on_belongs_to_its_key_but_not_to_all_its_variants() -> None:
    language = ["en"]
    keys = FunctionKeys(two, None, None, lambda: language[0])
    english, common = keys.of((1,), {}), keys.of_all_variants((1,), {})
    language[0] = "de"
    assert keys.of((1,), {}) != english
    assert keys.of_all_variants((1,), {}) == common
    assert keys.of_all_variants((3,), {}) != common


def test_a_call_that_the_function_would_refuse_has_no_key() -> None:
    keys = FunctionKeys(two, None, None, None)
    for args, kwargs in (((), {}), ((1, 2, 3), {}), ((1,), {"a": 1}), ((1,), {"c": 1}), ((), {"b": 1})):
        with pytest.raises(TypeError):
            keys.of(args, kwargs)
