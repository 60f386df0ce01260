"""Idempotency keys in an engine of this process, on a state engine that can be lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.contracts.plan import Answer
from edgewise.gateway.idempotency import Idempotency, Settings, parse_key
from edgewise.gateway.kept_answers import pack, unpack
from edgewise.proxy.recording import record
from edgewise.testing.state import MemoryStateEngine
from support.edgewise_process import wait_until
from support.http2_raw import RST_STREAM, Http2Client, frame, request_fields
from support.in_process import InProcessEngine
from support.origin import Origin, OriginConnection
from support.raw_http import RawClient, RawResponse, post

LARGE = 3_000_000


def settings(**changes: Any) -> Settings:
    usual: dict[str, Any] = {
        "header": b"idempotency-key", "methods": frozenset((b"POST",)), "required": False, "keep": 60.0, "lock": 2.0,
        "most": 10_000_000, "most_request": 1000, "by": (b"authorization",), "not_kept": ((500, 599),), "allow": False,
    }  # fmt: skip
    return Settings(**{**usual, **changes})


class App:
    """Answers with how often it was asked, once it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            path = connection.read_request().split(b" ")[1]
            self.asked += 1
            text = b"%d" % self.asked
            assert self.go_on.wait(60)
            if path == b"/large":
                text = text.ljust(LARGE, b".")
            connection.send(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\nX-A: 1\r\n\r\n%b" % (len(text), text))


class Place:
    """An engine whose only route has the policy."""

    def __init__(self, log: Path) -> None:
        self.app = App()
        self.origin = Origin(self.app)
        self.edge = InProcessEngine(f'[upstreams.app]\nservers = ["{self.origin.address}"]\n', log)
        self.state = MemoryStateEngine()
        [self.route] = self.edge.table.routes
        self.route.direct = False
        self.use(settings())

    def use(self, chosen: Settings) -> None:
        self.route.policies = (Idempotency(chosen, "route", self._open, record).check,)

    async def _open(self) -> Any:
        return self.state

    def ask(self, key: str = "key", path: str = "/") -> RawResponse:
        with self.edge.client() as client:
            return client.ask(post(b"order", path, "a", f"Idempotency-Key: {key}"))

    def begin(self, key: str = "key", path: str = "/") -> RawClient:
        """Send a request whose answer does not come yet."""
        before = self.app.asked
        self.app.go_on.clear()
        client = self.edge.client()
        client.send(post(b"order", path, "a", f"Idempotency-Key: {key}"))
        wait_until(lambda: self.app.asked > before, "the server is asked")
        return client

    def on_state(self, call: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(call, self.edge.loop).result(15)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "access.log")
    yield made
    made.app.go_on.set()
    made.edge.stop()
    made.origin.stop()


def replayed(answer: RawResponse) -> bool:
    return answer.get("Idempotency-Replayed") == "true"


def test_an_answer_of_many_pieces_is_given_again(place: Place) -> None:
    first, second = place.ask(path="/large"), place.ask(path="/large")
    assert first.body == second.body == b"1".ljust(LARGE, b".")
    assert (replayed(first), replayed(second), place.app.asked) == (False, True, 1)


def test_a_part_of_a_kept_answer_that_is_gone_lets_nothing_run_again(place: Place) -> None:
    place.ask(path="/large")
    place.state._blobs.clear()
    assert (place.ask(path="/large").status, place.app.asked) == (503, 1)


def test_a_lost_engine_refuses_or_lets_through_as_configured(place: Place) -> None:
    place.state.lost = True
    refused = place.ask()
    assert (refused.status, refused.get("Retry-After"), place.app.asked) == (503, "1", 0)
    place.use(settings(allow=True))
    assert [replayed(place.ask()) for _ in range(2)] == [False, False]


def test_an_answer_is_kept_once_an_engine_lost_meanwhile_is_back(place: Place) -> None:
    with place.begin() as client:
        place.state.lost = True
        place.app.go_on.set()
        assert client.read().body == b"1"  # its client does not wait for that
    place.state.lost = False
    wait_until(lambda: replayed(place.ask()), "the answer is kept")
    assert place.app.asked == 1


def test_a_key_is_free_again_when_whoever_held_it_died(place: Place) -> None:
    with place.begin():
        [name] = place.state._keys
        held, _, _ = place.state._keys[name]
        place.app.go_on.set()
    wait_until(lambda: replayed(place.ask()), "the answer is kept")
    place.on_state(place.state.set(name, held[:-16] + b"0123456789abcdef", 2.0))
    assert place.ask().status == 409
    wait_until(lambda: place.ask().status == 201, "the lease ends")
    assert place.app.asked == 2


def test_whoever_lost_the_key_keeps_nothing_under_it(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    with place.begin() as client:
        [name] = place.state._keys
        others = place.state._keys[name][0][:-16] + b"0123456789abcdef"
        place.on_state(place.state.set(name, others, 60.0))
        place.app.go_on.set()
        assert client.read().body == b"1"
    assert place.state._keys[name][0] == others
    assert "was lost to" in caplog.text or "was lost while" in caplog.text


def test_streams_of_http2_have_keys_too(place: Place) -> None:
    with Http2Client(("127.0.0.1", place.edge.port)) as client:
        for number in range(3):
            stream = client.request(request_fields("/", "POST", ("idempotency-key", "key")), end=False)
            client.send_content(stream, b"order")
            answer = client.answer(stream)
            assert (answer.status, answer.body, answer.get("x-a")) == (201, b"1", "1")
            assert answer.get("idempotency-replayed") == ("true" if number else None)


def test_a_stream_that_is_reset_leaves_its_answer_to_the_next(place: Place) -> None:
    place.app.go_on.clear()
    with Http2Client(("127.0.0.1", place.edge.port)) as client:
        stream = client.request(request_fields("/", "POST", ("idempotency-key", "key")), end=False)
        client.send_content(stream, b"order")
        wait_until(lambda: place.app.asked, "the server is asked")
        client.send(frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
        client.pong()
        place.app.go_on.set()

        def again() -> bool:
            stream = client.request(request_fields("/", "POST", ("idempotency-key", "key")), end=False)
            client.send_content(stream, b"order")
            return client.answer(stream).get("idempotency-replayed") == "true"

        wait_until(again, "the answer is kept")
    assert place.app.asked == 1


def test_a_client_that_leaves_amid_a_long_answer_finds_it_again(place: Place) -> None:
    with place.begin(path="/large") as client:
        place.app.go_on.set()
        client.reader.exactly(1000)  # and reads no more
    wait_until(lambda: replayed(place.ask(path="/large")), "the answer is kept")
    assert place.app.asked == 1


def test_a_client_that_leaves_before_a_server_is_asked_leaves_its_key(place: Place) -> None:
    with place.edge.client() as client:
        client.send(post(b"order", "/", "a", "Idempotency-Key: key")[:-3])
        wait_until(lambda: place.edge.engine.connections, "it is there")
    assert (replayed(place.ask()), place.app.asked) == (False, 1)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b"8e03978e-40d5-43dd-bc93-6894a57f9324", b"8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (b'"8e03978e"', b"8e03978e"),
        (b'"a \\"b\\" \\\\c"', b'a "b" \\c'),
        (b"x" * 255, b"x" * 255),
        (b"", None),
        (b'""', None),
        (b'"open', None),
        (b'a"b', None),
        (b"a,b", None),
        (b"a;b=1", None),
        (b"a b", None),
        (b"\xe9", None),
        (b"x" * 256, None),
        (b'"a"; b=1', None),
    ],
)
def test_keys_are_strings_of_structured_fields_or_bare(value: bytes, key: bytes | None) -> None:
    assert parse_key(value) == key


NAMES = st.text("abcXYZ-", min_size=1, max_size=8).map(str.encode).filter(lambda name: not name.startswith(b"set-"))
VALUES = st.text(st.characters(codec="latin-1", exclude_categories=("Cc",)), max_size=20).map(
    lambda text: text.strip(" \xa0").encode("latin-1")
)


@given(st.integers(200, 999), st.lists(st.tuples(NAMES, VALUES), max_size=5), st.binary(max_size=100))
def test_an_answer_is_unpacked_as_it_was_packed(status: int, fields: list[tuple[bytes, bytes]], content: bytes) -> None:
    answer = Answer(status, tuple(fields), content)
    cookies = ((b"Set-Cookie", b"a=1"), *answer.fields)
    assert unpack(pack(answer._replace(fields=cookies))) == answer
