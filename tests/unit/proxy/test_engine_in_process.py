"""One engine in this process, where a journey could not see inside: queues, uploads, generations."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgewise.config import parse
from edgewise.router import build
from edgewise.server.listeners import Listener
from support.edgewise_process import wait_until
from support.in_process import InProcessEngine
from support.origin import OK, Origin, OriginConnection
from support.raw_http import PATIENCE, RawClient, get, post

Start = Callable[..., InProcessEngine]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Start]:
    """Start an engine in this process from a TOML text."""
    running: list[InProcessEngine] = []

    def start(toml: str) -> InProcessEngine:
        running.append(InProcessEngine(toml, tmp_path / "access.log"))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def origin() -> Iterator[Callable[..., Origin]]:
    """Start an upstream server by script."""
    running: list[Origin] = []

    def start(*args: object, **options: object) -> Origin:
        running.append(Origin(*args, **options))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for one in running:
        one.stop()


def upstream(address: str, settings: str = "", route: str = "") -> str:
    """Return a configuration with one upstream of one server."""
    return f'[upstreams.app]\nservers = ["{address}"]\n{settings}\n[[routes]]\nupstream = "app"\n{route}\n'


def test_hundreds_that_wait_for_a_server_that_dies_are_all_answered(
    engine: Start, origin: Callable[..., Origin], tmp_path: Path
) -> None:
    # A Unix socket without listener refuses at once, within the call that serves the queue.
    entered, release = threading.Event(), threading.Event()

    def hold(connection: OriginConnection) -> None:
        connection.read_request()
        entered.set()
        release.wait(PATIENCE)

    server = origin(hold, unix=str(tmp_path / "app.sock"))
    edge = engine(upstream(server.address, "max_connections = 1\neject = false\nretry = { attempts = 1 }"))
    with edge.client() as first:
        first.send(get())
        assert entered.wait(PATIENCE)
        clients = [edge.client() for _ in range(300)]
        for client in clients:
            client.send(get())
        [endpoint] = edge.table.upstreams["app"].endpoints
        wait_until(lambda: len(endpoint.waiting) == 300, "all wait")
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        release.set()
        assert [client.read().status for client in clients] == [502] * 300
        for client in clients:
            client.close()
    assert (endpoint.connections, endpoint.active, len(endpoint.waiting)) == (0, 0, 0)


def test_counts_return_to_zero_whatever_became_of_the_requests(engine: Start, origin: Callable[..., Origin]) -> None:
    answers = [OK, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nshort", b"nonsense\r\n\r\n"]

    def various(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(answers[connection.index % 3])

    edge = engine(upstream(origin(various).address, "eject = false\nretry = { attempts = 1 }"))
    for number in range(12):
        with edge.client() as client:
            client.send(get(f"/{number}") if number % 2 else post(b"x" * 10))
            client.reader.to_end() if number % 3 == 1 else client.read()
    group = edge.table.upstreams["app"]
    [endpoint] = group.endpoints

    def under_way() -> int:
        return edge.engine.figures()[1] + group.active + group.retries + endpoint.active + endpoint.connections

    wait_until(lambda: not under_way() and not edge.engine.servers, "all is given back")


def test_connections_queued_on_a_removed_layer_4_listener_still_find_their_server(
    engine: Start, origin: Callable[..., Origin]
) -> None:
    server = origin(lambda connection: connection.send(b"hello"))
    text = f'[upstreams.app]\nservers = ["{server.address}"]\n[[tcp]]\nlisten = "127.0.0.1:1"\nupstream = "app"\n'
    edge = engine(upstream(server.address))
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    queued: list[RawClient] = []

    def swap() -> None:
        edge.engine.load(build(parse(text)))
        edge.engine.listen(listener, Listener("tcp", "127.0.0.1:1"))
        queued.extend(RawClient(address) for _ in range(100))
        edge.engine.load(edge.table)
        edge.engine.unlisten(listener)

    edge.on_loop(swap)
    for client in queued:
        assert client.reader.to_end() == b"hello"
        client.close()


def test_an_upload_that_goes_on_after_its_answer_is_dropped(engine: Start, origin: Callable[..., Origin]) -> None:
    size = 8 << 20

    def early(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        connection.reader.to_end()

    edge = engine(upstream(origin(early).address))
    errors: list[object] = []
    edge.loop.set_exception_handler(lambda loop, context: errors.append(context))
    with edge.client(receive_buffer=65536) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
        client.reader.until(b"\r\n\r\n")
        for _ in range(size >> 16):
            assert client.reader.exactly(1 << 16) == b"x" * (1 << 16)
            client.send(b"y" * 1000)
        assert client.is_closed()
    assert errors == []
