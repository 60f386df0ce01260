"""One cookie, read strictly from the Cookie fields."""

from __future__ import annotations

import pytest

from edgewise.balancer.cookies import cookie_reader
from edgewise.testing.balancing import make_exchange


def _read(*values: str, name: str = "ew", value: bytes = rb"[a-z]+") -> bytes | None:
    exchange = make_exchange(headers=[("Cookie", text) for text in values])
    return cookie_reader(name, value)(exchange.plan.request)


@pytest.mark.parametrize("field", ["ew=abc", "a=1; ew=abc", "ew=abc; a=1", "a=1;ew=abc;b=2", "a=1;  ew=abc ; b=2"])
def test_the_cookie_is_found_wherever_it_stands(field: str) -> None:
    assert _read(field) == b"abc"


def test_the_cookie_is_found_in_a_second_field() -> None:
    assert _read("a=1", "ew=abc") == b"abc"


@pytest.mark.parametrize(
    "field",
    [
        "",
        "ew",
        "ew=",
        "xew=abc",
        "EW=abc",
        "a=ew=abc",
        "ew =abc",
        "ew=ABC",
        "ew=abc1",
        'ew="abc"',
        "ew=abc,b=1",
        "ew=abc x",
    ],
)
def test_a_cookie_of_another_name_or_shape_is_not_found(field: str) -> None:
    assert _read(field) is None


def test_of_two_the_first_of_the_right_shape_counts() -> None:
    assert _read("ew=123; ew=abc; ew=xyz") == b"abc"


def test_other_fields_are_not_looked_at() -> None:
    exchange = make_exchange(headers=[("X-Cookie", "ew=abc"), ("Set-Cookie", "ew=abc")])
    assert cookie_reader("ew")(exchange.plan.request) is None


def test_a_name_with_characters_of_patterns_is_taken_literally() -> None:
    assert _read("e.w=abc", name="e.w") == b"abc"
    assert _read("exw=abc", name="e.w") is None


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "ä", "a\n"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a cookie name"):
        cookie_reader(name)
