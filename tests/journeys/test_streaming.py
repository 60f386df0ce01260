"""Content as it flows: events at once, back-pressure in bounded memory, WebSockets, tunnels only after a valid 101."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from support.edgewise_process import EdgewiseProcess, wait_until
from support.origin import OK, OriginConnection
from support.raw_http import PATIENCE, get

MEBIBYTE = 1 << 20
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def settled(progress: Callable[[], int]) -> int:
    """Return a count of bytes once it has stopped moving."""
    deadline = time.monotonic() + PATIENCE
    last, since = progress(), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.02)
        now = progress()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 0.75:
            return now
    raise AssertionError(f"still moving after {now} bytes")


class TestFlow:
    def test_each_event_is_passed_on_before_the_next_one_exists(self, proxied) -> None:
        seen = [threading.Event() for _ in range(3)]

        def events(connection: OriginConnection) -> None:
            connection.read_request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for number, event in enumerate(seen):
                connection.send(b"data: %d\n\n" % number)
                assert event.wait(PATIENCE), "the client did not get the event"

        edgewise, _ = proxied(events)
        with edgewise.client() as client:
            client.send(get("/events"))
            for number, event in enumerate(seen):
                client.reader.until(b"data: %d\n\n" % number)
                event.set()
            assert client.reader.until(b"0\r\n\r\n")

    def test_each_chunk_of_an_upload_is_passed_on_before_the_next_one_exists(self, proxied) -> None:
        seen = threading.Semaphore(0)

        def upload(connection: OriginConnection) -> None:
            connection.read_head()
            for number in range(3):
                connection.reader.until(b"part %d" % number)
                seen.release()
            connection.reader.until(b"0\r\n\r\n")
            connection.send(OK)

        edgewise, _ = proxied(upload)
        with edgewise.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for number in range(3):
                client.send(b"6\r\npart %d\r\n" % number)
                assert seen.acquire(timeout=PATIENCE), "the origin did not get the chunk"
            assert client.ask(b"0\r\n\r\n").status == 200

    def test_a_client_that_does_not_read_holds_the_origin_back_in_bounded_memory(self, proxied) -> None:
        total, sent = 64 * MEBIBYTE, [0]

        def flood(connection: OriginConnection) -> None:
            connection.read_request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
            while sent[0] < total:
                connection.send(b"x" * 65536)
                sent[0] += 65536

        edgewise, _ = proxied(flood)
        before = settled(edgewise.resident)
        with edgewise.client(receive_buffer=65536) as client:
            client.send(get())
            client.reader.until(b"\r\n\r\n")
            assert settled(lambda: sent[0]) < 40 * MEBIBYTE
            assert edgewise.resident() - before < 20 * MEBIBYTE
            assert len(client.reader.exactly(total)) == total

    def test_an_origin_that_does_not_read_holds_the_upload_back_in_bounded_memory(self, proxied) -> None:
        total, go_on, sent = 64 * MEBIBYTE, threading.Event(), [0]

        def reluctant(connection: OriginConnection) -> None:
            connection.read_head()
            assert go_on.wait(PATIENCE * 2)
            connection.reader.exactly(total)
            connection.send(OK)

        edgewise, _ = proxied(reluctant)
        before = settled(edgewise.resident)
        with edgewise.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)

            def upload() -> None:
                while sent[0] < total:
                    client.send(b"x" * 65536)
                    sent[0] += 65536

            sender = threading.Thread(target=upload, daemon=True)
            sender.start()
            assert settled(lambda: sent[0]) < 40 * MEBIBYTE
            assert edgewise.resident() - before < 20 * MEBIBYTE
            go_on.set()
            sender.join(PATIENCE * 2)
            assert client.read().status == 200


class TestWebSocket:
    @pytest.fixture
    def address(self) -> Iterator[str]:
        def echo(websocket: ServerConnection) -> None:
            for message in websocket:
                websocket.send(message)

        server: Server = serve(echo, "127.0.0.1", 0, max_size=None)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = server.socket.getsockname()[:2]
        yield f"{host}:{port}"
        server.shutdown()

    def start(self, edgewise_server: Callable[..., EdgewiseProcess], address: str, route: str = "") -> EdgewiseProcess:
        return edgewise_server(f'[upstreams.app]\nservers = ["{address}"]\n[[routes]]\nupstream = "app"\n{route}\n')

    def test_messages_of_every_size_come_back(self, edgewise_server, address: str) -> None:
        edgewise = self.start(edgewise_server, address)
        with connect(f"ws://127.0.0.1:{edgewise.port}/ws", proxy=None, max_size=None) as websocket:
            for message in ("", "hello", b"\0\xff", "x" * 70000, b"y" * (4 * MEBIBYTE)):
                websocket.send(message)
                assert websocket.recv(PATIENCE) == message

    def test_closing_reaches_the_other_side_with_its_code(self, edgewise_server, address: str) -> None:
        edgewise = self.start(edgewise_server, address)
        with connect(f"ws://127.0.0.1:{edgewise.port}/ws", proxy=None) as websocket:
            websocket.close(4001, "enough")
            assert websocket.close_code == 4001

    def test_a_route_may_refuse_upgrades(self, edgewise_server, address: str) -> None:
        edgewise = self.start(edgewise_server, address, "websocket = false")
        with edgewise.client() as client:
            assert client.ask(get("/ws", "a", *UPGRADE)).status != 101


class TestTunnels:
    def test_after_a_valid_101_bytes_flow_both_ways_until_one_side_ends(self, proxied) -> None:
        def switch(connection: OriginConnection) -> None:
            connection.read_head()
            connection.send(SWITCHING + b"first")
            connection.send(connection.reader.exactly(4).upper())
            connection.sock.shutdown(socket.SHUT_WR)
            rest.append(connection.reader.to_end())

        rest: list[bytes] = []
        edgewise, _ = proxied(switch)
        with edgewise.client() as client:
            assert client.ask(get("/", "a", *UPGRADE)).status == 101
            assert client.reader.exactly(5) == b"first"
            client.send(b"ping")
            assert client.reader.exactly(4) == b"PING"
            client.send(b"rest")
            client.sock.shutdown(socket.SHUT_WR)
            assert client.is_closed()
        assert wait_until(lambda: rest, "the origin got the rest") == [b"rest"]

    def test_a_refused_upgrade_opens_no_tunnel(self, proxied) -> None:
        edgewise, origin = proxied()
        with edgewise.client() as client:
            client.send(get("/", "a", *UPGRADE) + get("/second", "a", "Transfer_Encoding: chunked", close=True))
            assert client.read().status == 200
            client.reader.to_end()
        # What follows was read as a request of its own, or not at all: it never went through unseen.
        for request in origin.requests[1:]:
            assert b"x-request-id" in request.lower()
            assert b"Transfer_Encoding" not in request

    @pytest.mark.parametrize(
        "switch",
        [
            SWITCHING.replace(b"Upgrade: websocket", b"Upgrade: tls"),
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        ],
        ids=["another protocol", "no Upgrade", "no Connection"],
    )
    def test_an_invalid_101_opens_no_tunnel(self, proxied, switch: bytes) -> None:
        edgewise, _ = proxied(switch + b"leak")
        with edgewise.client() as client:
            reply = client.ask(get("/", "a", *UPGRADE))
            assert reply.status == 502
            assert b"leak" not in reply.body

    def test_a_101_that_was_not_asked_for_opens_no_tunnel(self, proxied) -> None:
        edgewise, _ = proxied(SWITCHING + b"leak")
        with edgewise.client() as client:
            reply = client.ask(get())
            assert reply.status == 502
            assert b"leak" not in reply.body
