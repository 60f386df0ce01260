"""Answers made at the edge: framed by edgewise, and saying no more than the status."""

from __future__ import annotations

import pytest

from edgewise.contracts.plan import Answer, Plan, Route
from edgewise.contracts.table import Refusal
from edgewise.http.head import plain_head
from edgewise.proxy.messages import error_answer, refuse_plan, render

FIXED = Answer(200, ((b"X-A", b"1"),), b"hello")


def test_content_has_its_length() -> None:
    expected = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"
    assert b"".join(render(FIXED, head_only=False, close=False)) == expected


def test_head_gets_the_length_without_the_content() -> None:
    head, content = render(FIXED, head_only=True, close=False)
    assert head.endswith(b"Content-Length: 5\r\n\r\n")
    assert not content


@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_have_neither_length_nor_content(status: int) -> None:
    message = b"".join(render(Answer(status, (), b"ignored"), head_only=False, close=False))
    assert b"Content-Length" not in message
    assert message.endswith(b"\r\n\r\n")


def test_the_connection_field_says_what_becomes_of_it() -> None:
    assert b"\r\nConnection: close\r\n" in render(FIXED, head_only=False, close=True, minor=0)[0]
    assert b"\r\nConnection: keep-alive\r\n" in render(FIXED, head_only=False, close=False, minor=0)[0]
    assert b"Connection" not in render(FIXED, head_only=False, close=False, minor=1)


def test_errors_tell_status_and_reason_alone() -> None:
    assert error_answer(502) == Answer(502, ((b"Content-Type", b"text/plain; charset=utf-8"),), b"502 Bad Gateway\n")


def test_405_names_the_methods_that_would_match() -> None:
    head = plain_head(b"PUT", b"/", host=b"a")
    answer = refuse_plan(Plan(Route("(unmatched)", 0), head), Refusal(405, (b"GET", b"HEAD"))).answer
    assert answer is not None
    assert (answer.status, answer.fields[-1]) == (405, (b"Allow", b"GET, HEAD"))
