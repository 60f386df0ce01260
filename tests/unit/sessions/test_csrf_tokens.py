"""Tokens against cross-site request forgery: bound to one session, under another mask each time."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.sessions import Session
from edgewise.sessions.csrf import KEY, masked, matches, new_secret


def test_a_token_is_good_for_its_session_and_no_other() -> None:
    mine, other = Session(), Session()
    token = mine.csrf_token()
    assert mine.verify_csrf(token)
    other.csrf_token()
    assert not other.verify_csrf(token)
    assert not Session().verify_csrf(token)


def test_no_two_answers_hold_the_same_text() -> None:
    session = Session()
    tokens = [session.csrf_token() for _ in range(100)]
    assert len(set(tokens)) == 100
    assert all(session.verify_csrf(token) for token in tokens)
    assert not any(session[KEY] in token for token in tokens)


def test_the_mask_hides_every_bit_of_the_secret() -> None:
    secret = new_secret()
    seen = [base64.urlsafe_b64decode(masked(secret) + "==") for _ in range(400)]
    for half in (slice(0, 32), slice(32, 64)):
        ones = [sum(int.from_bytes(one[half], "big") >> bit & 1 for one in seen) for bit in range(256)]
        assert all(100 < count < 300 for count in ones)


def test_a_login_makes_earlier_tokens_worthless() -> None:
    session = Session()
    session["cart"] = 1
    token = session.csrf_token()
    session.login("ann")
    assert not session.verify_csrf(token)
    assert session.verify_csrf(session.csrf_token())
    assert session["cart"] == 1


def test_a_request_with_a_token_in_its_authorization_field_needs_no_other() -> None:
    session = Session()
    session.bearer = True
    assert session.verify_csrf(None)


@pytest.mark.parametrize("wrong", [None, "", "A" * 86, "A" * 85, "A" * 87, "é" * 86, "A" * 85 + "\n", "=" * 86])
def test_what_is_no_token_of_the_session_is_refused(wrong: str | None) -> None:
    session = Session()
    assert not session.verify_csrf(wrong)
    session.csrf_token()
    assert not session.verify_csrf(wrong)


def test_each_changed_character_is_refused() -> None:
    session = Session()
    token = session.csrf_token()
    for at in range(len(token) - 1):
        assert not session.verify_csrf(token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :])


@settings(deadline=None)
@given(st.text(max_size=100), st.one_of(st.none(), st.integers(), st.text(max_size=50)))
def test_nothing_matches_by_accident_and_nothing_raises(token: str, secret: object) -> None:
    assert not matches(token, secret)
    assert not matches(token, "A" * 43) or len(token) == 86
