"""What the parser makes of request heads it accepts."""

from __future__ import annotations

import pytest

from edgewise.http.head import CHUNKED, NO_BODY, Field, RequestHead
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1 import hop_by_hop, parse_request_head


def request(line: str, *fields: str, host: str | None = "Host: a.example") -> RequestHead:
    lines = [line, *([host] if host is not None else []), *fields]
    return parse_request_head("".join(f"{text}\r\n" for text in lines).encode("latin-1") + b"\r\n")


def status(line: str, *fields: str, host: str | None = "Host: a.example") -> int:
    with pytest.raises(ProtocolError) as caught:
        request(line, *fields, host=host)
    return caught.value.status


def test_a_plain_get_is_read_field_by_field() -> None:
    head = request("GET /shop?q=1 HTTP/1.1", "Accept:  */* \t")
    assert (head.method, head.target, head.path, head.query) == (b"GET", b"/shop?q=1", b"/shop", b"q=1")
    assert (head.authority, head.host, head.minor) == (b"a.example", b"a.example", 1)
    assert head.fields == (
        Field(b"host", b"a.example", b"Host: a.example\r\n"),
        Field(b"accept", b"*/*", b"Accept: */*\r\n"),
    )
    assert (head.body, head.lines.keep_alive, head.lines.upgrade, head.lines.expect_continue) == (
        NO_BODY,
        True,
        None,
        False,
    )
    assert (head.lines.connection, head.forward, head.lines.telling) == (frozenset(), b"Accept: */*\r\n", False)


@pytest.mark.parametrize("secret", ["Cookie", "cookie", "Authorization", "X-API-Key", "x-api-key"])
def test_fields_keep_their_order_around_a_secret(secret: str) -> None:
    head = request("GET / HTTP/1.1", "A: 1", f"{secret}: s", "B: 2", f"{secret}: t", "C: 3")
    assert [field.value for field in head.fields] == [b"a.example", b"1", b"s", b"2", b"t", b"3"]


def test_a_secret_may_be_the_first_field_or_the_last() -> None:
    first = request("GET / HTTP/1.1", host="Cookie: a\r\nHost: b")
    assert [field.name for field in first.fields] == [b"cookie", b"host"]
    assert request("GET / HTTP/1.1", "Cookie:a").fields[-1] == Field(b"cookie", b"a", b"Cookie: a\r\n")


def test_methods_are_case_sensitive_tokens() -> None:
    assert request("get / HTTP/1.1").method == b"get"
    assert request("M-SEARCH! / HTTP/1.1").method == b"M-SEARCH!"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", None),
        ("/?", "/", ""),
        ("/a?b?c", "/a", "b?c"),
        ("/%7Euser/%61", "/~user/a", None),
        ("/%c3%a9", "/%C3%A9", None),
        ("/a/../b/./c", "/b/c", None),
        ("/a/%2E%2e/b?x=/../", "/b", "x=/../"),
        ("/../..", "/", None),
        ("/a/..", "/", None),
        ("/a/.", "/a/", None),
        ("/.a/..b", "/.a/..b", None),
        ("//a//b/", "//a//b/", None),
        ("//../a", "/a", None),
        ("/%252e%252e/", "/%252e%252e/", None),
        ("/a;b=c/..;/d", "/a;b=c/..;/d", None),
        ("/a|b^c[d]", "/a%7Cb%5Ec[d]", None),
        ("/?a|b^c[d]`{e}\\", "/", "a%7Cb%5Ec[d]%60%7Be%7D%5C"),
        ("http://a.example", "/", None),
        ("HTTP://A.Example:80/a?b", "/a", "b"),
        ("https://a.example:443/", "/", None),
        ("http://a.example?b", "/", "b"),
        ("http://a.example/a/../b", "/b", None),
    ],
)
def test_the_target_is_normalised_and_in_origin_form(target: str, path: str, query: str | None) -> None:
    head = request(f"GET {target} HTTP/1.1")
    assert head.path.decode() == path
    assert (None if head.query is None else head.query.decode()) == query
    assert head.target.decode() == (path if query is None else f"{path}?{query}")


def test_encoded_slashes_pass_where_the_route_allows_them() -> None:
    head = b"GET /a%2fb%5cc HTTP/1.1\r\nHost: a\r\n\r\n"
    assert parse_request_head(head, allow_encoded_slash=True).path == b"/a%2Fb%5Cc"
    with pytest.raises(ProtocolError):
        parse_request_head(b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", allow_encoded_slash=True)


def test_the_asterisk_is_the_target_of_options_only() -> None:
    head = request("OPTIONS * HTTP/1.1")
    assert (head.target, head.path, head.query) == (b"*", b"*", None)
    assert request("OPTIONS http://a.example HTTP/1.1").target == b"*"
    assert request("OPTIONS http://a.example/ HTTP/1.1").target == b"/"


@pytest.mark.parametrize(
    ("sent", "host"),
    [
        ("A.Example", "a.example"),
        ("a.example.", "a.example"),
        ("a_b-c:8080", "a_b-c"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[FE80::A]:65535", "[fe80::a]"),
        ("localhost", "localhost"),
    ],
)
def test_the_host_is_lower_case_without_port_or_trailing_dot(sent: str, host: str) -> None:
    head = request("GET / HTTP/1.1", host=f"Host: {sent}")
    assert head.authority == sent.encode()
    assert head.host == host.encode()


def test_http_1_1_needs_exactly_one_host() -> None:
    assert status("GET / HTTP/1.1", host=None) == 400
    assert status("GET http://a.example/ HTTP/1.1", host=None) == 400
    assert status("GET / HTTP/1.1", "Host: a.example") == 400
    assert status("GET / HTTP/1.0", "Host: a.example") == 400


def test_http_1_0_may_come_without_host() -> None:
    head = request("GET / HTTP/1.0", host=None)
    assert (head.authority, head.host, head.minor) == (b"", b"", 0)
    head = request("GET http://A.example:81/ HTTP/1.0", host=None)
    assert (head.authority, head.host) == (b"A.example:81", b"a.example")


def test_a_later_minor_version_is_treated_as_1_1() -> None:
    assert request("GET / HTTP/1.7").minor == 1


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ([], NO_BODY),
        (["Content-Length: 0"], NO_BODY),
        (["Content-Length: 17"], 17),
        (["content-length:  007 "], 7),
        (["Content-Length: 999999999999999999"], 999999999999999999),
        (["Transfer-Encoding: chunked"], CHUNKED),
        (["transfer-encoding:\tChunked"], CHUNKED),
    ],
)
def test_content_is_framed_by_one_field(fields: list[str], body: int) -> None:
    assert request("POST / HTTP/1.1", *fields).body == body


def test_transfer_encoding_in_http_1_0_is_refused() -> None:
    assert status("POST / HTTP/1.0", "Transfer-Encoding: chunked") == 400


@pytest.mark.parametrize(
    ("version", "fields", "keep_alive"),
    [
        ("1.1", [], True),
        ("1.1", ["Connection: close"], False),
        ("1.1", ["Connection: Keep-Alive, CLOSE"], False),
        ("1.1", ["Connection: a", "Connection: close"], False),
        ("1.0", [], False),
        ("1.0", ["Connection: keep-alive"], True),
        ("1.0", ["Connection: keep-alive, close"], False),
    ],
)
def test_the_connection_is_kept_as_the_version_and_the_options_say(
    version: str, fields: list[str], keep_alive: bool
) -> None:
    assert request(f"GET / HTTP/{version}", *fields).lines.keep_alive is keep_alive


@pytest.mark.parametrize(
    ("fields", "protocol"),
    [
        (["Connection: Upgrade", "Upgrade: WebSocket"], b"websocket"),
        (["Connection: keep-alive, upgrade", "Upgrade: foo/2"], b"foo/2"),
        (["Upgrade: websocket"], None),
        (["Connection: upgrade"], None),
        (["Connection: close", "Upgrade: websocket"], None),
        (["Connection: upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"], None),
        (["Connection: upgrade", "Upgrade: websocket, h2c"], None),
        (["Connection: upgrade", "Upgrade: h2c", "Upgrade: websocket"], None),
        (["Connection: upgrade", "Upgrade: "], None),
        (["Connection: upgrade", "Upgrade: websocket", "Content-Length: 1"], None),
    ],
)
def test_one_protocol_is_offered_with_the_option_and_never_h2c(fields: list[str], protocol: bytes | None) -> None:
    assert request("GET / HTTP/1.1", *fields).lines.upgrade == protocol


def test_http_1_0_cannot_upgrade() -> None:
    assert request("GET / HTTP/1.0", "Connection: upgrade", "Upgrade: websocket").lines.upgrade is None


def test_expect_counts_with_content_in_http_1_1() -> None:
    assert request("POST / HTTP/1.1", "Expect: 100-Continue", "Content-Length: 1").lines.expect_continue
    assert request("POST / HTTP/1.1", "Expect: 100-continue", "Transfer-Encoding: chunked").lines.expect_continue
    assert not request("POST / HTTP/1.1", "Expect: 100-continue").lines.expect_continue
    assert not request("POST / HTTP/1.0", "Expect: 100-continue", "Content-Length: 1").lines.expect_continue


def test_fields_are_counted() -> None:
    fields = [f"X-{number}: y" for number in range(99)]
    assert len(request("GET / HTTP/1.1", *fields).fields) == 100
    assert status("GET / HTTP/1.1", *fields, "Cookie: one-too-many") == 431
    with pytest.raises(ProtocolError):
        parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n", max_fields=1)


def test_hop_by_hop_fields_and_those_the_sender_names_are_dropped() -> None:
    head = request("GET / HTTP/1.1", "Connection: close, X-Private")
    names = hop_by_hop(head.lines)
    assert {b"connection", b"keep-alive", b"te", b"transfer-encoding", b"upgrade", b"x-private"} <= names


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "Content-Type", "Cookie", "X-Forwarded-For", "Authorization"]
)
def test_connection_cannot_strip_what_frames_routes_or_identifies(name: str) -> None:
    assert name.lower().encode() not in hop_by_hop(request("GET / HTTP/1.1", f"Connection: {name}, x").lines)


@pytest.mark.parametrize("secret", [[], ["Cookie: c"], ["Authorization: c"], ["X-API-Key: c"]])
def test_lines_that_end_here_or_are_written_anew_are_not_passed_on(secret: list[str]) -> None:
    before = ["A:1", "TE: trailers", "X_Y: 2", "Proxy: a"]
    after = ["Keep-Alive: 5", "X-Real-IP: a", "Expect: 100-continue", "B: \t3"]
    head = request("GET / HTTP/1.1", *before, *secret, *after)
    assert head.forward.decode() == "".join(f"{line}\r\n" for line in ("A: 1", *secret, "B: 3"))


@pytest.mark.parametrize(
    "field", ["Via: 1.0 a", "Forwarded: for=a", "X-Forwarded-For: a", "Connection: x", "traceparent: a"]
)
def test_a_head_tells_when_a_field_changes_what_is_added(field: str) -> None:
    assert request("GET / HTTP/1.1", field).lines.telling
    assert request("GET / HTTP/1.1", "Cookie: a", field).lines.telling
    assert request("GET / HTTP/1.1", field, "Cookie: a", "B: c").lines.telling
    assert not request("GET / HTTP/1.1", "Connection: keep-alive", "Cookie: a").lines.telling
