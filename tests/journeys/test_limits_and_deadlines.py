"""Bounds in time and number: slow heads and bodies, silent servers, queues, retries only where they are safe."""

from __future__ import annotations

import threading

import pytest

from support.edgewise_process import wait_until
from support.origin import OK, OriginConnection
from support.raw_http import PATIENCE, get, post

SERVER = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "off"
workers = 1
header_timeout = "0.5s"
keepalive_timeout = "0.5s"
"""


def answers(status: bytes) -> bytes:
    """Return an empty answer."""
    return b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"


class TestClients:
    @pytest.fixture
    def impatient(self, edgewise_server, origin):
        app = origin()
        route = '[[routes]]\nupstream = "app"\ntimeouts = { body = "0.5s" }\n'
        return edgewise_server(SERVER + f'[upstreams.app]\nservers = ["{app.address}"]\n' + route), app

    def test_a_head_that_does_not_end_is_a_408(self, impatient) -> None:
        edgewise, app = impatient
        with edgewise.client() as client:
            assert client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").status == 408
            assert client.is_closed()
        assert app.requests == []

    def test_dripping_a_head_gains_no_time(self, impatient) -> None:
        edgewise, _ = impatient
        with edgewise.client() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
            stop = threading.Event()

            def drip() -> None:
                while not stop.wait(0.05):
                    client.send(b"X: y\r\n")

            dripper = threading.Thread(target=drip, daemon=True)
            dripper.start()
            assert client.read().status == 408
            stop.set()
            dripper.join(PATIENCE)

    def test_an_idle_connection_is_closed_without_a_word(self, impatient) -> None:
        edgewise, _ = impatient
        with edgewise.client() as client:
            assert client.ask(get()).status == 200
            assert client.is_closed()

    def test_content_that_stops_coming_is_a_408_and_no_whole_request(self, impatient) -> None:
        edgewise, app = impatient
        with edgewise.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
            assert client.read().status == 408
        assert app.requests == []


class TestServers:
    def test_a_server_that_does_not_answer_is_a_504(self, proxied) -> None:
        def silent(connection: OriginConnection) -> None:
            connection.read_request()
            connection.reader.to_end()

        edgewise, _ = proxied(silent, upstream='timeouts = { response = "0.5s" }\nretry = { attempts = 1 }')
        with edgewise.client() as client:
            assert client.ask(get()).status == 504

    def test_requests_over_a_servers_limit_wait_their_turn_and_then_too_long(self, proxied) -> None:
        go_on = threading.Event()

        def held(connection: OriginConnection) -> None:
            while True:
                connection.read_request()
                assert go_on.wait(PATIENCE)
                connection.send(OK)

        edgewise, origin = proxied(held, upstream='max_connections = 1\ntimeouts = { queue = "1s" }')
        with edgewise.client() as first, edgewise.client() as second, edgewise.client() as third:
            first.send(get("/first"))
            wait_until(lambda: origin.connections and b"/first" in origin.received, "the first arrived")
            second.send(get("/second"))
            assert second.read().status == 503
            third.send(get("/third"))
            go_on.set()
            assert first.read().status == 200
            assert third.read().status == 200
        assert len(origin.connections) == 1

    def test_a_client_that_leaves_frees_its_place_in_the_queue(self, proxied) -> None:
        go_on = threading.Event()

        def held(connection: OriginConnection) -> None:
            while True:
                connection.read_request()
                assert go_on.wait(PATIENCE)
                connection.send(OK)

        edgewise, origin = proxied(held, upstream="max_connections = 1\nmax_waiting = 1")
        with edgewise.client() as first, edgewise.client() as last:
            first.send(get("/first"))
            wait_until(lambda: origin.connections and b"/first" in origin.received, "the first arrived")
            with edgewise.client() as gone:
                gone.send(get("/gone"))
            wait_until(lambda: "/gone" in str(edgewise.access_log), "the client that left is logged")
            last.send(get("/last"))
            go_on.set()
            assert first.read().status == 200
            assert last.read().status == 200
        assert b"/gone" not in origin.received


class TestRetries:
    RETRY = "retry = { attempts = 3, on = ['connect', 503] }\neject = false"

    def test_a_get_is_tried_again_on_the_statuses_chosen(self, proxied) -> None:
        edgewise, origin = proxied([answers(b"503 Busy"), answers(b"503 Busy"), OK], upstream=self.RETRY)
        with edgewise.client() as client:
            assert client.ask(get()).status == 200
        assert len(origin.requests) == 3

    def test_the_last_answer_is_passed_on_when_attempts_are_used_up(self, proxied) -> None:
        edgewise, origin = proxied(answers(b"503 Busy"), upstream=self.RETRY)
        with edgewise.client() as client:
            assert client.ask(get()).status == 503
        assert len(origin.requests) == 3

    def test_a_post_that_was_sent_is_never_sent_again(self, proxied) -> None:
        edgewise, origin = proxied(answers(b"503 Busy"), upstream=self.RETRY)
        with edgewise.client() as client:
            assert client.ask(post(b"once")).status == 503
        assert len(origin.requests) == 1

    def test_a_post_on_a_connection_that_breaks_is_a_502_and_sent_once(self, proxied) -> None:
        received: list[bytes] = []

        def breaks(connection: OriginConnection) -> None:
            received.append(connection.read_request())

        edgewise, _ = proxied(breaks, upstream=self.RETRY)
        with edgewise.client() as client:
            assert client.ask(post(b"once")).status == 502
        assert len(received) == 1

    def test_a_put_is_repeated_with_its_content(self, proxied) -> None:
        edgewise, origin = proxied([answers(b"503 Busy"), OK], upstream=self.RETRY)
        put = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        with edgewise.client() as client:
            assert client.ask(put).status == 200
        assert [request.partition(b"\r\n\r\n")[2] for request in origin.requests] == [b"5\r\nhello\r\n0\r\n\r\n"] * 2
