"""A route that caches and compresses, on real sockets: answers are coded once, agree with the object and go with it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd

from journeys.conftest import InProcess, StartOrigin
from support.cached_answers import ask, how
from support.edgewise_process import wait_until
from support.http2_raw import Http2Client
from support.in_process import InProcessEngine
from support.origin import Origin, OriginConnection
from support.raw_http import RawResponse

StartSite = Callable[..., InProcessEngine]
SMALL = b"the same words again and again, " * 300
LARGE = os.urandom(1 << 19).hex().encode()
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.decompress,
    "zstd": zstd.decompress,
    "gzip": lambda data: zlib.decompress(data, 31),
}


def text(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    """Return an origin's answer that is cached and worth compressing."""
    fields = "".join(f"{line}\r\n" for line in ("Content-Type: text/html", *lines))
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


@pytest.fixture
def site(in_process: InProcess) -> StartSite:
    """Start an engine whose route before an origin caches and compresses."""

    def start(origin: Origin, cache: str = "", compress: str = "true", memory: str = "64MB") -> InProcessEngine:
        toml = f"""
[cache]
memory = "{memory}"
[server]
workers = 1
[upstreams.app]
servers = ["{origin.address}"]
[[routes]]
upstream = "app"
cache = {{ {cache} }}
compress = {compress}
"""
        return in_process(toml)

    return start


def until_coded(site: InProcessEngine, coding: str, path: str = "/page") -> RawResponse:
    """Ask until the coded form is there."""
    found: list[RawResponse] = []

    def coded() -> bool:
        found.append(ask(site, f"Accept-Encoding: {coding}", path=path))
        return found[-1].get("content-encoding") == coding

    wait_until(coded, "a coded answer")
    return found[-1]


@pytest.mark.parametrize("coding", DECODERS)
def test_small_content_is_coded_from_the_first_answer_on(origin: StartOrigin, site: StartSite, coding: str) -> None:
    server = origin(text(SMALL, "Cache-Control: max-age=60", 'ETag: "1"'))
    running = site(server)
    first, second = (ask(running, f"Accept-Encoding: {coding}") for _ in range(2))
    assert (how(first), how(second)) == ("fwd=uri-miss; stored", "hit")
    for answer in (first, second):
        assert answer.get("content-encoding") == coding
        assert DECODERS[coding](answer.body) == SMALL
        assert answer.get("content-length") == str(len(answer.body))
        assert answer.get("vary") == "Accept-Encoding"
        assert answer.get("etag") == 'W/"1"'
    assert len(server.requests) == 1


def test_each_client_gets_the_coding_it_prefers_and_others_the_content_itself(
    origin: StartOrigin, site: StartSite
) -> None:
    server = origin(text(SMALL, "Cache-Control: max-age=60", 'ETag: "1"'))
    running = site(server)
    for accepted, coding in (
        ("gzip, br;q=0.5", "gzip"),
        ("gzip;q=0.2, br;q=0.9, zstd;q=0.5", "br"),
        ("gzip, br, zstd", "zstd"),
        ("*", "zstd"),
        ("deflate", None),
        ("gzip;q=0, identity", None),
    ):
        assert ask(running, f"Accept-Encoding: {accepted}").get("content-encoding") == coding
    plain = ask(running)
    assert (plain.body, plain.get("etag"), plain.get("vary")) == (SMALL, '"1"', "Accept-Encoding")
    assert len(server.requests) == 1


def test_large_content_is_coded_by_a_thread_and_goes_out_as_it_is_meanwhile(
    origin: StartOrigin, site: StartSite
) -> None:
    server = origin(text(LARGE, "Cache-Control: max-age=60"))
    running = site(server)
    first = ask(running, "Accept-Encoding: gzip")
    assert (first.body, first.get("content-encoding")) == (LARGE, None)
    coded = until_coded(running, "gzip")
    assert DECODERS["gzip"](coded.body) == LARGE
    assert how(coded) == "hit"
    assert len(server.requests) == 1


def test_rfc9110_13_1_2_the_tag_of_a_coded_answer_is_answered_with_304(origin: StartOrigin, site: StartSite) -> None:
    running = site(origin(text(SMALL, "Cache-Control: max-age=60", 'ETag: "1"')))
    tag = ask(running, "Accept-Encoding: br").get("etag")
    same = ask(running, "Accept-Encoding: br", f"If-None-Match: {tag}")
    other = ask(running, "Accept-Encoding: br", 'If-None-Match: "2"')
    assert (same.status, same.get("etag"), same.get("vary")) == (304, tag, "Accept-Encoding")
    assert same.get("content-encoding") is None
    assert (other.status, other.get("content-encoding")) == (200, "br")


def test_rfc9110_14_2_ranges_are_of_the_content_itself(origin: StartOrigin, site: StartSite) -> None:
    running = site(origin(text(SMALL, "Cache-Control: max-age=60", 'ETag: "1"')))
    coded = ask(running, "Accept-Encoding: br")
    part = ask(running, "Accept-Encoding: br", "Range: bytes=4-7")
    assert (part.status, part.body, part.get("content-encoding")) == (206, SMALL[4:8], None)
    assert part.get("content-range") == f"bytes 4-7/{len(SMALL)}"
    assert part.get("etag") == '"1"'
    mixed = ask(running, "Accept-Encoding: br", "Range: bytes=4-7", f"If-Range: {coded.get('etag')}")
    assert (mixed.status, mixed.body) == (200, SMALL)


def test_head_tells_what_get_would_say(origin: StartOrigin, site: StartSite) -> None:
    running = site(origin(text(SMALL, "Cache-Control: max-age=60")))
    whole = ask(running, "Accept-Encoding: br")
    head = ask(running, "Accept-Encoding: br", method="HEAD")
    names = ("content-length", "content-encoding", "vary", "etag")
    assert [head.get(name) for name in names] == [whole.get(name) for name in names]


@pytest.mark.parametrize(
    "line",
    [
        "Content-Type: image/png",
        "Content-Encoding: x-own",
        "Cache-Control: no-transform",
        "Content-Digest: sha-256=:a:",
    ],
)
def test_what_is_not_compressed_without_a_cache_is_not_with_one(
    origin: StartOrigin, site: StartSite, line: str
) -> None:
    given = "" if line.startswith("Content-Type") else "Content-Type: text/html\r\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(SMALL)}\r\nCache-Control: max-age=60\r\n{given}{line}\r\n\r\n"
    running = site(origin(head.encode() + SMALL))
    for _ in range(2):
        answer = ask(running, "Accept-Encoding: gzip, br")
        assert (answer.body, answer.get("vary")) == (SMALL, None)


def test_what_does_not_become_smaller_is_sent_as_it_is(origin: StartOrigin, site: StartSite) -> None:
    noise = os.urandom(8000)
    running = site(origin(text(noise, "Cache-Control: max-age=60")))
    for _ in range(2):
        answer = ask(running, "Accept-Encoding: br")
        assert (answer.body, answer.get("content-encoding"), answer.get("vary")) == (noise, None, "Accept-Encoding")


def test_what_the_server_compressed_itself_is_kept_by_coding(origin: StartOrigin, site: StartSite) -> None:
    asked: list[bytes] = []

    def answer(connection: OriginConnection) -> None:
        while True:
            asked.append(connection.read_request())
            coded = b"gzip" in asked[-1]
            body = zlib.compress(SMALL, wbits=31) if coded else SMALL
            lines = ["Cache-Control: max-age=60", "Vary: Accept-Encoding"] + ["Content-Encoding: gzip"] * coded
            connection.send(text(body, *lines))

    running = site(origin(answer))
    for _ in range(2):
        coded, plain, other = ask(running, "Accept-Encoding: gzip"), ask(running), ask(running, "Accept-Encoding: br")
        assert DECODERS["gzip"](coded.body) == SMALL
        assert coded.get("vary") == "Accept-Encoding"
        assert plain.body == SMALL
        assert DECODERS["br"](other.body) == SMALL
    assert len(asked) == 3


def test_a_coded_form_goes_with_its_object(origin: StartOrigin, site: StartSite) -> None:
    bodies = [SMALL, SMALL.upper()]

    def answer(connection: OriginConnection) -> None:
        while True:
            connection.read_request()
            connection.send(text(bodies[0], "Cache-Control: max-age=60"))
            bodies.reverse()

    running = site(origin(answer), cache='purge_from = ["127.0.0.0/8"]')
    assert DECODERS["br"](ask(running, "Accept-Encoding: br").body) == SMALL
    assert ask(running, method="PURGE").status == 200
    assert DECODERS["br"](ask(running, "Accept-Encoding: br").body) == SMALL.upper()


def test_rfc9111_3_2_a_confirmed_object_keeps_its_coded_forms(origin: StartOrigin, site: StartSite) -> None:
    asked: list[bytes] = []

    def answer(connection: OriginConnection) -> None:
        while True:
            asked.append(connection.read_request())
            if b"if-none-match" in asked[-1].lower():
                connection.send(
                    b'HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: "1"\r\nX-New: 1\r\n\r\n'
                )
            else:
                connection.send(text(LARGE, "Cache-Control: max-age=60", 'ETag: "1"'))

    running = site(origin(answer))
    ask(running)
    until_coded(running, "br")
    renewed = ask(running, "Accept-Encoding: br", "Cache-Control: no-cache")
    assert (renewed.get("content-encoding"), renewed.get("x-new")) == ("br", "1")
    hit = ask(running, "Accept-Encoding: br")
    assert (hit.get("content-encoding"), hit.get("x-new"), how(hit)) == ("br", "1", "hit")
    assert DECODERS["br"](hit.body) == LARGE
    assert len(asked) == 2


def test_answers_that_are_not_kept_vary_too(origin: StartOrigin, site: StartSite) -> None:
    running = site(origin(text(SMALL, "Cache-Control: private")))
    first, second = (ask(running, "Accept-Encoding: gzip") for _ in range(2))
    assert (first.get("vary"), second.get("vary")) == ("Accept-Encoding", "Accept-Encoding")
    assert DECODERS["gzip"](second.body) == SMALL


def test_coded_answers_go_over_http2_too(origin: StartOrigin, site: StartSite) -> None:
    running = site(origin(text(SMALL, "Cache-Control: max-age=60")))
    ask(running)
    with Http2Client(("127.0.0.1", running.port)) as client:
        answer = client.get("/page", ("accept-encoding", "br"))
    assert answer.get("content-encoding") == "br"
    assert DECODERS["br"](answer.body) == SMALL


def test_anonymous_only_leaves_answers_to_users_alone(origin: StartOrigin, site: StartSite) -> None:
    running = site(origin(text(SMALL, "Cache-Control: public, max-age=60")), compress="{ anonymous_only = true }")
    for _ in range(2):
        assert ask(running, "Accept-Encoding: br").get("content-encoding") == "br"
        assert ask(running, "Accept-Encoding: br", "Cookie: a=b").get("content-encoding") is None


def test_http_1_0_gets_content_as_it_is(origin: StartOrigin, site: StartSite) -> None:
    running = site(origin(text(SMALL, "Cache-Control: max-age=60")))
    ask(running, "Accept-Encoding: br")
    with running.client() as client:
        client.send(b"GET /page HTTP/1.0\r\nHost: example.com\r\nAccept-Encoding: br\r\n\r\n")
        assert client.read().body == SMALL


def test_get_of_many_pages_with_little_room_stays_right(origin: StartOrigin, site: StartSite) -> None:
    def answer(connection: OriginConnection) -> None:
        while True:
            path = connection.read_request().split(b" ")[1]
            connection.send(text(path * 4000, "Cache-Control: max-age=60"))

    running = site(origin(answer), memory="300KB")
    for _ in range(3):
        for number in range(30):
            path = f"/page-{number}"
            answered = ask(running, "Accept-Encoding: br", path=path)
            body = answered.body if answered.get("content-encoding") is None else DECODERS["br"](answered.body)
            assert body == path.encode() * 4000
