"""What `respond` answers: fixed content, and templates in which a value can say nothing but itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.config.identity import Identity
from edgewise.config.routes import Respond
from edgewise.contracts.plan import Answer
from edgewise.http.head import plain_head
from edgewise.router.responses import answering


def answer(params: dict[str, bytes] | None = None, **spec: Any) -> Answer:
    head = plain_head(b"POST", b"/users/7", b"a=1", b"shop.example")
    return answering(Respond(**spec), Identity())(head, params or {}, b"https")


def test_without_a_template_braces_are_braces() -> None:
    made = answer({"id": b"7"}, body="{id}", headers={"X-Id": "{id}"})
    assert made.content == b"{id}"
    assert made.fields == ((b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Id", b"{id}"))


def test_a_template_has_the_values_of_the_request() -> None:
    body = "{method} {scheme} {host} {path} {query} {id} {other} {}"
    made = answer({"id": b"a%20b"}, template=True, body=body, headers={"X-Id": "{id}"}, status=201)
    assert made.content == b"POST https shop.example /users/7 a=1 a b {other} {}"
    assert (made.status, made.fields[1]) == (201, (b"X-Id", b"a%20b"))


@pytest.mark.parametrize("media", ["application/json", "application/problem+json; charset=utf-8"])
@given(value=st.binary(max_size=30))
def test_in_json_a_value_stays_a_text(media: str, value: bytes) -> None:
    sent = b"".join(b"%%%02X" % byte for byte in value)
    made = answer({"id": sent}, template=True, content_type=media, body='{"id": "{id}", "n": {"a": 1}}')
    assert json.loads(made.content) == {"id": value.decode("utf-8", "replace"), "n": {"a": 1}}


@pytest.mark.parametrize("media", ["text/html", "application/xhtml+xml", "image/svg+xml", "application/unknown"])
def test_in_markup_it_is_no_markup(media: str) -> None:
    made = answer({"id": b"%3Cscript%3E%22%27"}, template=True, content_type=media, body="<p title='{id}'>")
    assert made.content == b"<p title='&lt;script&gt;&quot;&#x27;'>"
