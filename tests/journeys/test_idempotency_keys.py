"""Idempotency keys on real sockets: what was asked for once is done once, whoever asks again and wherever it lands."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from journeys.conftest import StartEdgewise, StartOrigin
from support.edgewise_process import EdgewiseProcess, wait_until
from support.origin import Origin, OriginConnection
from support.raw_http import ClosedEarly, RawResponse, post
from support.state_servers import NatsServer

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 2
drain_timeout = "1s"
[state]
url = "URL"
patience = "1s"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/*"
upstream = "app"
idempotency = { most = "100KiB", most_request = "1KiB" }
[[routes]]
path = "/needed"
upstream = "app"
idempotency = { required = true, methods = ["POST"] }
[[routes]]
path = ["/slow-edited", "/edited"]
upstream = "app"
idempotency = {}
transform = { response = { body = { set = { "/edited" = true } } } }
[[routes]]
path = "/brief"
upstream = "app"
idempotency = { lock = "1s" }
"""
NUMBERS = iter(range(1, 1_000_000))


class App:
    """Counts what it is asked for, and answers by the path; what `/slow` asks waits until it may go on."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            path = connection.read_request().split(b" ")[1].decode()
            with self._lock:
                count = self.asked[path] = self.asked.get(path, 0) + 1
            self._answer(connection, path, count)

    def _answer(self, connection: OriginConnection, path: str, count: int) -> None:
        text = f"{path} {count}".encode()
        if path.startswith(("/slow", "/brief")):
            assert self.go_on.wait(60)
        if path.endswith("edited"):
            text = b'{"count":%d}' % count
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n" + text)
        elif path.startswith("/chunked"):
            connection.send(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            connection.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text))
        elif path.startswith("/broken"):
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            connection.close()
        elif path.startswith("/large"):
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + text.ljust(90000, b"."))
        elif path.startswith("/too-large"):
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + text.ljust(300000, b"."))
        else:
            status = b"500 Oops" if path.startswith("/fails") else b"404 None" if path == "/none" else b"201 Created"
            own = b"Location: /made\r\nSet-Cookie: secret=1\r\n"
            connection.send(b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, own, len(text), text))


@pytest.fixture(scope="module")
def app() -> App:
    return App()


@pytest.fixture(scope="module")
def shop(app: App) -> Iterator[Origin]:
    server = Origin(app)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def edgewise(shop: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgewiseProcess]:
    toml = TOML.replace("ORIGIN", shop.address).replace("URL", "sqlite:state")
    server = EdgewiseProcess(toml, tmp_path_factory.mktemp("keys"))
    yield server
    server.stop()


@pytest.fixture
def key() -> str:
    """A key that no other test has."""
    return f"key-{next(NUMBERS)}"


def ask(edgewise: EdgewiseProcess, path: str, key: str, *fields: str, body: bytes = b"order") -> RawResponse:
    """Ask on a connection of its own, which any worker may take."""
    with edgewise.client() as client:
        return client.ask(post(body, path, "shop.example", f"Idempotency-Key: {key}", *fields))


def replayed(answer: RawResponse) -> bool:
    return answer.get("Idempotency-Replayed") == "true"


def test_an_answer_is_given_again_by_every_worker(edgewise: EdgewiseProcess, app: App, key: str) -> None:
    first = ask(edgewise, "/once", key)
    others = [ask(edgewise, "/once", key) for _ in range(12)]
    assert (first.status, first.body, replayed(first)) == (201, b"/once 1", False)
    assert {(other.status, other.body, replayed(other)) for other in others} == {(201, b"/once 1", True)}
    assert {other.get("Location") for other in others} == {"/made"}
    assert first.get("Set-Cookie") == "secret=1"
    assert {other.get("Set-Cookie") for other in others} == {None}
    assert app.asked["/once"] == 1


def test_a_key_may_be_a_quoted_string(edgewise: EdgewiseProcess, key: str) -> None:
    assert not replayed(ask(edgewise, "/quoted", f'"{key} \\" x"'))
    assert replayed(ask(edgewise, "/quoted", f'"{key} \\" x"'))
    for wrong in ("", '"open', "a, b", "two words", "x" * 256):
        assert ask(edgewise, "/quoted", wrong).status == 400


@pytest.mark.parametrize("path", ["/chunked", "/large", "/none"])
def test_answers_are_kept_however_they_are_framed(edgewise: EdgewiseProcess, app: App, key: str, path: str) -> None:
    first, second = ask(edgewise, path, key), ask(edgewise, path, key)
    assert (second.status, second.body, replayed(second)) == (first.status, first.body, True)
    assert app.asked[path] == 1


@pytest.mark.parametrize("path", ["/fails", "/too-large"])
def test_what_is_not_kept_leaves_the_key_free(edgewise: EdgewiseProcess, app: App, key: str, path: str) -> None:
    answers = [ask(edgewise, path, key) for _ in range(2)]
    assert [replayed(answer) for answer in answers] == [False, False]
    assert app.asked[path] == 2


def test_an_answer_that_breaks_off_leaves_the_key_free(edgewise: EdgewiseProcess, app: App, key: str) -> None:
    for _ in range(2):
        with pytest.raises(ClosedEarly):
            wait_until(lambda: ask(edgewise, "/broken", key).status != 409, "the key is free")
    assert app.asked["/broken"] == 2


def test_keys_are_those_of_their_sender(edgewise: EdgewiseProcess, app: App, key: str) -> None:
    senders = ["Authorization: Bearer a", "Authorization: Bearer b", "Cookie: session=1", "X-Other: nobody's"]
    bodies = [ask(edgewise, "/senders", key, sender).body for sender in senders]
    assert bodies == [b"/senders %d" % number for number in (1, 2, 3, 4)]
    assert [ask(edgewise, "/senders", key, sender).body for sender in senders] == bodies


def test_another_request_under_the_same_key_gets_422(edgewise: EdgewiseProcess, key: str) -> None:
    assert ask(edgewise, "/first", key).status == 201
    answer = ask(edgewise, "/first", key, body=b"another order")
    assert answer.status == 422
    problem = json.loads(answer.body)
    assert (problem["policy"], problem["status"]) == ("idempotency", 422)
    assert ask(edgewise, "/first?query", key).status == 422
    assert ask(edgewise, "/second", key).status == 422


def test_one_that_is_under_way_gets_409_and_is_told_when_to_come_again(
    edgewise: EdgewiseProcess, app: App, key: str
) -> None:
    app.go_on.clear()
    with edgewise.client() as client:
        client.send(post(b"order", "/slow", "shop.example", f"Idempotency-Key: {key}"))
        wait_until(lambda: app.asked.get("/slow"), "the server is asked")
        answer = ask(edgewise, "/slow", key)
        assert answer.status == 409
        assert 1 <= int(answer.get("Retry-After") or 0) <= 5
        app.go_on.set()
        assert client.read().body == b"/slow 1"
    assert ask(edgewise, "/slow", key).body == b"/slow 1"


def test_a_client_that_leaves_finds_its_answer_when_it_comes_again(
    edgewise: EdgewiseProcess, app: App, key: str
) -> None:
    app.go_on.clear()
    with edgewise.client() as client:
        client.send(post(b"order", "/slow-left", "shop.example", f"Idempotency-Key: {key}"))
        wait_until(lambda: app.asked.get("/slow-left"), "the server is asked")
    app.go_on.set()
    wait_until(lambda: replayed(ask(edgewise, "/slow-left", key)), "the answer is kept")
    assert app.asked["/slow-left"] == 1
    wait_until(
        lambda: any((line["path"], line["end"]) == ("/slow-left", "client") for line in edgewise.access_log), "its line"
    )


def test_what_is_kept_is_what_transformation_made(edgewise: EdgewiseProcess, app: App, key: str) -> None:
    bodies = [ask(edgewise, "/edited", key).body for _ in range(2)]
    assert bodies == [b'{"count":1,"edited":true}'] * 2
    key += "-slow"
    app.go_on.clear()
    with edgewise.client() as client:
        client.send(post(b"order", "/slow-edited", "shop.example", f"Idempotency-Key: {key}"))
        wait_until(lambda: app.asked.get("/slow-edited"), "the server is asked")
    app.go_on.set()
    wait_until(lambda: replayed(ask(edgewise, "/slow-edited", key)), "the answer is kept")
    assert ask(edgewise, "/slow-edited", key).body == b'{"count":1,"edited":true}'


def test_a_request_may_take_longer_than_its_key_is_locked(edgewise: EdgewiseProcess, app: App, key: str) -> None:
    app.go_on.clear()
    with edgewise.client() as client:
        client.send(post(b"order", "/brief", "shop.example", f"Idempotency-Key: {key}"))
        wait_until(lambda: app.asked.get("/brief"), "the server is asked")
        waited = threading.Event()
        threading.Timer(2.5, waited.set).start()
        while not waited.is_set():
            assert ask(edgewise, "/brief", key).status == 409
        app.go_on.set()
        assert client.read().body == b"/brief 1"


def test_a_key_can_be_required(edgewise: EdgewiseProcess, key: str) -> None:
    with edgewise.client() as client:
        assert client.ask(post(b"order", "/needed", "shop.example")).status == 400
        assert client.ask(post(b"order", "/anything", "shop.example")).status == 201
        twice = ["Idempotency-Key: a", "Idempotency-Key: b"]
        assert client.ask(post(b"order", "/needed", "shop.example", *twice)).status == 400
    assert ask(edgewise, "/needed", key).status == 201


def test_content_over_the_bound_gets_413(edgewise: EdgewiseProcess, app: App, key: str) -> None:
    assert ask(edgewise, "/long", key, body=b"x" * 2000).status == 413
    assert "/long" not in app.asked


def test_nodes_share_keys_and_a_restart_forgets_none(
    edgewise_server: StartEdgewise, origin: StartOrigin, nats: NatsServer, key: str
) -> None:
    app = App()
    toml = TOML.replace("ORIGIN", origin(app).address).replace("URL", nats.url)
    first, second = edgewise_server(toml), edgewise_server(toml)
    wait_until(lambda: ask(first, "/shared", key).status == 201, "the engine is found")
    assert ask(second, "/shared", key).body == b"/shared 1"
    first.stop()
    third = edgewise_server(toml)
    wait_until(lambda: ask(third, "/shared", key).body == b"/shared 1", "the engine is found")
    nats.kill()
    wait_until(lambda: ask(second, "/shared", key).status == 503, "the loss is noticed")
    assert ask(second, "/shared", f"{key}-new").status == 503
    assert app.asked == {"/shared": 1}
