"""Early hints of a route (RFC 8297): before the server is asked, to those that understand them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from support.edgewise_process import EdgewiseProcess
from support.http2_raw import Answer, Http2Client, request_fields
from support.origin import OK, Origin, OriginConnection
from support.raw_http import RawResponse, get, post

CSS, CDN = "</app.css>; rel=preload; as=style", "<https://cdn.example.com>; rel=preconnect"
HINT = f"HTTP/1.1 103 Early Hints\r\nLink: {CSS}\r\nLink: {CDN}\r\n\r\n".encode()
TOML = """
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/*"
upstream = "app"
early_hints = ["CSS", "CDN"]
[[routes]]
path = "/old/*"
upstream = "app"
early_hints = ["CSS", "CDN"]
early_hints_http1 = true
[[routes]]
path = "/cached/*"
upstream = "app"
early_hints = ["CSS", "CDN"]
cache = { default_ttl = "1h" }
"""
Site = tuple[EdgewiseProcess, Origin]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    origin = Origin()
    toml = TOML.replace("ORIGIN", origin.address).replace("CSS", CSS).replace("CDN", CDN)
    edgewise = EdgewiseProcess(toml, tmp_path_factory.mktemp("edgewise"))
    yield edgewise, origin
    edgewise.stop()
    origin.stop()


@pytest.fixture
def site(standing: Site) -> Site:
    standing[1].play(OK)
    return standing


def by_http2(site: Site, path: str, method: str = "GET", *extra: tuple[str, str]) -> Answer:
    with Http2Client(("127.0.0.1", site[0].port)) as client:
        return client.answer(client.request(request_fields(path, method, *extra)))


def by_http1(site: Site, request: bytes) -> RawResponse:
    with site[0].client() as client:
        return client.ask(request)


def links(reply: Answer) -> list[list[tuple[str, str]]]:
    """Return the Link fields of each interim answer."""
    return [[field for field in fields if field[0] == "link"] for fields in reply.interim]


def test_they_come_before_the_server_answers(site: Site) -> None:
    told = threading.Event()

    def script(connection: OriginConnection) -> None:
        connection.read_request()
        assert told.wait(20)
        connection.send(OK)

    site[1].play(script)
    with Http2Client(("127.0.0.1", site[0].port)) as client:
        stream = client.request(request_fields("/page"))
        client.wait(lambda: client.of(stream).interim)
        told.set()
        reply = client.answer(stream)
    assert (reply.status, links(reply)) == (200, [[("link", CSS), ("link", CDN)]])


def test_they_go_with_what_opens_a_page(site: Site) -> None:
    assert len(by_http2(site, "/", "GET", ("sec-fetch-mode", "navigate")).interim) == 1
    assert by_http2(site, "/", "GET", ("sec-fetch-mode", "cors")).interim == []
    assert by_http2(site, "/", "HEAD").interim == []


def test_http_1_1_gets_them_where_it_is_said_so(site: Site) -> None:
    assert by_http1(site, get("/page")).interim == []
    assert by_http1(site, get("/old/page")).interim == [HINT]
    assert by_http1(site, post(b"x", "/old/page")).interim == []
    with site[0].client() as client:
        client.send(b"GET /old/page HTTP/1.0\r\nHost: a\r\n\r\n")
        assert client.reader.to_end().startswith(b"HTTP/1.1 200")


def test_hints_of_the_server_follow(site: Site) -> None:
    own = b"HTTP/1.1 103 Early Hints\r\nLink: </own.css>; rel=preload\r\n\r\n"
    site[1].play(own + OK)
    reply = by_http1(site, get("/old/page"))
    assert (reply.interim, reply.body) == ([HINT, own], b"ok")


def test_what_is_stored_needs_none(site: Site) -> None:
    first = by_http2(site, "/cached/page")
    second = by_http2(site, "/cached/page")
    assert [len(first.interim), len(second.interim)] == [1, 0]
    assert (first.body, second.body) == (b"ok", b"ok")
