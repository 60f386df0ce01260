"""Reloads under way: what did not change goes on, what changed changes at once, and what is broken changes nothing."""

from __future__ import annotations

import json
import threading

import pytest

from support.edgewise_process import SERVER, EdgewiseProcess, free_port
from support.origin import Origin, OriginConnection
from support.raw_http import PATIENCE, ClosedEarly, RawClient, get

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def serve(connection: OriginConnection) -> None:
    """Answer requests; echo what comes after an upgrade."""
    while True:
        head = connection.read_request()
        if b"Upgrade: websocket" in head:
            break
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    connection.send(SWITCHING)
    while data := connection.reader.some():
        connection.send(data)


def app(server: Origin, rest: str = "") -> str:
    """Return a configuration of one upstream and `rest`."""
    return SERVER + f'[upstreams.app]\nservers = ["{server.address}"]\n[[routes]]\nupstream = "app"\n{rest}'


def reload(edgewise: EdgewiseProcess, toml: str) -> int:
    """Put a configuration in service; return the status of the reload."""
    edgewise.write_config(toml)
    with RawClient(("127.0.0.1", edgewise.admin_port)) as client:
        host = f"127.0.0.1:{edgewise.admin_port}"
        reply = client.ask(f"POST /api/v1/reload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
        return reply.status


def test_a_websocket_of_an_unchanged_route_outlives_twenty_reloads(edgewise_server, origin) -> None:
    server = origin(serve)
    edgewise = edgewise_server(app(server))
    with edgewise.client() as socket, edgewise.client() as kept:
        assert socket.ask(get("/ws", "a", *UPGRADE)).status == 101
        for number in range(20):
            extra = f'[[routes]]\npath = "/{number}"\nrespond = {{ body = "{number}" }}\n'
            assert reload(edgewise, app(server, extra)) == 200
            socket.send(b"%04d" % number)
            assert socket.reader.exactly(4) == b"%04d" % number
            assert kept.ask(get(f"/{number}")).body == str(number).encode()
            assert kept.ask(get("/app")).body == b"ok"
    assert len(server.connections) == 2  # the socket's, and one that every generation used


def test_requests_under_load_all_succeed_while_reloads_go_on(edgewise_server, origin) -> None:
    server = origin(serve)
    edgewise = edgewise_server(app(server))
    failures: list[object] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            try:
                with edgewise.client() as client:
                    statuses = [client.ask(get(f"/{number}")).status for number in range(20)]
            except (OSError, ClosedEarly) as error:
                failures.append(error)
            else:
                failures.extend(status for status in statuses if status != 200)

    loaders = [threading.Thread(target=load, daemon=True) for _ in range(3)]
    for loader in loaders:
        loader.start()
    for number in range(10):
        assert reload(edgewise, app(server, f'response_headers = {{ set = {{ X-N = "{number}" }} }}\n')) == 200
    done.set()
    for loader in loaders:
        loader.join(PATIENCE)
    assert failures == []


def test_a_changed_route_holds_from_the_next_request_on(edgewise_server, origin) -> None:
    first, second = origin(serve), origin(serve)
    edgewise = edgewise_server(app(first))
    with edgewise.client() as client:
        for _ in range(3):
            client.ask(get("/same"))
        assert reload(edgewise, app(first, 'response_headers = { set = { X-New = "1" } }\n')) == 200
        assert client.ask(get("/same")).get("x-new") == "1"
        assert reload(edgewise, app(second)) == 200
        reply = client.ask(get("/same"))
        assert (reply.body, reply.get("x-new")) == (b"ok", None)
    assert len(second.connections) == 1


@pytest.mark.parametrize("broken", ["[[routes]\n", "surprise = 1\n", '[[routes]]\nupstream = "nobody"\n'])
def test_a_broken_file_changes_nothing(edgewise_server, origin, broken: str) -> None:
    server = origin(serve)
    edgewise = edgewise_server(app(server))
    with edgewise.client() as socket, edgewise.client() as client:
        assert socket.ask(get("/ws", "a", *UPGRADE)).status == 101
        assert reload(edgewise, app(server, broken)) == 409
        socket.send(b"still")
        assert socket.reader.exactly(5) == b"still"
        assert client.ask(get()).body == b"ok"
    assert json.loads(edgewise.admin("/api/v1/status"))["generation"] == 1


def test_a_removed_listener_lets_its_connections_and_sessions_end_in_peace(edgewise_server, origin) -> None:
    server, port, tcp_port = origin(serve), free_port(), free_port()
    more = SERVER.replace('"127.0.0.1:$PORT"', f'"127.0.0.1:$PORT", "127.0.0.1:{port}"')
    tcp = f'[[tcp]]\nlisten = "127.0.0.1:{tcp_port}"\nupstream = "app"\n'
    edgewise = edgewise_server(app(server, tcp).replace(SERVER, more))
    with RawClient(("127.0.0.1", port)) as web, RawClient(("127.0.0.1", tcp_port)) as session:
        assert web.ask(get()).body == b"ok"
        assert session.ask(get()).body == b"ok"
        assert reload(edgewise, app(server)) == 200
        assert web.ask(get()).body == b"ok"
        assert session.ask(get()).body == b"ok"
    for gone in (port, tcp_port):
        with pytest.raises(ConnectionRefusedError):
            RawClient(("127.0.0.1", gone))
