"""Filters of the user's own on real requests: what they see, change and answer, and what becomes of their failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.edgewise_process import EdgewiseProcess, wait_until
from support.origin import OK, Origin
from support.raw_http import field_value, get, post

FILTERS = """
import asyncio

from edgewise.contracts.filters import Request, Response


def sees(request: Request) -> Response:
    lines = [request.method, request.path, request.query, request.client_ip, request.scheme, request.route]
    return Response(200, "|".join(lines))


def rewrites(request: Request) -> None:
    request.path, request.query = "/new", "a=b"
    request.headers["X-New"] = "yes"
    del request.headers["Cookie"]


async def waits(request: Request) -> Response | None:
    await asyncio.sleep(0)
    return Response(401, "who are you?") if request.path == "/async/no" else None


async def never(request: Request) -> None:
    await asyncio.Event().wait()


def breaks(request: Request) -> None:
    raise LookupError("the filter's own fault")


def forges(request: Request) -> None:
    request.path = "/a b"


class Answer:
    def response(self, request: Request, response: Response) -> Response | None:
        if response.status == 404:
            return Response(200, "found after all")
        response.headers["X-Seen"] = str(response.status)
        return None


class Broken:
    async def response(self, request: Request, response: Response) -> None:
        raise LookupError("no answer from here")


class Counts:
    def __init__(self):
        self.seen = 0

    def request(self, request: Request) -> Response:
        self.seen += 1
        return Response(200, str(self.seen))
"""
ROUTES = {
    "sees": "sees", "rewrites": "rewrites", "async": "waits", "never": "never", "breaks": "breaks", "forges": "forges",
    "answer": "Answer", "broken": "Broken", "counts": "Counts",
}  # fmt: skip
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"

Site = tuple[EdgewiseProcess, Origin]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory: Path = tmp_path_factory.mktemp("filters")
    (directory / "own_filters.py").write_text(FILTERS)
    app = Origin()
    toml = f'[upstreams.app]\nservers = ["{app.address}"]\n[[routes]]\nupstream = "app"\n'
    for path, name in ROUTES.items():
        toml += f'[[routes]]\nname = "{path}"\npath = "/{path}/*"\nupstream = "app"\nfilters = ["own_filters:{name}"]\n'
        toml += "filter_timeout = 0.3\n" if path == "never" else ""
    edgewise = EdgewiseProcess(toml, directory)
    yield edgewise, app
    edgewise.stop()
    app.stop()


@pytest.fixture
def site(running: Site) -> Site:
    running[1].play(OK)
    return running


def status_and_body(edgewise: EdgewiseProcess, request: bytes) -> tuple[int, bytes]:
    with edgewise.client() as client:
        reply = client.ask(request)
        return reply.status, reply.body


def test_a_filter_sees_the_request_as_it_was_matched(site: Site) -> None:
    edgewise, app = site
    expected = (200, b"GET|/sees/x|q=1|127.0.0.1|http|sees")
    assert status_and_body(edgewise, get("/sees/./x?q=1")) == expected
    assert app.requests == []


def test_what_a_filter_changes_is_what_is_forwarded(site: Site) -> None:
    edgewise, app = site
    body = b"content stays"
    assert status_and_body(edgewise, post(body, "/rewrites/x", "a", "Cookie: c", "X-Old: 1"))[0] == 200
    [request] = app.requests
    assert request.startswith(b"POST /new?a=b HTTP/1.1\r\n")
    assert (field_value(request, b"x-new"), field_value(request, b"x-old")) == (b"yes", b"1")
    assert field_value(request, b"cookie") is None
    assert request.endswith(body)


def test_an_async_filter_may_answer_or_let_pass(site: Site) -> None:
    edgewise, app = site
    assert status_and_body(edgewise, get("/async/no")) == (401, b"who are you?")
    assert status_and_body(edgewise, get("/async/yes")) == (200, b"ok")
    assert len(app.requests) == 1


@pytest.mark.parametrize("path", ["breaks", "never", "forges", "broken"])
def test_a_failing_filter_is_a_500_and_harms_no_other_request(site: Site, path: str) -> None:
    edgewise, _ = site
    assert status_and_body(edgewise, get(f"/{path}/x"))[0] == 500
    assert status_and_body(edgewise, get("/fine")) == (200, b"ok")


def test_the_traceback_of_a_failing_filter_is_logged(site: Site) -> None:
    edgewise, _ = site
    assert status_and_body(edgewise, get("/breaks/x"))[0] == 500
    wait_until(lambda: "the filter's own fault" in edgewise.log, "the error is logged")
    wait_until(lambda: "in breaks" in edgewise.log, "the traceback names the function")


def test_pipelined_requests_stay_in_order_around_an_async_filter(site: Site) -> None:
    edgewise, _ = site
    with edgewise.client() as client:
        client.send(get("/async/no") + get("/sees/x") + get("/async/yes") + get("/breaks/x"))
        assert [client.read().status for _ in range(4)] == [401, 200, 200, 500]


def test_a_response_filter_edits_the_head_or_answers_in_its_place(site: Site) -> None:
    edgewise, app = site
    with edgewise.client() as client:
        reply = client.ask(get("/answer/x"))
        assert (reply.status, reply.get("X-Seen"), reply.body) == (200, "200", b"ok")
        app.play(NOT_FOUND)
        reply = client.ask(get("/answer/y"))
        assert (reply.status, reply.body) == (200, b"found after all")
        assert client.ask(get("/sees/z")).status == 200


def test_a_filter_class_is_made_once_a_worker(site: Site) -> None:
    edgewise, _ = site
    numbers = [int(status_and_body(edgewise, get("/counts/x"))[1]) for _ in range(3)]
    assert numbers == [1, 2, 3]


def test_a_client_that_leaves_while_a_filter_waits_leaves_nothing_behind(site: Site) -> None:
    edgewise, app = site
    with edgewise.client() as client:
        client.send(get("/never/x"))
    assert status_and_body(edgewise, get("/fine")) == (200, b"ok")
    assert all(b"/never" not in request for request in app.requests)
