"""What the parser makes of response heads it accepts."""

from __future__ import annotations

import pytest

from edgewise.http.head import CHUNKED, NO_BODY, UNTIL_CLOSE, Field, ResponseHead
from edgewise.protocols.http1 import hop_by_hop, parse_response_head


def response(line: str, *fields: str) -> ResponseHead:
    return parse_response_head("".join(f"{text}\r\n" for text in (line, *fields)).encode("latin-1") + b"\r\n")


def test_a_plain_response_is_read_field_by_field() -> None:
    assert response("HTTP/1.1 404 Not Found", "Content-Length: 3", "X:y") == ResponseHead(
        status=404,
        reason=b"Not Found",
        minor=1,
        fields=(Field(b"content-length", b"3", b"Content-Length: 3\r\n"), Field(b"x", b"y", b"X: y\r\n")),
        body=3,
        keep_alive=True,
        upgrade=None,
        connection=frozenset(),
    )


@pytest.mark.parametrize("line", ["HTTP/1.1 200 ", "HTTP/1.1 200"])
def test_the_reason_may_be_missing(line: str) -> None:
    assert response(line, "Content-Length: 0").reason == b""


@pytest.mark.parametrize(
    ("code", "fields", "body", "keep_alive"),
    [
        (200, ["Content-Length: 5"], 5, True),
        (200, ["Content-Length: 0"], NO_BODY, True),
        (200, ["Transfer-Encoding: chunked"], CHUNKED, True),
        (200, ["Transfer-Encoding: chunked", "Connection: close"], CHUNKED, False),
        (200, [], UNTIL_CLOSE, False),
        (200, ["Connection: keep-alive"], UNTIL_CLOSE, False),
        (100, [], NO_BODY, True),
        (103, ["Link: </a>"], NO_BODY, True),
        (204, [], NO_BODY, True),
        (204, ["Content-Length: 0"], NO_BODY, True),
        (204, ["Content-Length: 5"], NO_BODY, False),
        (204, ["Transfer-Encoding: chunked"], NO_BODY, False),
        (304, ["Content-Length: 5"], NO_BODY, True),
        (304, ["Transfer-Encoding: chunked"], NO_BODY, True),
        (205, ["Content-Length: 0"], NO_BODY, True),
        (999, ["Content-Length: 1"], 1, True),
    ],
)
def test_content_is_framed_by_status_and_fields(code: int, fields: list[str], body: int, keep_alive: bool) -> None:
    head = response(f"HTTP/1.1 {code} X", *fields)
    assert (head.status, head.body, head.keep_alive) == (code, body, keep_alive)


def test_http_1_0_is_kept_only_when_it_says_so() -> None:
    assert not response("HTTP/1.0 200 OK", "Content-Length: 1").keep_alive
    assert response("HTTP/1.0 200 OK", "Content-Length: 1", "Connection: keep-alive").keep_alive


def test_switching_protocols_names_the_protocol() -> None:
    assert response("HTTP/1.1 101 Switching", "Connection: Upgrade", "Upgrade: WebSocket").upgrade == b"websocket"
    assert response("HTTP/1.1 101 Switching", "Upgrade: websocket").upgrade is None
    assert response("HTTP/1.1 101 Switching", "Connection: upgrade", "Upgrade: h2c").upgrade is None


def test_every_set_cookie_is_kept_in_order() -> None:
    head = response("HTTP/1.1 200 OK", "Set-Cookie: a=1", "X: y", "Set-Cookie: b=2", "Content-Length: 0")
    assert [field.value for field in head.fields if field.name == b"set-cookie"] == [b"a=1", b"b=2"]


def test_the_upstream_cannot_strip_framing_either() -> None:
    names = hop_by_hop(response("HTTP/1.1 200 OK", "Connection: content-length, set-cookie, x-hop"))
    assert b"x-hop" in names
    assert not names & {b"content-length", b"set-cookie"}
