"""Policies that need a request's whole content: it is gathered for them, within their bound, and goes on unharmed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgewise.contracts.exchange import Exchange
from edgewise.contracts.policies import Outcome, gathered
from support.edgewise_process import wait_until
from support.http2_raw import DATA, END_STREAM, Http2Client, frame, request_fields
from support.in_process import InProcessEngine
from support.origin import Origin
from support.raw_http import get, post

MOST = 200_000


class Gate:
    """A policy that wants the content, and may replace it."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.entered = 0
        self.replacement: bytes | None = None

    def __call__(self, exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """Look at the content."""
        self.entered += 1
        content = gathered(exchange, MOST, "auth")
        return self._look(exchange, content) if isinstance(content, bytes) else self._wait(exchange, content)

    async def _wait(self, exchange: Exchange, content: Awaitable[bytes]) -> Outcome:
        return self._look(exchange, await content)

    def _look(self, exchange: Exchange, content: bytes) -> Outcome:
        self.seen.append(content)
        if self.replacement is not None and exchange.body is not None:
            exchange.body.replace(self.replacement)


class Place:
    """An engine whose only route has the policy, before one origin."""

    def __init__(self, log: Path) -> None:
        self.origin = Origin()
        toml = f'[upstreams.app]\nservers = ["{self.origin.address}"]\n[[routes]]\nupstream = "app"\n'
        self.edge = InProcessEngine(toml + 'body_limit = "1MiB"\ntimeouts = { body = "15s" }\n', log)
        self.gate = Gate()
        [self.route] = self.edge.table.routes
        self.route.policies = (self.gate, self.gate)
        self.route.direct = False


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Return the engine, its policy and its origin."""
    place = Place(tmp_path / "access.log")
    yield place
    place.edge.stop()
    place.origin.stop()


def chunked(*parts: bytes) -> bytes:
    """Return a POST of chunks."""
    head = b"POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_content_that_came_with_the_head_is_seen_by_every_policy_and_by_the_server(place: Place) -> None:
    with place.edge.client() as client:
        assert client.ask(post(b"all of it")).body == b"ok"
    assert place.gate.seen == [b"all of it"] * 2
    assert place.origin.requests[0].endswith(b"\r\n\r\nall of it")


def test_content_in_pieces_is_waited_for_and_no_server_is_asked_before(place: Place) -> None:
    request = post(b"x" * 150_000)
    with place.edge.client() as client:
        client.send(request[:70_000])
        wait_until(lambda: place.gate.entered == 1, "the policy runs")
        assert not place.origin.connections
        client.send(request[70_000:])
        assert client.read().status == 200
    assert place.gate.seen == [b"x" * 150_000] * 2
    assert place.origin.requests[0].endswith(b"\r\n\r\n" + b"x" * 150_000)


def test_chunks_are_gathered_without_their_framing_and_the_next_request_is_none_of_it(place: Place) -> None:
    with place.edge.client() as client:
        client.send(chunked(b"one", b"two") + get())
        assert [client.read().status, client.read().status] == [200, 200]
    assert place.gate.seen == [b"onetwo"] * 2 + [b""] * 2


def test_a_request_without_content_is_not_waited_for(place: Place) -> None:
    with place.edge.client() as client:
        assert client.ask(get()).status == 200
        assert client.ask(post(b"")).status == 200
    assert place.gate.seen == [b""] * 4


def test_a_client_that_waits_for_100_is_told_to_send_once(place: Place) -> None:
    with place.edge.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert client.reader.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"body")
        answer = client.read()
    assert (answer.status, answer.interim) == (200, [])
    assert place.gate.seen == [b"body"] * 2


@pytest.mark.parametrize(
    "request_",
    [
        post(b"x" * (MOST + 1)),
        chunked(b"x" * MOST, b"x"),
        b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 300000\r\nExpect: 100-continue\r\n\r\n",
    ],
    ids=["length", "chunks", "expect"],
)
def test_content_over_the_policys_bound_is_refused_with_413(place: Place, request_: bytes) -> None:
    with place.edge.client() as client:
        answer = client.ask(request_)
    assert (answer.status, answer.interim) == (413, [])
    assert b'"policy": "auth"' in answer.body
    assert not place.origin.connections


def test_content_that_is_replaced_is_framed_by_its_own_length(place: Place) -> None:
    place.gate.replacement = b"other words"
    with place.edge.client() as client:
        for request in (post(b"words"), chunked(b"words"), post(b"words")):
            assert client.ask(request).status == 200
    for request in place.origin.requests:
        head, _, content = request.partition(b"\r\n\r\n")
        assert content == b"other words"
        assert b"\r\nContent-Length: 11" in head
        assert b"Transfer-Encoding" not in head


def test_a_client_that_leaves_while_its_content_is_gathered_leaves_nothing_behind(place: Place) -> None:
    with place.edge.client() as client:
        client.send(post(b"x" * 1000)[:-10])
        wait_until(lambda: place.gate.entered == 1, "the policy runs")
    engine = place.edge.engine
    wait_until(lambda: engine.finished == engine.requests == 1, "the exchange ended")
    assert not place.gate.seen


def test_broken_chunks_are_refused_while_they_are_gathered(place: Place) -> None:
    with place.edge.client() as client:
        client.send(chunked(b"one")[:-5])
        wait_until(lambda: place.gate.entered == 1, "the policy runs")
        client.send(b"no size\r\n")
        assert client.read().status == 400
    assert not place.gate.seen


def over_http2(place: Place, send: Callable[[Http2Client, int], Any]) -> int:
    """Return the status of a POST whose content `send` sends."""
    with Http2Client(("127.0.0.1", place.edge.port)) as client:
        stream = client.request(request_fields("/", "POST"), end=False)
        send(client, stream)
        return client.answer(stream).status


def test_content_of_an_http2_stream_is_gathered_too(place: Place) -> None:
    assert over_http2(place, lambda client, stream: client.send_content(stream, b"y" * 150_000)) == 200
    assert place.gate.seen == [b"y" * 150_000] * 2
    assert over_http2(place, lambda client, stream: client.send(frame(DATA, END_STREAM, stream))) == 200
    assert place.gate.seen[2:] == [b""] * 2


def test_content_of_an_http2_stream_over_the_bound_is_refused(place: Place) -> None:
    assert over_http2(place, lambda client, stream: client.send_content(stream, b"y" * (MOST + 1))) == 413
    assert not place.origin.connections
