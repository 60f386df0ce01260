"""The session's cookie and its settings (RFC 6265bis)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.sessions import SessionSettings
from edgewise.sessions.cookies import SessionCookie, read_cookie


def test_by_default_a_cookie_has_every_protection() -> None:
    written = SessionCookie(SessionSettings()).write("v")
    assert written == ["__Host-session=v; Path=/; Secure; HttpOnly; SameSite=Lax"]


def test_a_cookie_is_removed_by_the_same_attributes() -> None:
    settings = SessionSettings(domain="shop.example", path="/app", same_site="Strict", persistent=True, absolute=60.0)
    cookie = SessionCookie(settings)
    attributes = "Path=/app; Domain=shop.example; Secure; HttpOnly; SameSite=Strict; Max-Age="
    assert cookie.write("v") == [f"__Secure-session=v; {attributes}60"]
    assert cookie.write("") == [f"__Secure-session=; {attributes}0"]


def test_without_secure_the_name_has_no_prefix() -> None:
    assert SessionCookie(SessionSettings(secure=False)).write("v") == ["session=v; Path=/; HttpOnly; SameSite=Lax"]


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ([], None),
        ([""], None),
        (["s=1"], "1"),
        (["a=0; s=1;\tb=2"], "1"),
        (["a=0", "s=1"], "1"),
        (["s="], ""),
        (["s=1=2"], "1=2"),
        (["s=1; s=1"], "1"),
        (["s=1; s=2"], None),
        (["s=1", "s=2"], None),
        (["xs=1; S=1; s =1; \xa0s=1; \x0bs=1"], None),
        (["a=" + "x" * 40_000, "s=1"], None),
    ],
)
def test_a_cookie_is_read_only_where_one_value_is_sure(fields: list[str], value: str | None) -> None:
    assert read_cookie("s", fields) == value


@given(st.lists(st.text("s=; \t1x", max_size=30), max_size=3))
def test_what_is_read_stands_alone_under_the_exact_name(fields: list[str]) -> None:
    value = read_cookie("s", fields)
    pairs = [pair.strip(" \t") for field in fields for pair in field.split(";")]
    values = {pair[2:] for pair in pairs if pair.startswith("s=")}
    assert value == (values.pop() if len(values) == 1 else None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"secure": False, "cookie": "__Host-session"},
        {"secure": False, "cookie": "__secure-session"},
        {"domain": "a.example", "cookie": "__host-session"},
        {"path": "/app", "cookie": "__Host-session"},
        {"secure": False, "same_site": "None"},
        {"cookie": "a b"},
        {"cookie": "a\n"},
        {"domain": "a.example; Secure"},
        {"path": "/;a"},
        {"path": "app"},
        {"idle": 0.0},
        {"absolute": 401 * 86400.0},
        {"idle": float("nan")},
        {"renew": 1.0},
        {"grace": 0.0},
        {"max_bytes": 70_000},
        {"namespace": "a/b"},
        {"namespace": "a\n"},
        {"state": None},
        {"kind": "stateless"},
        {"kind": "stateless", "secrets": ("short",)},
    ],
    ids=str,
)
def test_settings_that_cannot_hold_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        SessionSettings(**wrong)
