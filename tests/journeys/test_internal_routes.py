"""X-Accel-Redirect to internal routes: the app decides, another upstream answers, and nobody gets there otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.edgewise_process import EdgewiseProcess
from support.origin import OK, Origin, OriginConnection
from support.raw_http import get, post

REDIRECT = b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /vault/report?v=2\r\nContent-Length: 0\r\n\r\n"
Pair = tuple[EdgewiseProcess, Origin, Origin]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    app, vault = Origin(), Origin()
    edgewise = EdgewiseProcess(
        f'[upstreams.app]\nservers = ["{app.address}"]\n'
        f'[upstreams.vault]\nservers = ["{vault.address}"]\neject = false\nbreaker = {{ max_active = 100 }}\n'
        "retry = { attempts = 4 }\n"
        '[[routes]]\nupstream = "app"\n[[routes]]\npath = "/vault/*"\nupstream = "vault"\ninternal = true\n',
        tmp_path_factory.mktemp("edgewise"),
    )
    yield edgewise, app, vault
    edgewise.stop()
    app.stop()
    vault.stop()


@pytest.fixture
def pair(standing: Pair) -> Pair:
    standing[1].play(REDIRECT)
    standing[2].play(OK)
    return standing


def test_the_internal_route_answers_in_place_of_the_app(pair: Pair) -> None:
    edgewise, _, vault = pair
    with edgewise.client() as client:
        reply = client.ask(get("/download"))
    assert (reply.status, reply.body) == (200, b"ok")
    assert b"GET /vault/report?v=2 HTTP/1.1\r\n" in vault.received


def test_nobody_reaches_an_internal_route_directly(pair: Pair) -> None:
    edgewise, app, vault = pair
    app.play(OK)
    before = vault.received
    with edgewise.client() as client:
        client.ask(get("/vault/report?v=2"))
    assert vault.received == before


def test_a_redirected_upload_is_a_get_without_content_also_when_it_is_tried_again(pair: Pair) -> None:
    edgewise, _, vault = pair
    seen: list[bytes] = []

    def falls_silent_twice(connection: OriginConnection) -> None:
        connection.read_head()
        seen.append(connection.received)
        if len(seen) > 2:
            connection.send(OK)
        connection.close()

    vault.play(falls_silent_twice)
    with edgewise.client() as client:
        assert client.ask(post(b"GET /smuggled HTTP/1.1\r\n\r\n")).status == 200
    assert len(seen) == 3
    for received in seen:
        assert received.startswith(b"GET /vault/report?v=2 HTTP/1.1\r\n")
        assert received.endswith(b"\r\n\r\n")
        assert b"content-length" not in received.lower()
        assert b"smuggled" not in received
