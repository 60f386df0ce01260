"""Header lists of HTTP/2 to heads in HTTP/1 form and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.hpack import Decoder
from edgewise.protocols.http1 import parse_request_head, parse_response_head
from edgewise.protocols.http2_heads import (
    RESPONSE_BLOCKS,
    Malformed,
    lines_block,
    request_block,
    request_head,
    response_block,
    response_head,
    trailers,
)
from support.http2_peer import GET, Fields

NAMES = st.sampled_from(
    [b"a", b"x-b", b"cookie", b"te", b"host", b"content-length", b"connection", b"A", b"a b", b":a"]
)
VALUES = st.one_of(
    st.sampled_from([b"trailers", b"a.example", b"12", b"", b"a\r\nb: c", b"\n", b"\0", b" a", b"a\t", b"a b"]),
    st.binary(max_size=8),
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6)


def test_a_request_is_told_in_the_form_of_http_1() -> None:
    received = request_head([*GET, (b"accept", b"*/*"), (b"te", b"trailers"), (b"x-empty", b"")])
    assert received == (
        b"GET / HTTP/2.0\r\nHost: a.example\r\naccept: */*\r\nte: trailers\r\nx-empty: \r\n\r\n", -1, 0, False, (),
    )  # fmt: skip
    assert received.framed(end=True) == received.head


def test_content_of_unknown_length_is_chunked_in_the_form_of_http_1() -> None:
    received = request_head(GET)
    assert received.framed(end=False) == b"GET / HTTP/2.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
    received = request_head([*GET, (b"content-length", b"5")])
    assert received.length == 5
    assert received.framed(end=False) == received.head == (
        b"GET / HTTP/2.0\r\nHost: a.example\r\ncontent-length: 5\r\n\r\n"
    )  # fmt: skip


def test_cookie_crumbs_are_one_line_where_the_first_was() -> None:
    received = request_head([*GET, (b"a", b"b"), (b"cookie", b"c=1"), (b"d", b"e"), (b"cookie", b"f=2; g=3")])
    assert b"\r\na: b\r\nCookie: c=1; f=2; g=3\r\nd: e\r\n\r\n" in received.head
    assert received.secret


@pytest.mark.parametrize("name", [b"Authorization", b"X-API-Key"])
def test_credentials_are_spelled_so_that_they_are_not_remembered(name: bytes) -> None:
    received = request_head([*GET, (name.lower(), b"Bearer x")])
    assert received.head.endswith(b"\r\n%b: Bearer x\r\n\r\n" % name)
    assert received.secret


def test_host_stands_in_for_a_missing_authority() -> None:
    fields = [GET[0], GET[1], GET[3]]
    assert request_head([*fields, (b"host", b"b.example")]).head == b"GET / HTTP/2.0\r\nHost: b.example\r\n\r\n"
    assert request_head(fields).head == b"GET / HTTP/2.0\r\n\r\n"
    assert request_head([*GET, (b"host", b"A.Example")]).head == b"GET / HTTP/2.0\r\nHost: a.example\r\n\r\n"


def test_connect_has_a_set_of_its_own() -> None:
    connect = [(b":method", b"CONNECT"), (b":authority", b"a.example:443")]
    assert request_head(connect).head == b"CONNECT a.example:443 HTTP/2.0\r\nHost: a.example:443\r\n\r\n"
    for more in ((b":scheme", b"https"), (b":path", b"/"), (b":protocol", b"websocket")):
        with pytest.raises(Malformed):
            request_head([*connect, more])
    with pytest.raises(Malformed):
        request_head(connect[:1])


MALFORMED_REQUESTS: list[Fields] = [
    [*GET, (b"host", b"b.example")],
    [*GET, (b"host", b"a.example"), (b"host", b"a.example")],
    [*GET, (b"content-length", b"1"), (b"content-length", b"1")],
    *([*GET, (b"content-length", value)] for value in (b"", b"+1", b"1_0", b"-1", b"1,1", b"\xd9\xa1", b"1" * 19)),
    *([*GET, (name, b"x")] for name in (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding")),
    *([*GET, (name, b"x")] for name in (b"upgrade", b"te", b"", b"a b", b"a:", b":a", b"A", b"\xe4", b"a\r", b"a\0")),
    *([*GET, (b"a", value)] for value in (b"b\r", b"b\n", b"b\r\nc: d", b"b\0", b" b", b"b ", b"\tb", b"b\t", b" ")),
    *([*GET[:3], (b":path", path)] for path in (b"*", b"x", b"http://b.example/", b"/ ", b"/\r\n", b"/\0", b"/\x7f")),
    *([(b":method", method), *GET[1:]] for method in (b"", b"G T", b"GET /", b"G\r\n")),
    *([*GET[:2], (b":authority", value), GET[3]] for value in (b"", b"a b", b"a\r\nb: c", b" a")),
    *([GET[0], (b":scheme", scheme), *GET[2:]] for scheme in (b"", b"ftp", b"HTTPS", b"https\0")),
]


@pytest.mark.parametrize("fields", MALFORMED_REQUESTS)
def test_a_malformed_request_is_refused(fields: Fields) -> None:
    with pytest.raises(Malformed):
        request_head(fields)


def test_a_response_is_told_in_the_form_of_http_1() -> None:
    fields = [(b":status", b"404"), (b"set-cookie", b"a=b"), (b"set-cookie", b"c=d")]
    received = response_head(fields)
    assert received.head == b"HTTP/1.1 404 Not Found\r\nset-cookie: a=b\r\nset-cookie: c=d\r\n\r\n"
    assert received.status == 404
    assert received.secret
    assert received.framed(end=False).endswith(b"c=d\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert received.framed(end=True).endswith(b"c=d\r\nContent-Length: 0\r\n\r\n")
    assert response_head([(b":status", b"299")]).head == b"HTTP/1.1 299 \r\n\r\n"


@pytest.mark.parametrize("status", [b"", b"20", b"2000", b"099", b"+20", b"20x", b"101", b"\xd9\xa1\xd9\xa1"])
def test_a_malformed_status_is_refused(status: bytes) -> None:
    with pytest.raises(Malformed):
        response_head([(b":status", status)])


@pytest.mark.parametrize("field", [(b":path", b"/"), (b":status", b"200"), (b"host", b"a"), (b"connection", b"close")])
def test_a_malformed_response_is_refused(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(Malformed):
        response_head([(b":status", b"200"), field])


def test_trailers_are_lines_that_neither_frame_nor_route() -> None:
    assert trailers([(b"grpc-status", b"0"), (b"a", b"")]).head == b"grpc-status: 0\r\na: \r\n"
    for name in (b"content-length", b"host", b"transfer-encoding", b":status", b"A"):
        with pytest.raises(Malformed):
            trailers([(name, b"1")])


@given(FIELDS, st.sampled_from([b"/", b"/a?b", b"*", b"/\xe4", b"//"]))
def test_what_passes_is_one_head_of_the_fields_sent_and_nothing_else(fields: Fields, path: bytes) -> None:
    try:
        received = request_head([*GET[:3], (b":path", path), *fields])
    except Malformed:
        return
    assert received.head.count(b"\r\n\r\n") == 1
    assert not received.head.replace(b"\r\n", b"").translate(None, bytes(set(range(256)) - {0, 10, 13}))
    try:
        parsed = parse_request_head(received.head.replace(b"HTTP/2.0", b"HTTP/1.1", 1))
    except ProtocolError:
        return
    assert parsed.authority == b"a.example"
    others = [(name, value) for name, value in fields if name not in (b"cookie", b"host")]
    assert [field[:2] for field in parsed.fields if field.name not in (b"cookie", b"host")] == others
    crumbs = [value for name, value in fields if name == b"cookie"]
    assert parsed.get(b"cookie") == (b"; ".join(crumbs).strip(b" \t") if crumbs else None)


def test_a_response_head_becomes_a_block_without_what_belongs_to_a_connection() -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nServer: x\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n"
        b"Set-Cookie: a=b\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nX-Empty: \r\n\r\n"
    )
    assert Decoder().decode(response_block(head)) == [
        (b":status", b"200"), (b"server", b"x"), (b"set-cookie", b"a=b"), (b"x-empty", b""),
    ]  # fmt: skip
    assert Decoder().decode(response_block(b"HTTP/1.1 204 \r\n\r\n")) == [(b":status", b"204")]


def test_a_request_head_becomes_a_block_without_its_scheme() -> None:
    head = b"POST /a?b HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nTE: trailers\r\nHTTP2-Settings: x\r\n"
    assert Decoder().decode(request_block(head)) == [
        (b":method", b"POST"), (b":authority", b"a.example"), (b":path", b"/a?b"), (b"content-length", b"3"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [b"application/grpc", b"application/grpc+proto"])
def test_a_grpc_server_is_told_that_trailers_get_through(kind: bytes) -> None:
    block = request_block(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Type: %b\r\n" % kind)
    assert Decoder().decode(block)[-2:] == [(b"content-type", kind), (b"te", b"trailers")]


def test_a_head_with_a_broken_line_is_never_sent() -> None:
    for head in (b"HTTP/1.1 200 OK\r\nA: b\nc\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n"):
        with pytest.raises(ValueError, match="NUL, CR or LF"):
            response_block(head)


def test_blocks_are_remembered_on_second_sight_but_not_with_secrets() -> None:
    plain = b"HTTP/1.1 200 OK\r\nX-Test: remembered\r\n\r\n"
    secret = b"HTTP/1.1 200 OK\r\nSet-Cookie: remembered\r\n\r\n"
    for _ in range(2):
        assert plain not in RESPONSE_BLOCKS.young
        response_block(plain)
        response_block(secret)
    assert RESPONSE_BLOCKS.young[plain] == response_block(plain)
    assert secret not in RESPONSE_BLOCKS.young


@given(st.integers(200, 599), st.lists(st.tuples(st.sampled_from([b"a", b"x-b"]), st.binary(max_size=8)), max_size=4))
def test_a_response_survives_both_translations(status: int, fields: Fields) -> None:
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    head = b"HTTP/1.1 %d X\r\nContent-Length: 3\r\n%b\r\n" % (status, lines)
    try:
        parsed = parse_response_head(head)
    except ProtocolError:
        return
    again = parse_response_head(response_head(Decoder().decode(response_block(head))).head)
    assert again.status == status
    assert [field[:2] for field in again.fields] == [field[:2] for field in parsed.fields]


def test_own_lines_become_literals() -> None:
    assert Decoder().decode(lines_block(b"X-Forwarded-For: ::1\r\nCookie: a=b\r\n")) == [
        (b"x-forwarded-for", b"::1"), (b"cookie", b"a=b"),
    ]  # fmt: skip
