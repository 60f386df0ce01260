"""A corpus of request and response heads that must be refused, by reason, with the status each one gets."""

from __future__ import annotations

import pytest

from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1 import parse_request_head, parse_response_head

HOST = b"Host: a.example\r\n"

REQUEST_LINES = [
    (400, b""),
    (400, b" "),
    (400, b"GET"),
    (400, b"GET /"),
    (400, b"GET / "),
    (400, b"GET  / HTTP/1.1"),
    (400, b"GET /  HTTP/1.1"),
    (400, b"GET / HTTP/1.1 "),
    (400, b" GET / HTTP/1.1"),
    (400, b"GET\t/ HTTP/1.1"),
    (400, b"GET /\tHTTP/1.1"),
    (400, b"GET /\x0bHTTP/1.1"),
    (400, b"GET /\x0c HTTP/1.1"),
    (400, b"GET /\xa0HTTP/1.1"),
    (400, b"GET / HTTP/1.1 HTTP/1.1"),
    (400, b"GET /a b HTTP/1.1"),
    (400, b"G(T / HTTP/1.1"),
    (400, b"G\x00T / HTTP/1.1"),
    (400, b"G\xc3\x89T / HTTP/1.1"),
    (400, b"GET: / HTTP/1.1"),
    (400, b"GET / http/1.1"),
    (400, b"GET / Http/1.1"),
    (400, b"GET / HTTP/1"[:-1]),
    (400, b"GET / HTTP/1."),
    (400, b"GET / HTTP/.1"),
    (400, b"GET / HTTP/11"),
    (400, b"GET / HTTP/1.10"),
    (400, b"GET / HTTP/01.1"),
    (400, b"GET / HTTP/1.x"),
    (400, b"GET / HTTP/1,1"),
    (400, b"GET / HTTP/+1.1"),
    (400, b"GET / HTTP/1.\xb9"),
    (400, b"GET / HTTPS/1.1"),
    (400, b"GET / ICY/1.1"),
    (400, b"GET / HTTP/1.1\r"),
    (400, b"GET /\r HTTP/1.1"),
    (400, b"GET /\n HTTP/1.1"),
    (400, b"GET / HTTP/1.1\nX: y"),
    (505, b"GET / HTTP/2.0"),
    (505, b"GET / HTTP/2"),
    (505, b"GET / HTTP/3.0"),
    (505, b"GET / HTTP/0.9"),
    (505, b"GET / HTTP/9.9"),
    (505, b"PRI * HTTP/2.0"),
    (405, b"CONNECT a.example:443 HTTP/1.1"),
    (405, b"CONNECT / HTTP/1.1"),
    (414, b"GET /" + b"a" * 17000 + b" HTTP/1.1"),
]

TARGETS = [
    b"a",
    b"a/b",
    b"?a",
    b"#",
    b"*",
    b"**",
    b"/#",
    b"/a#b",
    b"/?a#b",
    b"/\x00",
    b"/\x01",
    b"/\x7f",
    b"/\x80",
    b"/\xc3\xa9",
    b"/?\xc3\xa9",
    b'/"',
    b'/?"',
    b"/<a>",
    b"/?<a>",
    b"/a\\b",
    b"/{a}",
    b"/`a",
    b"/%",
    b"/%2",
    b"/%zz",
    b"/%0g",
    b"/%+1",
    b"/% 1"[:3],
    b"/?%",
    b"/?%zz",
    b"/?a=100%&b",
    b"/%00",
    b"/a%00b",
    b"/%2f",
    b"/%2F",
    b"/a%2Fb",
    b"/..%2fetc/passwd",
    b"/%5c",
    b"/%5Ca",
    b"/%2e%2e%2fa",
    b"http:/a.example/",
    b"http:a.example",
    b"http://",
    b"http:///a",
    b"http://?a",
    b"http://a.example:0/",
    b"http://a.example:65536/",
    b"http://a.example:/",
    b"http://a.example:080/",
    b"http://a.example:8o/",
    b"http://user@a.example/",
    b"http://user:password@a.example/",
    b"http://a.example#b",
    b"http://a.example/#b",
    b"http://b.example/",
    b"http://a.example:81/",
    b"https://a.example:80/",
    b"http://a.example.evil.example/",
    b"ftp://a.example/",
    b"ws://a.example/",
    b"javascript:alert(1)",
    b"//a.example\\b",
    b"http://a.example/%2f",
    b"http://a.example/%",
]

FIELD_LINES = [
    (400, b""),
    (400, b":"),
    (400, b": value"),
    (400, b"X"),
    (400, b"X value"),
    (400, b"X : value"),
    (400, b"X\t: value"),
    (400, b" X: value"),
    (400, b"\tX: value"),
    (400, b"X: a\r\n b"),
    (400, b"X: a\r\n\tb"),
    (400, b"X: a\rb"),
    (400, b"X: a\r"),
    (400, b"X: a\nY: b"),
    (400, b"X: a\n b"),
    (400, b"X: \x00"),
    (400, b"X: a\x00b"),
    (400, b"X: \x01"),
    (400, b"X: \x0b"),
    (400, b"X: \x0c"),
    (400, b"X: \x1b"),
    (400, b"X: \x7f"),
    (400, b"X\x00: a"),
    (400, b"X\r: a"),
    (400, b"X\n: a"),
    (400, b"X(): a"),
    (400, b"X/Y: a"),
    (400, b"X@: a"),
    (400, b'"X": a'),
    (400, b"X\xe9: a"),
    (400, b"\xef\xbb\xbfX: a"),
    (400, b"GET / HTTP/1.1"),
    (400, b"Cookie : a"),
    (400, b"Cookie: a\x00"),
    (400, b"Cookie: a\rb"),
    (400, b"Cookie: a\r\n b"),
    (400, b"Authorization: a\nb"),
    (400, HOST[:-2]),
    (400, b"host: a.example"),
    (400, b"HOST: b.example"),
    (400, b"Content-Length: "),
    (400, b"Content-Length: a"),
    (400, b"Content-Length: -1"),
    (400, b"Content-Length: +1"),
    (400, b"Content-Length: 1_0"),
    (400, b"Content-Length: 0x1"),
    (400, b"Content-Length: 1.0"),
    (400, b"Content-Length: 1 0"),
    (400, b"Content-Length: 1;"),
    (400, b"Content-Length: \xb2"),
    (400, b"Content-Length: 1, 1"),
    (400, b"Content-Length: 1000000000000000000"),
    (400, b"Content-Length: 1\r\nContent-Length: 1"),
    (400, b"Content-Length: 1\r\ncontent-length: 2"),
    (400, b"Content-Length: 1\r\nCookie: a\r\nContent-Length: 1"),
    (400, b"Content-Length: 1\r\nTransfer-Encoding: chunked"),
    (400, b"Transfer-Encoding: chunked\r\nContent-Length: 0"),
    (400, b"Transfer-Encoding: chunked\r\nCookie: a\r\nContent-Length: 0"),
    (400, b"Transfer-Encoding:"),
    (400, b"Transfer-Encoding: ,chunked"),
    (400, b"Transfer-Encoding: chunked,"),
    (400, b"Transfer-Encoding: chunked, chunked"),
    (400, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    (400, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
    (400, b"Transfer-Encoding: chunked, gzip"),
    (400, b"Transfer-Encoding: identity"),
    (400, b"Transfer-Encoding: gzip"),
    (400, b"Transfer-Encoding: xchunked"),
    (400, b"Transfer-Encoding: chunkedx"),
    (400, b"Transfer-Encoding: chunked;a=b"),
    (400, b"Transfer-Encoding: chunked chunked"),
    (400, b'Transfer-Encoding: "chunked"'),
    (400, b"Transfer-Encoding: \x0bchunked"),
    (400, b"Transfer-Encoding: chunked\x0c"),
    (400, b"Transfer-Encoding: \xa0chunked"),
    (400, b"Transfer-Encoding\x00: chunked"),
    (400, b"Transfer-Encoding : chunked"),
    (400, b"Transfer-Encoding\r\n : chunked"),
    (501, b"Transfer-Encoding: gzip, chunked"),
    (501, b"Transfer-Encoding: identity, chunked"),
    (501, b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
    (417, b"Expect: "),
    (417, b"Expect: 200-ok"),
    (417, b"Expect: 100-continue, 100-continue"),
    (417, b"Expect: 100-continue\r\nExpect: other"),
    (400, b"Connection: a b"),
    (400, b"Connection: close\r\nConnection: (x)"),
]

HOSTS = [
    b"",
    b".",
    b"..",
    b".a",
    b"a..b",
    b"a b",
    b"a,b",
    b"a/b",
    b"a?b",
    b"a#b",
    b"a\\b",
    b"a@b",
    b"user:password@a",
    b"a:",
    b"a:0",
    b"a:00",
    b"a:080",
    b"a:65536",
    b"a:999999",
    b"a:-1",
    b"a:+80",
    b"a:8_0",
    b"a:80:80",
    b"a:http",
    b"a%2eb",
    b"a\xc3\xa9",
    b":80",
    b"::1",
    b"[::1",
    b"[]",
    b"[::1]x",
    b"[::1%25eth0]",
    b"[v1.a]",
    b"[1::2::3]",
    b"[127.0.0.1]",
    b"http://a",
    b"a" * 256,
]

RESPONSES = [
    b"",
    b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\n\n",
    b"HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 \r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1 +20 OK\r\n\r\n",
    b"HTTP/1.1 2_0 OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1 200\tOK\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"http/1.1 200 OK\r\n\r\n",
    b"ICY 200 OK\r\n\r\n",
    b"HTTP/1.1 200 O\x00K\r\n\r\n",
    b"HTTP/1.1 200 O\rK\r\n\r\n",
    b"HTTP/1.1 200 O\nK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\x00\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nX: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 201 + b"\r\n",
]


def refused(head: bytes) -> int:
    with pytest.raises(ProtocolError) as caught:
        parse_request_head(head)
    assert caught.value.detail
    return caught.value.status


@pytest.mark.parametrize(("status", "line"), REQUEST_LINES)
def test_a_malformed_request_line_is_refused(status: int, line: bytes) -> None:
    assert refused(line + b"\r\n" + HOST + b"\r\n") == status


@pytest.mark.parametrize("target", TARGETS)
def test_a_malformed_target_is_refused(target: bytes) -> None:
    assert refused(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n") == 400


@pytest.mark.parametrize(("status", "line"), FIELD_LINES)
def test_a_malformed_field_line_is_refused_wherever_it_stands(status: int, line: bytes) -> None:
    first = b"POST / HTTP/1.1\r\n"
    assert refused(first + HOST + line + b"\r\nX-Last: z\r\n\r\n") == status
    assert refused(first + HOST + b"X-First: a\r\nCookie: a\r\n" + line + b"\r\n\r\n") == status
    if not line.startswith((b" ", b"\t")):
        assert refused(first + line + b"\r\n" + HOST + b"\r\n") == status


@pytest.mark.parametrize("host", HOSTS)
def test_a_malformed_host_is_refused(host: bytes) -> None:
    assert refused(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") == 400


@pytest.mark.parametrize("head", [b"", b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\n\n"])
def test_bytes_that_are_no_whole_head_are_refused(head: bytes) -> None:
    assert refused(head) == 400


@pytest.mark.parametrize("head", RESPONSES)
def test_a_malformed_response_head_is_a_bad_gateway(head: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_response_head(head)
    assert caught.value.status == 502
