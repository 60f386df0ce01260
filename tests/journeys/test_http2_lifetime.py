"""HTTP/2 connections from their first byte to their last: how they begin, outlive reloads, and end without loss."""

from __future__ import annotations

import json
import os
import signal
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import SERVER, EdgewiseProcess, wait_until
from support.http2_raw import DATA, END_STREAM, NO_ERROR, REFUSED_STREAM, Http2Client, frame, request_fields
from support.origin import OK, OriginConnection
from support.raw_http import PATIENCE, RawClient, get

StartEdgewise = Callable[..., EdgewiseProcess]


class Held:
    """An origin that answers /slow once it is let go, and everything else at once."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.waiting = threading.Semaphore(0)

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            if connection.read_head().startswith(b"POST"):
                self.waiting.release()
                connection.reader.chunked()
            elif b"/slow" in connection.received.rsplit(b"\r\n\r\n", 2)[-2]:
                self.waiting.release()
                self.release.wait(PATIENCE)
            connection.send(OK)


def app(address: str, rest: str = "") -> str:
    """Return a configuration of one upstream and `rest`."""
    return SERVER + f'[upstreams.app]\nservers = ["{address}"]\n[[routes]]\nupstream = "app"\n{rest}'


def connect(edgewise: EdgewiseProcess) -> Http2Client:
    """Open a connection by prior knowledge."""
    return Http2Client(("127.0.0.1", edgewise.port))


class TestStops:
    def test_sigterm_loses_no_stream_and_serves_those_on_their_way(self, edgewise_server, origin) -> None:
        held = Held()
        edgewise = edgewise_server(app(origin(held).address))
        with connect(edgewise) as client, connect(edgewise) as idle:
            assert idle.get().status == 200
            slow = [client.request(request_fields("/slow")) for _ in range(5)]
            upload = client.request(request_fields("/", "POST"), end=False)
            assert all(held.waiting.acquire(timeout=PATIENCE) for _ in range(6))
            edgewise.process.send_signal(signal.SIGTERM)
            client.wait(lambda: client.goaway is not None)
            assert client.get("/on-its-way").status == 200  # the first GOAWAY names no stream yet
            client.wait(lambda: last_streams(client)[-1] < 2**31 - 1)
            assert client.get("/too-late").reset == REFUSED_STREAM
            client.send(frame(DATA, END_STREAM, upload, b"the rest"))
            assert client.answer(upload).status == 200
            held.release.set()
            assert [client.answer(stream).body for stream in slow] == [b"ok"] * 5
            assert client.wait_end() == NO_ERROR
            assert idle.wait_end() == NO_ERROR
        assert edgewise.process.wait(PATIENCE) == 0

    def test_a_drain_says_goodbye_twice_and_no_more(self, edgewise_server, origin) -> None:
        held = Held()
        edgewise = edgewise_server(app(origin(held).address))
        with connect(edgewise) as client:
            stream = client.request(request_fields("/slow"))
            assert held.waiting.acquire(timeout=PATIENCE)
            edgewise.process.send_signal(signal.SIGTERM)
            client.wait(lambda: len(last_streams(client)) == 2)
            wait_until(lambda: not client.read(1.0), "nothing more is said")
            held.release.set()
            assert client.answer(stream).body == b"ok"
            assert client.wait_end() == NO_ERROR
            assert last_streams(client) == [2**31 - 1, stream]

    def test_what_does_not_end_in_time_is_reset(self, edgewise_server, origin) -> None:
        held = Held()
        toml = app(origin(held).address).replace("[server]\n", '[server]\ndrain_timeout = "1s"\n')
        edgewise = edgewise_server(toml)
        with connect(edgewise) as client:
            client.request(request_fields("/slow"))
            assert held.waiting.acquire(timeout=PATIENCE)
            edgewise.process.send_signal(signal.SIGTERM)
            client.wait_end()
        assert edgewise.process.wait(PATIENCE) == 0
        held.release.set()

    def test_a_worker_that_stops_loses_no_stream(self, edgewise_server, origin) -> None:
        held = Held()
        edgewise = edgewise_server(app(origin(held).address))
        with connect(edgewise) as client:
            stream = client.request(request_fields("/slow"))
            assert held.waiting.acquire(timeout=PATIENCE)
            (worker,) = json.loads(edgewise.admin("/api/v1/status"))["workers"]
            os.kill(worker["pid"], signal.SIGTERM)
            client.wait(lambda: client.goaway is not None)
            held.release.set()
            assert client.answer(stream).body == b"ok"
            assert client.wait_end() == NO_ERROR
        wait_until(lambda: answers(edgewise), "another worker serves")


def last_streams(client: Http2Client) -> list[int]:
    """Return the last stream that each GOAWAY named."""
    return [int.from_bytes(came.payload[:4], "big") for came in client.frames if came.kind == 7]


def answers(edgewise: EdgewiseProcess) -> bool:
    """Does edgewise answer a new connection?"""
    try:
        with connect(edgewise) as client:
            return client.get().status == 200
    except (OSError, AssertionError):
        return False


class TestReloads:
    def test_open_connections_get_the_new_routes(self, edgewise_server, origin) -> None:
        held = Held()
        address = origin(held).address
        edgewise = edgewise_server(app(address))
        with connect(edgewise) as client:
            slow = client.request(request_fields("/slow"))
            assert held.waiting.acquire(timeout=PATIENCE)
            for number in range(5):
                extra = f'[[routes]]\npath = "/new/{number}"\nrespond = {{ body = "{number}" }}\n'
                edgewise.write_config(app(address, extra))
                edgewise.admin("/api/v1/reload", "POST")
                assert client.get(f"/new/{number}").body == str(number).encode()
                assert client.get("/app").body == b"ok"
            held.release.set()
            assert client.answer(slow).body == b"ok"
            assert client.goaway is None


class TestIdle:
    def test_an_idle_connection_ends_with_goaway(self, edgewise_server, origin) -> None:
        toml = app(origin().address).replace("[server]\n", '[server]\nkeepalive_timeout = "500ms"\n')
        with connect(edgewise_server(toml)) as client:
            assert client.get().status == 200
            assert client.wait_end() == NO_ERROR

    def test_a_connection_that_asks_for_nothing_is_closed(self, edgewise_server, origin) -> None:
        toml = app(origin().address).replace("[server]\n", '[server]\nheader_timeout = "500ms"\n')
        with connect(edgewise_server(toml)) as client:
            assert client.wait_end() == NO_ERROR

    def test_a_request_under_way_keeps_the_connection(self, edgewise_server, origin) -> None:
        held = Held()
        toml = app(origin(held).address).replace("[server]\n", '[server]\nkeepalive_timeout = "300ms"\n')
        with connect(edgewise_server(toml)) as client:
            assert client.get().status == 200
            stream = client.request(request_fields("/slow"))
            wait_until(lambda: not client.read(1.0), "nothing is said")
            held.release.set()
            assert client.answer(stream).status == 200


class TestBeginnings:
    @pytest.fixture(scope="class")
    @classmethod
    def certificate(cls, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
        """Return the files of a certificate and its key."""
        directory = tmp_path_factory.mktemp("certificate")
        return DevelopmentAuthority().issue(["localhost"]).write(directory, "localhost")

    @staticmethod
    def start(edgewise_server: StartEdgewise, origin: Any, certificate: tuple[str, str], lines: str) -> EdgewiseProcess:
        """Start edgewise with and without TLS and these lines of its server table."""
        text = SERVER + f'tls_listen = ["127.0.0.1:$TLS_PORT"]\n{lines}\n[tls]\ncertificates = [{{ cert = '
        text += f'"{certificate[0]}", key = "{certificate[1]}" }}]\n[upstreams.app]\nservers = ["{origin().address}"]\n'
        return edgewise_server(text)

    @staticmethod
    def agreed(edgewise: EdgewiseProcess, *protocols: str) -> str | None:
        """Return the protocol that a TLS client agrees on, once it has asked something by it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(list(protocols))
        address = ("127.0.0.1", edgewise.tls_port)
        if "h2" in protocols:
            with Http2Client(address, tls=context, opening=None) as http2:
                assert isinstance(http2.sock, ssl.SSLSocket)
                if http2.sock.selected_alpn_protocol() == "h2":
                    assert http2.get().status == 200
                return http2.sock.selected_alpn_protocol()
        with RawClient(address, tls=context, server_name="localhost") as client:
            assert client.ask(get()).status == 200
            assert isinstance(client.sock, ssl.SSLSocket)
            return client.sock.selected_alpn_protocol()

    def test_http_2_by_alpn_and_by_prior_knowledge(self, edgewise_server, origin, certificate) -> None:
        edgewise = self.start(edgewise_server, origin, certificate, "")
        assert self.agreed(edgewise, "h2", "http/1.1") == "h2"
        assert self.agreed(edgewise, "http/1.1") == "http/1.1"
        with connect(edgewise) as client:
            assert client.get().status == 200

    def test_none_where_it_is_turned_off_and_again_after_a_reload(self, edgewise_server, origin, certificate) -> None:
        edgewise = self.start(edgewise_server, origin, certificate, "http2 = false")
        assert self.agreed(edgewise, "h2", "http/1.1") == "http/1.1"
        with edgewise.client() as client:
            assert client.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status in (400, 505)
        edgewise.write_config(edgewise.config.read_text().replace("http2 = false", "http2 = true"))
        edgewise.admin("/api/v1/reload", "POST")
        assert self.agreed(edgewise, "h2", "http/1.1") == "h2"
        with connect(edgewise) as prior:
            assert prior.get().status == 200

    def test_no_more_streams_than_the_settings_allow(self, edgewise_server, origin) -> None:
        held = Held()
        toml = app(origin(held).address).replace("[server]\n", "[server]\nhttp2_max_concurrent_streams = 3\n")
        with connect(edgewise_server(toml)) as client:
            slow = [client.request(request_fields("/slow")) for _ in range(3)]
            assert client.get().reset == REFUSED_STREAM
            held.release.set()
            assert [client.answer(stream).status for stream in slow] == [200] * 3
            assert client.get().status == 200
