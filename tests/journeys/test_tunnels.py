"""Upgraded connections: what was sent early arrives, each direction ends on its own, and refusals are plain answers."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from support.edgewise_process import wait_until
from support.origin import OK, OriginConnection
from support.raw_http import PATIENCE, field_value, get, post

MEBIBYTE = 1 << 20
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def upper(connection: OriginConnection) -> None:
    """Switch protocols, then send back in capitals what comes, to its end."""
    connection.read_head()
    connection.send(SWITCHING)
    while data := connection.reader.some():
        connection.send(data.upper())


def test_frames_sent_with_the_upgrade_request_arrive_first(proxied) -> None:
    edgewise, origin = proxied(upper)
    with edgewise.client() as client:
        client.send(get("/", "a", *UPGRADE) + b"early ")
        client.send(b"frames")
        assert client.read().status == 101
        client.send(b" and late ones")
        assert client.reader.exactly(26) == b"EARLY FRAMES AND LATE ONES"
    head = origin.connections[0].received
    assert (field_value(head, b"upgrade"), field_value(head, b"connection")) == (b"websocket", b"Upgrade")


def test_the_clients_end_reaches_the_server_and_the_answer_still_the_client(proxied) -> None:
    def at_the_end(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(SWITCHING)
        connection.send(connection.reader.to_end().upper())

    edgewise, _ = proxied(at_the_end)
    with edgewise.client() as client:
        assert client.ask(get("/", "a", *UPGRADE)).status == 101
        client.send(b"x" * MEBIBYTE)
        client.sock.shutdown(socket.SHUT_WR)
        assert client.reader.to_end() == b"X" * MEBIBYTE


def test_megabytes_pass_both_ways_at_once_against_slow_readers(proxied) -> None:
    def echo(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(SWITCHING)
        while data := connection.reader.some():
            connection.send(data)

    edgewise, _ = proxied(echo)
    total = 8 * MEBIBYTE
    with edgewise.client(receive_buffer=65536) as client:
        assert client.ask(get("/", "a", *UPGRADE)).status == 101
        sender = threading.Thread(target=client.send, args=(b"abcd" * (total // 4),), daemon=True)
        sender.start()
        time.sleep(0.3)
        assert client.reader.exactly(total) == b"abcd" * (total // 4)
        sender.join(PATIENCE)


def test_a_tunnel_outlives_the_deadlines_of_requests(edgewise_server, origin) -> None:
    server = origin(upper)
    edgewise = edgewise_server(
        '[server]\nlisten = ["127.0.0.1:$PORT"]\nadmin = "off"\nworkers = 1\nheader_timeout = "300ms"\n'
        'keepalive_timeout = "300ms"\nsend_timeout = "300ms"\n'
        f'[upstreams.app]\nservers = ["{server.address}"]\ntimeouts = {{ response = "300ms", idle = "300ms" }}\n'
    )
    with edgewise.client() as client:
        assert client.ask(get("/", "a", *UPGRADE)).status == 101
        time.sleep(1.0)
        client.send(b"still here")
        assert client.reader.exactly(10) == b"STILL HERE"


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "426 Upgrade Required"])
def test_an_upgrade_that_is_answered_otherwise_is_an_exchange_like_any_other(proxied, status: str) -> None:
    edgewise, origin = proxied([f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno".encode(), OK])
    with edgewise.client() as client:
        client.send(get("/ws", "a", *UPGRADE) + post(b"content", "/next"))
        reply = client.read()
        assert (reply.status, reply.body) == (int(status[:3]), b"no")
        assert client.read().body == b"ok"
    assert [request.split(b" ")[1] for request in origin.requests] == [b"/ws", b"/next"]
    assert len(origin.connections) == 1


def test_the_servers_hints_before_the_switch_do_not_disturb_it(proxied) -> None:
    def hinting(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + SWITCHING + b"first frame")
        connection.reader.to_end()

    edgewise, _ = proxied(hinting)
    with edgewise.client() as client:
        reply = client.ask(get("/", "a", *UPGRADE))
        assert (reply.status, len(reply.interim)) == (101, 1)
        assert client.reader.exactly(11) == b"first frame"


def test_a_content_with_the_upgrade_request_rules_the_tunnel_out(proxied) -> None:
    edgewise, origin = proxied()
    with edgewise.client() as client:
        assert client.ask(post(b"content", "/", "a", *UPGRADE)).status == 200
    assert field_value(origin.requests[0], b"upgrade") is None


def test_a_finished_tunnel_is_logged_and_frees_its_connections(proxied) -> None:
    edgewise, origin = proxied(upper, upstream="max_connections = 1")
    for number in range(3):
        with edgewise.client() as client:
            assert client.ask(get(f"/tunnel/{number}", "a", *UPGRADE)).status == 101
            client.send(b"x")
            assert client.reader.exactly(1) == b"X"
    lines = wait_until(
        lambda: (
            len(found := [line for line in edgewise.access_log if line["path"].startswith("/tunnel/")]) == 3 and found
        ),
        "the tunnels are logged",
    )
    assert [line["status"] for line in lines] == [101] * 3
    assert len(origin.connections) == 3


def test_a_server_that_resets_a_tunnel_ends_it_for_the_client(proxied) -> None:
    def resets(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(SWITCHING)
        connection.reader.exactly(1)
        connection.reset()

    edgewise, _ = proxied(resets)
    with edgewise.client() as client:
        assert client.ask(get("/", "a", *UPGRADE)).status == 101
        client.send(b"x")
        assert client.is_closed()
