"""What browsers are told of answers that are kept: for how long, by which tag, and what they are not told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from journeys.conftest import InProcess, StartOrigin
from support.cached_answers import ask, how
from support.edgewise_process import wait_until
from support.in_process import InProcessEngine
from support.origin import Origin, OriginConnection

StartSite = Callable[..., InProcessEngine]


def kept(body: bytes = b"hello", *lines: str, status: str = "200 OK") -> bytes:
    """Return an origin's answer; by default one that is kept for a minute."""
    fields = "".join(f"{line}\r\n" for line in lines or ("Cache-Control: s-maxage=60",))
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


@pytest.fixture
def site(in_process: InProcess) -> StartSite:
    """Start an engine whose route before an origin caches: `site(origin, "settings")`."""

    def start(origin: Origin, cache: str, route: str = "") -> InProcessEngine:
        toml = f"""
[upstreams.app]
servers = ["{origin.address}"]
retry.attempts = 1
[[routes]]
upstream = "app"
cache = {{ {cache} }}
{route}
"""
        return in_process(toml)

    return start


# ---- a policy for browsers -------------------------------------------------------------------------------------------

TAG = 'ETag: "1"'
POLICY = 'browser = "private, max-age=30"'


def test_the_policy_goes_out_with_a_miss_a_hit_a_304_and_a_part(origin: StartOrigin, site: StartSite) -> None:
    server = origin(kept(b"hello", "Cache-Control: s-maxage=60, public", 'ETag: "1"', "Expires: 0"))
    running = site(server, POLICY)
    answers = [
        ask(running),
        ask(running),
        ask(running, 'If-None-Match: "1"'),
        ask(running, "Range: bytes=1-2"),
        ask(running, method="HEAD"),
    ]
    assert [one.status for one in answers] == [200, 200, 304, 206, 200]
    for one in answers:
        age = int(one.get("age") or 0)
        assert one.get("cache-control") == f"private, max-age={30 + age}"
        assert one.get("expires") is None
    assert len(server.requests) == 1


def test_rfc9111_4_2_3_what_is_old_already_is_fresh_in_the_browser_for_as_long_as_the_route_says(
    origin: StartOrigin, site: StartSite
) -> None:
    running = site(origin(kept(b"hello", "Cache-Control: s-maxage=600", "Age: 100")), POLICY)
    for _ in range(2):
        answer = ask(running)
        age = int(answer.get("age") or 0)
        assert age >= 100
        assert answer.get("cache-control") == f"private, max-age={30 + age}"


def test_the_policy_goes_out_with_what_is_stale_too(origin: StartOrigin, site: StartSite) -> None:
    answers = [
        kept(b"old", "Cache-Control: max-age=1", "Age: 5", 'ETag: "1"'),
        kept(b"", status="503 Service Unavailable"),
    ]

    def answer(connection: OriginConnection) -> None:
        while True:
            connection.read_request()
            connection.send(answers.pop(0) if len(answers) > 1 else answers[0])

    running = site(origin(answer), POLICY + ', stale_if_error = "1h"')
    first, stale = ask(running), ask(running)
    assert (stale.status, stale.body) == (200, b"old")
    assert "stale-if-error" in how(stale)
    for one in (first, stale):
        assert one.get("cache-control") == f"private, max-age={30 + int(one.get('age') or 0)}"


def test_the_policy_goes_out_with_what_a_server_confirmed(origin: StartOrigin, site: StartSite) -> None:
    def answer(connection: OriginConnection) -> None:
        while True:
            if b"if-none-match" in connection.read_request().lower():
                connection.send(b'HTTP/1.1 304 X\r\nETag: "1"\r\nCache-Control: no-cache\r\nExpires: 0\r\n\r\n')
            else:
                connection.send(kept(b"hello", "Cache-Control: no-cache", 'ETag: "1"'))

    running = site(origin(answer), POLICY)
    first, second = ask(running), ask(running)
    assert "fwd-status=304" in how(second)
    for one in (first, second):
        assert (one.body, one.get("expires")) == (b"hello", None)
        assert one.get("cache-control") == f"private, max-age={30 + int(one.get('age') or 0)}"


@pytest.mark.parametrize("line", ["Cache-Control: private", "Cache-Control: no-store", "X-Nothing: said"])
def test_what_is_not_kept_has_its_own_word(origin: StartOrigin, site: StartSite, line: str) -> None:
    running = site(origin(kept(b"hello", line)), POLICY)
    for _ in range(2):
        answer = ask(running)
        assert answer.get("cache-control") == (line.partition(": ")[2] if line.startswith("Cache") else None)


def test_a_confirmed_answer_that_became_private_has_its_own_word(origin: StartOrigin, site: StartSite) -> None:
    def answer(connection: OriginConnection) -> None:
        while True:
            if b"if-none-match" in connection.read_request().lower():
                connection.send(b'HTTP/1.1 304 X\r\nETag: "1"\r\nCache-Control: private, no-store\r\n\r\n')
            else:
                connection.send(kept(b"hello", "Cache-Control: no-cache", 'ETag: "1"'))

    running = site(origin(answer), 'browser = "public, max-age=600"')
    ask(running)
    assert ask(running).get("cache-control") == "private, no-store"


def test_an_error_that_is_kept_does_not_last_as_an_asset_does(origin: StartOrigin, site: StartSite) -> None:
    server = origin(kept(b"none", "Content-Type: text/plain", status="404 Not Found"))
    running = site(server, 'browser = "public, max-age=31536000, immutable", status_ttl = { 404 = "10s" }')
    answers = [ask(running), ask(running)]
    assert [how(one) for one in answers] == ["fwd=uri-miss; stored", "hit"]
    assert [one.get("cache-control") for one in answers] == [None, None]
    assert len(server.requests) == 1


def test_fields_for_this_cache_stay_here_and_still_count(origin: StartOrigin, site: StartSite) -> None:
    lines = ("CDN-Cache-Control: max-age=60", "Cache-Control: max-age=5", "Surrogate-Key: a", "X-Own: 1")
    server = origin(kept(b"hello", *lines))
    hide = 'hide = ["Surrogate-Key", "CDN-Cache-Control"], purge_from = ["127.0.0.0/8"]'
    running = site(server, hide)
    for one in (ask(running), ask(running), ask(running, "Range: bytes=0-1"), ask(running, "Cache-Control: no-store")):
        assert (one.get("surrogate-key"), one.get("cdn-cache-control")) == (None, None)
        assert (one.get("x-own"), one.get("cache-control")) == ("1", "max-age=5")
    assert int((ask(running).get("cache-status") or "").rpartition("ttl=")[2]) > 5
    assert ask(running, "Surrogate-Key: a", method="PURGE").status == 200
    assert how(ask(running)) == "fwd=uri-miss; stored"


def test_fields_for_this_cache_are_taken_out_of_what_is_not_kept(origin: StartOrigin, site: StartSite) -> None:
    running = site(origin(kept(b"hello", "Cache-Control: private", "Surrogate-Key: a")), 'hide = ["Surrogate-Key"]')
    for one in (ask(running), ask(running), ask(running, method="POST")):
        assert (one.status, one.get("surrogate-key")) == (200, None)


# ---- tags made here --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "start"), [("weak", 'W/"'), ("strong", '"')])
def test_rfc9110_8_8_3_an_answer_without_a_tag_gets_one_of_its_content(
    origin: StartOrigin, site: StartSite, kind: str, start: str
) -> None:
    server = origin(kept(b"hello"))
    running = site(server, f'etag = "{kind}"')
    ask(running)
    hit = ask(running)
    tag = hit.get("etag") or ""
    assert tag.startswith(start)
    assert ask(running, f"If-None-Match: {tag}").status == 304
    assert ask(running, 'If-None-Match: "other"').status == 200
    assert ask(running, method="HEAD").get("etag") == tag
    assert len(server.requests) == 1
    again = site(server, f'etag = "{kind}"')
    ask(again)
    assert ask(again).get("etag") == tag


def test_tags_follow_the_content_and_nothing_else(origin: StartOrigin, site: StartSite) -> None:
    def answer(connection: OriginConnection) -> None:
        while True:
            path = connection.read_request().split(b" ")[1]
            body = b"x" * 300_000 if path in (b"/1", b"/2") else b"other"
            connection.send(kept(body, "Cache-Control: max-age=60", f"X-Path: {path.decode()}"))

    running = site(origin(answer), 'etag = "strong"')
    tags = []
    for path in ("/1", "/2", "/3"):
        ask(running, path=path)
        tags.append(ask(running, path=path).get("etag"))
    assert tags[0] == tags[1]
    assert tags[0] != tags[2]


def test_a_tag_of_the_server_stays(origin: StartOrigin, site: StartSite) -> None:
    running = site(origin(kept(b"hello", "Cache-Control: max-age=60", 'ETag: "own"')), 'etag = "weak"')
    assert [ask(running).get("etag") for _ in range(2)] == ['"own"', '"own"']


@pytest.mark.parametrize(
    "answer",
    [
        kept(b"hello", "Cache-Control: private"),
        kept(b"hello", "Cache-Control: max-age=60", status="404 Not Found"),
        kept(b"x" * 2000, "Cache-Control: max-age=60"),
    ],
)
def test_what_is_not_kept_whole_or_is_no_page_gets_no_tag(origin: StartOrigin, site: StartSite, answer: bytes) -> None:
    running = site(origin(answer), 'etag = "strong", max_object = 1000')
    assert [ask(running).get("etag") for _ in range(3)] == [None] * 3


def test_no_server_is_asked_about_a_tag_that_was_made_here(origin: StartOrigin, site: StartSite) -> None:
    modified = "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"
    asked: list[bytes] = []

    def answer(connection: OriginConnection) -> None:
        while True:
            asked.append(connection.read_request().lower())
            if b"if-modified-since" in asked[-1]:
                connection.send(f"HTTP/1.1 304 X\r\nCache-Control: max-age=60\r\n{modified}\r\n\r\n".encode())
            else:
                connection.send(kept(b"hello", "Cache-Control: no-cache", modified))

    running = site(origin(answer), 'etag = "strong"')
    ask(running)
    renewed = ask(running)
    assert "fwd-status=304" in how(renewed)
    assert b"if-none-match" not in asked[1]
    hit = ask(running)
    assert (how(hit), hit.get("etag")) == ("hit", renewed.get("etag"))
    assert hit.get("etag") is not None


def test_a_tag_made_here_goes_with_codings_and_policies(origin: StartOrigin, site: StartSite) -> None:
    body = b"the same words again, " * 500
    server = origin(kept(body, "Cache-Control: max-age=60", "Content-Type: text/html"))
    running = site(server, 'etag = "strong", browser = "no-cache"', "compress = true")
    tags = []

    def coded() -> bool:
        answer = ask(running, "Accept-Encoding: gzip")
        tags.append(answer.get("etag") or "")
        return answer.get("content-encoding") == "gzip"

    wait_until(coded, "a coded answer")
    assert tags[-1].startswith('W/"')
    same = ask(running, "Accept-Encoding: gzip", f"If-None-Match: {tags[-1]}")
    assert (same.status, same.get("cache-control"), same.get("etag")) == (304, "no-cache", tags[-1])
    plain = ask(running)
    assert (plain.body, "W/" + (plain.get("etag") or "")) == (body, tags[-1])


# ---- Clear-Site-Data -------------------------------------------------------------------------------------------------


def test_browsers_are_told_what_to_drop_with_every_answer_of_the_route(origin: StartOrigin, site: StartSite) -> None:
    def answer(connection: OriginConnection) -> None:
        while True:
            private = b"/mine" in connection.read_request()
            connection.send(kept(b"hello", "Cache-Control: private" if private else "Cache-Control: max-age=60", TAG))

    running = site(origin(answer), "", 'clear_site_data = ["cache", "storage"]')
    answers = [
        ask(running),
        ask(running),
        ask(running, "If-None-Match: " + TAG.partition(": ")[2]),
        ask(running, path="/mine"),
        ask(running, path="/mine"),
        ask(running, method="POST"),
    ]
    assert [one.status for one in answers] == [200, 200, 304, 200, 200, 200]
    assert [one.get("clear-site-data") for one in answers] == ['"cache", "storage"'] * 6
