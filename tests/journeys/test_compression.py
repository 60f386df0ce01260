"""Answers of upstreams compressed on their way: every framing, large and slow, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brotli
import pytest
from backports import zstd

from support.edgewise_process import EdgewiseProcess, wait_until
from support.http2_origin import Http2Origin, Stream
from support.http2_raw import INITIAL_WINDOW_SIZE, LARGEST_WINDOW, Http2Client, request_fields, settings, window_update
from support.origin import Origin, OriginConnection
from support.raw_http import ClosedEarly, RawResponse, get

TEXT = b"the same words again and again, " * 400
LARGE = os.urandom(1 << 20).hex().encode() * 4
CODINGS = ["br", "zstd", "gzip"]
WIDE = settings((INITIAL_WINDOW_SIZE, LARGEST_WINDOW)) + window_update(0, LARGEST_WINDOW - 65535)
TOML = """
[upstreams.app]
servers = ["ORIGIN"]
[upstreams.modern]
servers = ["MODERN"]
protocol = "h2c"
[[routes]]
path = "/*"
upstream = "app"
compress = true
[[routes]]
path = "/events/*"
upstream = "app"
compress = { types = ["text/event-stream"], codings = ["gzip"] }
[[routes]]
path = "/anonymous/*"
upstream = "app"
compress = { anonymous_only = true }
[[routes]]
path = "/edited/*"
upstream = "app"
compress = true
filters = ["editing:Edit"]
[[routes]]
path = "/modern/*"
upstream = "modern"
compress = true
"""
FILTER = """
class Edit:
    def response(self, request, response):
        response.headers["X-Edited"] = "1"
"""


def answer_by_path(stream: Stream) -> None:
    """Answer as an HTTP/2 server; the path says with what."""
    stream.read()
    fields = (("content-type", "text/plain"), ("etag", '"a"'))
    if stream.path == "/modern/small":
        stream.answer(200, TEXT, *fields)
        return
    stream.head(200, *fields)
    stream.send(LARGE)
    stream.end(("x-last", "1"))


class Site:
    """A standing edgewise before an origin of either version."""

    def __init__(self, directory: Path) -> None:
        self.origin, self.modern = Origin(), Http2Origin(answer_by_path)
        (directory / "editing.py").write_text(FILTER)
        toml = TOML.replace("ORIGIN", self.origin.address).replace("MODERN", self.modern.address)
        self.edgewise = EdgewiseProcess(toml, directory)

    def ask(self, path: str, coding: str, *lines: str, method: str = "GET") -> RawResponse:
        with self.edgewise.client() as client:
            request = get(path, "a", f"Accept-Encoding: {coding}", *lines).replace(b"GET", method.encode(), 1)
            return client.ask(request, head_request=method == "HEAD")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.edgewise.stop()
    site.origin.stop()
    site.modern.stop()
    assert "Traceback" not in site.edgewise.log
    assert not site.origin.errors


def decode(coding: str | None, coded: bytes) -> bytes:
    """Return what was encoded; all of it has to be there."""
    if coding == "gzip":
        stream = zlib.decompressobj(31)
        content = stream.decompress(coded)
        assert stream.eof
        return content
    if coding == "br":
        brotli_stream = brotli.Decompressor()
        whole: bytes = brotli_stream.process(coded)
        assert brotli_stream.is_finished()
        return whole
    assert coding == "zstd"
    zstd_stream = zstd.ZstdDecompressor()
    content = zstd_stream.decompress(coded)
    assert zstd_stream.eof
    return content


def answer(content: bytes, framing: str = "length", *lines: str, kind: str = "text/html") -> bytes:
    """Return an origin's answer."""
    head = "".join(f"{line}\r\n" for line in (f"Content-Type: {kind}", *lines))
    if framing == "length":
        return f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
    if framing == "close":
        return f"HTTP/1.1 200 OK\r\n{head}Connection: close\r\n\r\n".encode() + content
    pieces = [content[start : start + 5000] for start in range(0, len(content), 5000)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return f"HTTP/1.1 200 OK\r\n{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"


def playing(content: bytes, framing: str) -> bytes | Callable[[OriginConnection], None]:
    """Return a script that answers; one that ends content by closing ends the connection."""
    if framing != "close":
        return answer(content, framing)

    def close(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(answer(content, "close"))

    return close


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("content", [TEXT, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("coding", CODINGS)
def test_content_is_compressed_whatever_its_framing(site: Site, coding: str, content: bytes, framing: str) -> None:
    site.origin.play(playing(content, framing))
    reply = site.ask("/", coding)
    assert (reply.status, reply.get("content-encoding"), reply.get("vary")) == (200, coding, "Accept-Encoding")
    assert (reply.get("content-length"), reply.get("transfer-encoding")) == (None, "chunked")
    assert decode(coding, reply.body) == content
    assert len(reply.body) < len(content)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("content", [TEXT, LARGE], ids=["small", "large"])
def test_http2_clients_get_the_same(site: Site, content: bytes, framing: str) -> None:
    site.origin.play(playing(content, framing))
    with Http2Client(("127.0.0.1", site.edgewise.port), opening=WIDE) as client:
        stream = client.request(request_fields("/", "GET", ("accept-encoding", "br")))
        reply = client.answer(stream)
        assert (reply.get("content-encoding"), reply.get("content-length")) == ("br", None)
        assert decode("br", reply.body) == content


@pytest.mark.parametrize(("path", "content"), [("/modern/small", TEXT), ("/modern/large", LARGE)])
@pytest.mark.parametrize("client_version", [1, 2])
def test_http2_servers_answer_the_same(site: Site, path: str, content: bytes, client_version: int) -> None:
    reply: Any
    if client_version == 1:
        reply = site.ask(path, "zstd")
    else:
        with Http2Client(("127.0.0.1", site.edgewise.port), opening=WIDE) as client:
            reply = client.answer(client.request(request_fields(path, "GET", ("accept-encoding", "zstd"))))
            assert reply.get("x-last") == (None if content is TEXT else "1")
    assert (reply.get("content-encoding"), reply.get("etag")) == ("zstd", 'W/"a"')
    assert decode("zstd", reply.body) == content


def test_connections_are_kept_on_both_sides(site: Site) -> None:
    site.origin.play([answer(TEXT), answer(LARGE, "chunked"), answer(LARGE), answer(TEXT)])
    with site.edgewise.client() as client:
        for content in (TEXT, LARGE, LARGE, TEXT):
            reply = client.ask(get("/", "a", "Accept-Encoding: gzip"))
            assert decode("gzip", reply.body) == content
    assert len(site.origin.connections) == 1


def test_who_accepts_nothing_gets_it_as_it_is(site: Site) -> None:
    site.origin.play(answer(TEXT, "length", 'ETag: "a"', "Accept-Ranges: bytes"))
    for coding in ("identity", "deflate", "gzip;q=0", "*;q=0"):
        reply = site.ask("/", coding)
        assert (reply.body, reply.get("content-encoding"), reply.get("vary")) == (TEXT, None, "Accept-Encoding")
        assert (reply.get("etag"), reply.get("accept-ranges")) == ('"a"', "bytes")
        assert reply.get("content-length") == str(len(TEXT))


def test_the_preferred_coding_is_taken(site: Site) -> None:
    site.origin.play(answer(TEXT))
    assert site.ask("/", "gzip, deflate, br, zstd").get("content-encoding") == "zstd"
    assert site.ask("/", "gzip, br").get("content-encoding") == "br"
    assert site.ask("/", "br;q=0.5, gzip;q=0.9").get("content-encoding") == "gzip"


def test_validators_and_ranges_follow(site: Site) -> None:
    site.origin.play(answer(TEXT, "length", 'ETag: "a"', "Accept-Ranges: bytes", "Vary: Cookie"))
    reply = site.ask("/", "gzip")
    assert (reply.get("etag"), reply.get("accept-ranges")) == ('W/"a"', None)
    assert reply.all("vary") == ["Cookie", "Accept-Encoding"]


@pytest.mark.parametrize(
    "said",
    [
        answer(b"GZ" * 4000, "length", "Content-Encoding: gzip"),
        answer(TEXT, "length", "Cache-Control: no-transform"),
        answer(TEXT, "length", kind="image/png"),
        answer(TEXT[:500]),
        answer(TEXT, "length", "Content-Range: bytes 0-9/10").replace(b"200 OK", b"206 Partial Content"),
    ],
)
def test_what_must_not_be_touched_is_not(site: Site, said: bytes) -> None:
    site.origin.play(said)
    reply = site.ask("/", "gzip, br")
    assert said.endswith(b"\r\n\r\n" + reply.body)
    assert reply.get("content-length") == str(len(reply.body))


def test_head_says_what_get_would(site: Site) -> None:
    site.origin.play(answer(TEXT, "length", 'ETag: "a"').partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    with site.edgewise.client() as client:
        for _ in range(2):
            request = get("/", "a", "Accept-Encoding: br").replace(b"GET", b"HEAD")
            reply = client.ask(request, head_request=True)
            assert (reply.get("content-encoding"), reply.get("etag")) == ("br", 'W/"a"')
            assert (reply.get("vary"), reply.get("content-length")) == ("Accept-Encoding", None)


def test_a_filter_sees_the_answer_before_it_is_compressed(site: Site) -> None:
    site.origin.play(answer(TEXT, "length", 'ETag: "a"'))
    reply = site.ask("/edited/", "gzip")
    assert (reply.get("x-edited"), reply.get("content-encoding"), reply.get("etag")) == ("1", "gzip", 'W/"a"')
    assert decode("gzip", reply.body) == TEXT
    plain = site.ask("/edited/", "identity")
    assert (plain.body, plain.get("vary"), plain.get("content-encoding")) == (TEXT, "Accept-Encoding", None)


def test_one_users_answers_may_be_left_alone(site: Site) -> None:
    site.origin.play(answer(TEXT))
    for _ in range(3):
        assert site.ask("/anonymous/", "gzip").get("content-encoding") == "gzip"
        assert site.ask("/anonymous/", "gzip", "Cookie: a=1").get("content-encoding") is None
        assert site.ask("/anonymous/", "gzip", "Authorization: Basic YTpi").body == TEXT


def test_http_1_0_gets_it_as_it_is(site: Site) -> None:
    site.origin.play(answer(TEXT))
    with site.edgewise.client() as client:
        reply = client.ask(b"GET / HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        assert (reply.body, reply.get("content-encoding")) == (TEXT, None)


def test_events_go_out_as_they_come(site: Site) -> None:
    """Each one can be decoded before the next is sent."""
    seen = threading.Semaphore(0)

    def script(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            event = b"data: %d\n\n" % number
            connection.send(b"%x\r\n%b\r\n" % (len(event), event))
            assert seen.acquire(timeout=20)
        connection.send(b"0\r\n\r\n")

    site.origin.play(script)
    with site.edgewise.client() as client:
        client.send(get("/events/", "a", "Accept-Encoding: gzip"))
        assert b"Content-Encoding: gzip" in client.reader.until(b"\r\n\r\n")
        stream = zlib.decompressobj(31)
        for number in range(5):
            got = b""
            while not got:
                size = int(client.reader.until(b"\r\n"), 16)
                got = stream.decompress(client.reader.exactly(size))
                client.reader.exactly(2)
            assert got == b"data: %d\n\n" % number
            seen.release()


def test_events_are_not_compressed_unless_asked_for(site: Site) -> None:
    site.origin.play(answer(TEXT, "chunked", kind="text/event-stream"))
    assert site.ask("/", "gzip").body == TEXT


def test_a_slow_client_holds_the_server_back(site: Site) -> None:
    content = os.urandom(1 << 20).hex().encode() * 16
    sent = []

    def script(connection: OriginConnection) -> None:
        connection.read_request()
        head, _, body = answer(content).partition(b"\r\n\r\n")
        connection.send(head + b"\r\n\r\n")
        for start in range(0, len(body), 1 << 20):
            connection.send(body[start : start + (1 << 20)])
            sent.append(start)

    site.origin.play(script)
    with site.edgewise.client(receive_buffer=65536) as client:
        client.send(get("/", "a", "Accept-Encoding: gzip"))
        client.reader.until(b"\r\n\r\n")
        wait_until(lambda: sent, "the server sent something")
        body, _ = client.reader.chunked()
        assert decode("gzip", body) == content


def test_a_server_that_breaks_off_is_seen_as_such(site: Site) -> None:
    def script(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(answer(LARGE)[: len(LARGE) // 2])

    site.origin.play(script)
    with site.edgewise.client() as client, pytest.raises((ClosedEarly, ConnectionError)):
        client.ask(get("/", "a", "Accept-Encoding: gzip"))


def test_a_client_that_leaves_meanwhile_does_no_harm(site: Site) -> None:
    site.origin.play(answer(LARGE))
    for _ in range(5):
        with site.edgewise.client(receive_buffer=65536) as client:
            client.send(get("/", "a", "Accept-Encoding: br"))
            client.reader.exactly(100)
    assert decode("br", site.ask("/", "br").body) == LARGE


def test_many_at_once(site: Site) -> None:
    site.origin.play(answer(LARGE, "chunked"))
    failures: list[str] = []

    def one() -> None:
        for coding in CODINGS:
            if decode(coding, site.ask("/", coding).body) != LARGE:
                failures.append(coding)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
