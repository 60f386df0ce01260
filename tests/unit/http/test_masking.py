from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.http.masking import SECRETS, USUAL, Masking


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (b"", b""),
        (b"a=1&b=2", b"a=1&b=2"),
        (b"token=abc", b"token=***"),
        (b"a=1&Token=abc;def&b=2", b"a=1&Token=***&b=2"),
        (b"key=&a=1", b"key=***&a=1"),
        (b"monkey=1&keys=2&token", b"monkey=1&keys=2&token"),
        (b"x=1;password=2", b"x=1;password=***"),
        (b"%74oken=abc&a=%74oken", b"%74oken=***&a=%74oken"),
        (b"pass%77ord=a=b&c=1", b"pass%77ord=***&c=1"),
        (b"X-Amz-Signature=ff&X-Amz-Date=1", b"X-Amz-Signature=***&X-Amz-Date=1"),
        (b"code=1&state=2", b"code=***&state=2"),
    ],
)
def test_secrets_of_a_query_are_masked_by_their_names(query: bytes, shown: bytes) -> None:
    assert USUAL.query(query) == shown


def test_names_are_added_and_taken_away() -> None:
    masking = Masking(["Ref"], ["CODE"])
    assert masking.query(b"ref=1&code=2&token=3") == b"ref=***&code=2&token=***"
    assert not masking.is_secret("code")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (b"https://example.com/a?b=1", b"https://example.com/a?b=1"),
        (b"https://user:secret@example.com/a@b?token=1", b"https://***@example.com/a@b?token=***"),
        (b"https://example.com/#access_token=abc&x=1", b"https://example.com/#access_token=***&x=1"),
        (b"/a?key=1#b", b"/a?key=***#b"),
    ],
)
def test_userinfo_and_queries_of_urls_are_masked(url: bytes, shown: bytes) -> None:
    assert USUAL.url(url) == shown


def test_urls_in_texts_are_masked_and_the_rest_is_left() -> None:
    text = "cannot ask redis://user:pass@10.0.0.1/0 for 'https://a/b?token=abc' (x=1, token=shown)"
    assert USUAL.text(text) == "cannot ask redis://***@10.0.0.1/0 for 'https://a/b?token=***' (x=1, token=shown)"
    assert USUAL.text("connection closed") == "connection closed"


@pytest.mark.parametrize("name", ["Authorization", "cookie", "X-API-Key", "Api-Key", "x-auth-token", "password"])
def test_fields_are_secrets_by_their_names(name: str) -> None:
    assert USUAL.is_secret(name)
    assert USUAL.line(f"          {name}: abc") == f"          {name}: ***"


@given(st.sampled_from(SECRETS), st.text(alphabet="abc-_%20=;", min_size=1), st.booleans())
def test_no_secret_is_left_whatever_is_before_and_behind_it(name: str, secret: str, upper: bool) -> None:
    name = name.upper() if upper else name
    shown = USUAL.query(f"a=1&{name}={secret}&z=2".encode())
    assert shown == f"a=1&{name}=***&z=2".encode()


@given(st.binary())
def test_masking_twice_masks_no_more(query: bytes) -> None:
    once = USUAL.query(query)
    assert USUAL.query(once) == once
