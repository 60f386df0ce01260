"""Values in the store: what comes back is what went in, and nothing is unpickled that others could have written."""

from __future__ import annotations

import dataclasses
import datetime
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.contrib.cache.values import Codec, Pickled, Plain, Typed

SECRET, OTHER = "s" * 32, "o" * 32
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=4),
)


@dataclasses.dataclass
class Product:
    name: str
    sizes: tuple[int, ...]
    since: datetime.datetime


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(each, other[name]) for name, each in one.items())
    return bool(one == other)


@given(plain)
def test_plain_data_comes_back_the_same_in_value_and_type(value: Any) -> None:
    codec = Plain()
    assert same(value, codec.decode("k", codec.encode("k", value)))


@pytest.mark.parametrize("value", [(1, 2), {1}, datetime.date(2026, 1, 1), object(), [(1,)], {"a": {1}}, {(1,): 2}])
def test_what_would_come_back_as_something_else_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        Plain().encode("k", value)


def test_a_number_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="ints"):
        Plain().encode("k", 2**64)


def test_a_declared_type_comes_back_as_it_was() -> None:
    codec = Typed(Product)
    product = Product("a", (1, 2), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    data = codec.encode("k", product)
    assert codec.decode("k", data) == product
    with pytest.raises(ValueError, match="Expected"):
        codec.decode("k", Plain().encode("k", [1]))
    with pytest.raises(ValueError, match="Expected"):
        codec.encode("k", "another type")


class Bomb:
    exploded = False

    def __reduce__(self) -> Any:
        return setattr, (Bomb, "exploded", True)


def test_a_pickle_is_read_only_under_a_signature_of_ours_for_its_key() -> None:
    codec = Pickled([SECRET])
    data = codec.encode("k", {(1, 2): {3}})
    assert codec.decode("k", data) == {(1, 2): {3}}
    forged: list[tuple[Codec, str, bytes]] = [
        (codec, "another", data),
        (codec, "k", data[:-1]),
        (codec, "k", b""),
        (codec, "k", data[:32] + pickle.dumps(Bomb())),
        (codec, "k", b"\0" * 32 + pickle.dumps(Bomb())),
        (Pickled([OTHER]), "k", data),
    ]
    for reader, key, forgery in forged:
        with pytest.raises(ValueError, match="not ours"):
            reader.decode(key, forgery)
    assert not Bomb.exploded


def test_secrets_of_pickles_can_be_rotated() -> None:
    data = Pickled([SECRET]).encode("k", 1)
    assert Pickled([OTHER, SECRET]).decode("k", data) == 1
    with pytest.raises(ValueError, match="32 characters"):
        Pickled(["short"])


def test_a_pickle_of_a_class_that_is_gone_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Pickled([SECRET])
    data = codec.encode("k", Product("a", (), datetime.datetime(2026, 1, 1)))
    monkeypatch.delitem(globals(), "Product")
    with pytest.raises(ValueError, match="cannot be read"):
        codec.decode("k", data)
    with pytest.raises(TypeError, match="cannot be pickled"):
        codec.encode("k", lambda: 1)
