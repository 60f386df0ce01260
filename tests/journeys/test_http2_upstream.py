"""Servers that speak HTTP/2: shared connections, what is sent again and what is not, and how their faults look."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess, free_port, wait_settled, wait_until
from support.http2_origin import Http2Origin, Stream, hello
from support.http2_raw import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INTERNAL_ERROR,
    LARGEST_WINDOW,
    NO_ERROR,
    REFUSED_STREAM,
    Http2Client,
    frame,
    literal,
    request_fields,
    window_update,
)
from support.raw_http import PATIENCE, ClosedEarly, get, post

StartEdgewise = Callable[..., EdgewiseProcess]
StartHttp2Origin = Callable[..., Http2Origin]


@pytest.fixture
def http2_origin() -> Iterator[StartHttp2Origin]:
    """Start an HTTP/2 server by script: `http2_origin(script)` (see support.http2_origin.Http2Origin)."""
    running: list[Http2Origin] = []

    def start(*args: Any, **options: Any) -> Http2Origin:
        running.append(Http2Origin(*args, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()
    errors = [error for server in running for error in server.errors]
    assert not errors, errors


def toml(*servers: str, settings: str = "", route: str = "", protocol: str = "h2c") -> str:
    """Return a configuration of one upstream."""
    addresses = ", ".join(f'"{server}"' for server in servers)
    return (
        f'[upstreams.app]\nservers = [{addresses}]\nprotocol = "{protocol}"\n{settings}\n'
        f'[[routes]]\nupstream = "app"\n{route}\n'
    )


def ask(edgewise: EdgewiseProcess, request: bytes | None = None) -> Any:
    """Return the answer to one request over HTTP/1.1."""
    with edgewise.client() as client:
        return client.ask(get() if request is None else request)


def ask_at_once(edgewise: EdgewiseProcess, count: int, request: bytes | None = None) -> list[int]:
    """Send so many requests on connections of their own, then read the answers; return the statuses."""
    with ExitStack() as stack:
        clients = [stack.enter_context(edgewise.client()) for _ in range(count)]
        for client in clients:
            client.send(get() if request is None else request)
        return [client.read().status for client in clients]


class TestSharing:
    def test_many_exchanges_share_one_connection(self, edgewise_server, http2_origin) -> None:
        together = threading.Barrier(20, timeout=PATIENCE)

        def script(stream: Stream) -> None:
            together.wait()
            stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address))
        assert ask_at_once(edgewise, 20) == [200] * 20
        assert len(server.connections) == 1

    def test_more_than_the_server_takes_at_once_open_another_connection(self, edgewise_server, http2_origin) -> None:
        together = threading.Barrier(12, timeout=PATIENCE)

        def script(stream: Stream) -> None:
            if stream.path != "/first":
                together.wait()
            stream.answer()

        server = http2_origin(script, max_streams=4)
        edgewise = edgewise_server(toml(server.address))
        assert ask(edgewise, get("/first")).status == 200
        assert ask_at_once(edgewise, 12) == [200] * 12
        assert len(server.connections) == 3
        assert [len(connection.streams) for connection in server.connections] == [5, 4, 4]

    def test_requests_that_come_while_the_first_connection_is_made_wait_for_it(
        self, edgewise_server, http2_origin
    ) -> None:
        server = http2_origin()
        edgewise = edgewise_server(toml(server.address))
        assert ask_at_once(edgewise, 60) == [200] * 60
        assert len(server.connections) == 1

    def test_those_in_the_queue_of_a_full_server_are_served_as_streams_end(self, edgewise_server, http2_origin) -> None:
        release = threading.Event()

        def script(stream: Stream) -> None:
            release.wait(PATIENCE)
            stream.answer()

        server = http2_origin(script, max_streams=10)
        edgewise = edgewise_server(toml(server.address, settings="max_connections = 1"))
        release.set()
        assert ask(edgewise).status == 200
        release.clear()
        with ExitStack() as stack:
            clients = [stack.enter_context(edgewise.client()) for _ in range(50)]
            for client in clients:
                client.send(get())
            wait_until(lambda: len(server.streams) == 11, "the server has all that it takes")
            release.set()
            assert [client.read().status for client in clients] == [200] * 50
        assert len(server.connections) == 1

    def test_an_idle_connection_is_closed_with_goaway(self, edgewise_server, http2_origin) -> None:
        server = http2_origin()
        edgewise = edgewise_server(toml(server.address, settings='timeouts = { idle = "500ms" }'))
        assert ask(edgewise).status == 200
        wait_until(lambda: server.connections[0].closed, "the idle connection is closed")
        assert server.connections[0].goaway == NO_ERROR

    def test_clients_that_do_not_read_do_not_hold_up_the_answers_of_others(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            if stream.path == "/large":
                stream.head(200)
                stream.send(bytes(16 << 20), end=True)
            else:
                stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address))
        with ExitStack() as stack:
            for _ in range(20):
                client = stack.enter_context(edgewise.client(receive_buffer=4096))
                client.send(get("/large"))
            for _ in range(30):
                assert ask(edgewise).status == 200
        assert len(server.connections) == 1


class TestMessages:
    def test_the_server_sees_who_asked_and_how(self, edgewise_server, http2_origin) -> None:
        server = http2_origin()
        edgewise = edgewise_server(toml(server.address))
        assert ask(edgewise, get("/path?q=1", "shop.test", "X-A: b", "Connection: X-Hop", "X-Hop: 1")).status == 200
        fields = dict(server.streams[0].fields)
        wanted = {
            ":method": "GET", ":scheme": "http", ":authority": "shop.test", ":path": "/path?q=1", "x-a": "b",
            "via": "1.1 edgewise", "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http",
            "x-forwarded-host": "shop.test",
        }  # fmt: skip
        assert {name: fields.get(name) for name in wanted} == wanted
        assert fields.keys().isdisjoint({"connection", "x-hop", "host", "transfer-encoding"})

    def test_chunks_and_their_trailers_become_data_and_trailers(self, edgewise_server, http2_origin) -> None:
        server = http2_origin()
        edgewise = edgewise_server(toml(server.address))
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
        assert ask(edgewise, head + chunks).status == 200
        (stream,) = server.streams
        assert (bytes(stream.content), stream.trailers) == (b"hello world", [("x-sum", "1")])
        assert stream.get("content-length") is None

    def test_content_with_a_length_keeps_it(self, edgewise_server, http2_origin) -> None:
        server = http2_origin()
        edgewise = edgewise_server(toml(server.address))
        body = bytes(range(256)) * 2000
        assert ask(edgewise, post(body)).status == 200
        assert server.streams[0].get("content-length") == str(len(body))
        assert bytes(server.streams[0].content) == body

    def test_trailers_follow_the_chunks_of_an_answer(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            stream.head(200)
            stream.send(b"hello")
            stream.end(("x-sum", "1"))

        edgewise = edgewise_server(toml(http2_origin(script).address))
        reply = ask(edgewise)
        assert reply.raw_body == b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"

    @pytest.mark.parametrize(
        ("method", "status", "fields", "body", "length"),
        [
            ("GET", 200, (("content-length", "2"),), b"ok", "2"),
            ("GET", 200, (), b"ok", None),
            ("GET", 200, (), b"", "0"),
            ("HEAD", 200, (("content-length", "2"),), b"", "2"),
            ("GET", 204, (), b"", None),
            ("GET", 304, (("content-length", "2"),), b"", "2"),
        ],
    )
    @pytest.mark.parametrize("apart", [False, True], ids=["end-with-head", "end-apart"])
    def test_answers_of_every_framing(
        self, edgewise_server, http2_origin, method: str, status: int, fields, body: bytes, length, apart: bool
    ) -> None:
        def script(stream: Stream) -> None:
            stream.read()
            whole = not body and not apart
            stream.head(status, *fields, end=whole)
            if not whole:
                stream.send(body, end=True)

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address))
        with edgewise.client() as client:
            for _ in range(2):
                reply = client.ask(get().replace(b"GET", method.encode(), 1), head_request=method == "HEAD")
                assert (reply.status, reply.body) == (status, body)
                if not (apart and not body and length == "0"):
                    assert reply.get("content-length") == length
        assert len(server.connections) == 1

    def test_interim_answers_and_a_request_to_go_on(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            stream.head(103, ("link", "</a.css>"))
            stream.read()
            stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address))
        with edgewise.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            heads = {client.reader.until(b"\r\n\r\n") for _ in range(2)}
            assert heads == {b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"}
            client.send(b"hello")
            assert client.read().status == 200
        assert server.streams[0].get("expect") is None

    @pytest.mark.parametrize("filters", ["Stamp", "Replace", "admit"])
    def test_filters_on_answers_of_http_2(self, edgewise_server, http2_origin, filters: str) -> None:
        def script(stream: Stream) -> None:
            stream.answer(200, bytes(100_000))

        edgewise = edgewise_server(
            toml(http2_origin(script).address, route=f'filters = ["support.live_filters:{filters}"]')
        )
        reply = ask(edgewise)
        expected = b"was 200" if filters == "Replace" else bytes(100_000)
        assert (reply.status, reply.body) == (200, expected)
        assert reply.get("x-stamp") == ("/" if filters == "Stamp" else None)

    def test_an_answer_larger_than_the_window_outlasts_a_filter_that_waits(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            stream.head(200)
            if stream.path == "/quiet":
                stream.wait(lambda: False)
            stream.send(bytes(2 << 20), end=True)

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address, route='filters = ["support.live_filters:Wait"]'))
        with edgewise.client() as client:
            assert client.ask(get()).body == bytes(2 << 20)
            client.send(get("/quiet"))
            assert client.reader.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")  # although no content follows yet

    def test_files_and_cookies(self, edgewise_server, http2_origin, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"content")

        def script(stream: Stream) -> None:
            stream.answer(200, b"ignored", ("x-accel-redirect", "/files/file"))

        server, other = http2_origin(script), http2_origin()
        edgewise = edgewise_server(toml(server.address, route=f'accel = {{ "/files" = "{tmp_path}" }}'))
        assert ask(edgewise).body == b"content"
        sticky = edgewise_server(toml(other.address, settings='sticky = { cookie = "ew" }'))
        assert (ask(sticky).get("set-cookie") or "").startswith("ew=")


class TestFlow:
    def test_a_server_without_window_pauses_the_client(self, edgewise_server, http2_origin) -> None:
        server = http2_origin(hello)
        server.gives_window = False
        edgewise = edgewise_server(toml(server.address))
        size = 8 << 20
        with Http2Client(("127.0.0.1", edgewise.port)) as client:
            stream = client.request(request_fields("/", "POST", ("content-length", str(size))), end=False)
            wait_until(lambda: server.streams, "the request is at the server")
            sent = 0
            while sent < size and _room(client, stream):
                piece = bytes(min(_room(client, stream), 16384))
                client.send_content(stream, piece, end=False)
                sent += len(piece)
            assert sent < 2 << 20
            assert client.get().status == 200  # another stream is not in its way
            assert len(server.streams[0].content) == 65535
            server.gives_window = True
            with server.connections[0].speaking() as codec:
                codec.acknowledge_received_data(65535, server.streams[0].number)
            client.send_content(stream, bytes(size - sent))
            assert client.answer(stream).status == 200
        assert len(server.streams[0].content) == size

    def test_a_client_that_does_not_read_pauses_the_server(self, edgewise_server, http2_origin) -> None:
        sent = [0]

        def script(stream: Stream) -> None:
            if stream.path == "/other":
                stream.answer()
                return
            stream.head(200)
            while sent[0] < 64 << 20:
                stream.send(bytes(65536))
                sent[0] += 65536
            stream.end()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address))
        with edgewise.client(receive_buffer=4096) as client:
            client.send(get())
            wait_until(lambda: sent[0], "the answer has begun")
            assert wait_settled(lambda: sent[0], "what the server could send") < 16 << 20
            assert ask(edgewise, get("/other", "example.com")).status == 200
            assert len(client.read().body) == 64 << 20


def _room(client: Http2Client, stream: int) -> int:
    """Return what may be sent once edgewise has dealt with everything sent so far."""
    for _ in range(20):
        if not client.room(stream):
            client.pong()
    return client.room(stream)


class TestFaults:
    def test_another_server_answers_for_one_that_is_not_there(self, edgewise_server, http2_origin) -> None:
        server = http2_origin()
        edgewise = edgewise_server(
            toml(f"127.0.0.1:{free_port()}", server.address, settings="eject = false\nretry = { attempts = 2 }")
        )
        assert ask_at_once(edgewise, 30) == [200] * 30
        assert [ask(edgewise, post(b"content")).status for _ in range(6)] == [200] * 6

    def test_502_where_no_server_is_there(self, edgewise_server) -> None:
        edgewise = edgewise_server(toml(f"127.0.0.1:{free_port()}", settings="eject = false"))
        assert ask_at_once(edgewise, 10) == [502] * 10

    @pytest.mark.parametrize("request_bytes", [get(), post(b"content")], ids=["GET", "POST"])
    def test_what_goaway_names_unseen_is_sent_again(self, edgewise_server, http2_origin, request_bytes: bytes) -> None:
        def script(stream: Stream) -> None:
            if stream.connection.index == 0 and stream.number > 1:
                stream.connection.leave(1)
                stream.wait(lambda: False)
            stream.read()
            stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address))
        assert ask(edgewise).status == 200
        assert ask(edgewise, request_bytes).status == 200
        assert len(server.connections) == 2
        wait_until(lambda: server.connections[0].closed, "the connection is left")

    def test_streams_that_goaway_lets_live_are_answered(self, edgewise_server, http2_origin) -> None:
        said, release = threading.Event(), threading.Event()

        def script(stream: Stream) -> None:
            if stream.path == "/slow":
                stream.connection.leave(stream.number)
                said.set()
                release.wait(PATIENCE)
            stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address))
        with edgewise.client() as client:
            client.send(get("/slow"))
            assert said.wait(PATIENCE)
            assert ask(edgewise).status == 200
            release.set()
            assert client.read().status == 200
        assert len(server.connections) == 2

    def test_a_connection_that_many_shared_is_left_for_good(self, edgewise_server, http2_origin) -> None:
        release = threading.Event()

        def script(stream: Stream) -> None:
            if stream.path == "/last":
                stream.connection.leave(stream.number)
                release.wait(PATIENCE)
            stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address, settings="eject = false"))
        assert ask_at_once(edgewise, 60) == [200] * 60
        with edgewise.client() as client:
            client.send(get("/last"))
            wait_until(lambda: server.streams[-1].path == "/last", "the request is at the server")
            assert [ask(edgewise, post(b"content")).status for _ in range(10)] == [200] * 10
            release.set()
            assert client.read().status == 200
        assert len(server.connections) == 2

    @pytest.mark.parametrize("request_bytes", [get(), post(b"content")], ids=["GET", "POST"])
    def test_a_refused_stream_is_sent_again(self, edgewise_server, http2_origin, request_bytes: bytes) -> None:
        def script(stream: Stream) -> None:
            if len(server.streams) == 1:
                stream.cancel(REFUSED_STREAM)
            else:
                stream.read()
                stream.answer()

        server = http2_origin(script)
        assert ask(edgewise_server(toml(server.address)), request_bytes).status == 200
        assert len(server.streams) == 2

    def test_a_reset_before_the_head_is_a_bad_gateway(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            stream.cancel(INTERNAL_ERROR)

        edgewise = edgewise_server(toml(http2_origin(script).address))
        with edgewise.client() as client:
            assert [client.ask(post(b"content")).status for _ in range(3)] == [502] * 3

    def test_a_reset_after_the_head_cuts_the_answer(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            if stream.path == "/whole":
                stream.answer()
                return
            stream.head(200, ("content-length", "100"))
            stream.send(b"part")
            stream.cancel(INTERNAL_ERROR)

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address))
        with edgewise.client() as client, pytest.raises(ClosedEarly):
            client.ask(get())
        with Http2Client(("127.0.0.1", edgewise.port)) as client:
            cut = client.get()
            assert (cut.status, cut.body, cut.reset) == (200, b"part", INTERNAL_ERROR)
            assert client.get("/whole").status == 200
        assert len(server.connections) == 1

    def test_a_connection_that_closes_unanswered_is_no_failure_for_what_may_be_repeated(
        self, edgewise_server, http2_origin
    ) -> None:
        def script(stream: Stream) -> None:
            if stream.connection.index == 0 and stream.number > 1:
                stream.connection.close()
            else:
                stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address, settings="retry = { attempts = 1 }\neject = false"))
        assert [ask(edgewise).status for _ in range(3)] == [200] * 3
        assert len(server.connections) == 2

    def test_a_post_is_not_repeated_where_a_connection_closes(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            stream.read()
            if stream.get(":method") == "POST":
                stream.connection.close()
            else:
                stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address, settings="eject = false"))
        assert ask(edgewise).status == 200
        assert ask(edgewise, post(b"content")).status == 502
        assert len(server.streams) == 2

    @pytest.mark.parametrize(
        "frames",
        [
            frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b":status", b"2x0")),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b"x-a", b"b")),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b":status", b"200") + literal(b"Upper", b"b")),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 20),
            frame(HEADERS, END_HEADERS | END_STREAM, 2, literal(b":status", b"200")),
            frame(0, 0, 1, b"content before a head"),
            frame(5, END_HEADERS, 1, b"\0\0\0\2"),
            window_update(0, LARGEST_WINDOW),
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ],
        ids=["status", "no-status", "upper-case", "hpack", "even-stream", "early-data", "push", "overflow", "http1"],
    )
    def test_an_answer_that_breaks_the_protocol_is_a_bad_gateway(
        self, edgewise_server, http2_origin, frames: bytes
    ) -> None:
        def script(stream: Stream) -> None:
            if stream.connection.index == 0:
                stream.connection.send(frames)
                stream.wait(lambda: False)
            stream.read()
            stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address, settings="eject = false"))
        assert ask(edgewise, post(b"content")).status == 502
        server.connections[0].close()
        assert ask(edgewise, post(b"content")).status == 200

    def test_a_server_that_goes_silent_gets_a_new_connection(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            if stream.connection.index > 0 or stream.number == 1:
                stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(
            toml(server.address, settings='eject = false\ntimeouts = { response = "500ms" }\nretry = { attempts = 1 }')
        )
        assert [ask(edgewise).status for _ in range(3)] == [200, 504, 200]
        assert len(server.connections) == 2

    def test_a_server_that_accepts_and_says_nothing_is_a_failed_connect(
        self, edgewise_server, http2_origin, origin
    ) -> None:
        mute, server = origin(lambda connection: connection.reader.to_end()), http2_origin()
        edgewise = edgewise_server(
            toml(mute.address, server.address, settings='eject = false\ntimeouts = { connect = "500ms" }')
        )
        assert ask_at_once(edgewise, 20) == [200] * 20

    def test_a_late_answer_on_a_living_connection_costs_its_stream_only(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            if stream.path == "/late":
                stream.wait(lambda: stream.reset is not None)
            stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(
            toml(server.address, settings='eject = false\ntimeouts = { response = "1s" }\nretry = { attempts = 1 }')
        )
        with edgewise.client() as client, edgewise.client() as other:
            client.send(get("/late"))
            wait_until(lambda: server.streams, "the request is at the server")
            wait_until(lambda: other.ask(get()).status == 200 and server.streams[0].reset is not None, "it is reset")
            assert client.read().status == 504
            assert other.ask(get()).status == 200
        assert len(server.connections) == 1

    def test_a_client_that_leaves_resets_its_stream(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            if stream.path == "/wait":
                stream.wait(lambda: False)
            stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address))
        with edgewise.client() as client:
            client.send(get("/wait"))
            wait_until(lambda: server.streams, "the request is at the server")
        wait_until(lambda: server.streams[0].reset == 8, "the stream is cancelled")
        assert ask(edgewise).status == 200
        assert len(server.connections) == 1

    def test_an_early_answer_to_an_upload_leaves_the_connection(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            if stream.path == "/":
                stream.answer(403, b"no")
                stream.cancel(NO_ERROR)
            else:
                stream.read()
                stream.answer()

        server = http2_origin(script)
        edgewise = edgewise_server(toml(server.address))
        with edgewise.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin")
            assert client.read().status == 403
        assert ask(edgewise, post(b"content", "/other")).status == 200
        assert len(server.connections) == 1

    def test_a_hedged_get_is_answered_by_the_faster_server(self, edgewise_server, http2_origin) -> None:
        def script(stream: Stream) -> None:
            if len(slow.streams) + len(fast.streams) == 1:
                stream.wait(lambda: False)
            stream.answer()

        slow, fast = http2_origin(script), http2_origin(script)
        edgewise = edgewise_server(toml(slow.address, fast.address, settings='hedge = { after = "100ms" }'))
        assert ask(edgewise).status == 200
        assert len(slow.streams) == len(fast.streams) == 1
        first = [*slow.streams, *fast.streams]
        wait_until(lambda: [stream.reset for stream in first].count(8) == 1, "the slower one is cancelled")

    def test_a_status_that_is_to_be_retried_is(self, edgewise_server, http2_origin) -> None:
        def busy(stream: Stream) -> None:
            stream.answer(503)

        bad, good = http2_origin(busy), http2_origin()
        edgewise = edgewise_server(
            toml(bad.address, good.address, settings="eject = false\nretry = { attempts = 2, on = [503] }")
        )
        assert [ask(edgewise).status for _ in range(6)] == [200] * 6
        assert bad.streams


class TestTls:
    @pytest.fixture(scope="class")
    @classmethod
    def authority(cls, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
        """Return files of an authority, a certificate for 127.0.0.1, and its key."""
        directory = tmp_path_factory.mktemp("authority")
        authority = DevelopmentAuthority()
        cert, key = authority.issue(["localhost", "127.0.0.1"]).write(directory, "server")
        (directory / "ca.pem").write_bytes(authority.certificate)
        return str(directory / "ca.pem"), str(cert), str(key)

    @staticmethod
    def context(authority: tuple[str, str, str], *protocols: str) -> ssl.SSLContext:
        """Return a server's context that agrees to these protocols."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority[1], authority[2])
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def test_http_2_where_the_server_agrees(self, edgewise_server, http2_origin, authority) -> None:
        server = http2_origin(tls=self.context(authority, "h2"))
        edgewise = edgewise_server(toml(server.address, settings=f'tls = {{ ca = "{authority[0]}" }}', protocol="h2"))
        assert ask_at_once(edgewise, 20) == [200] * 20
        assert len(server.connections) == 1
        assert server.streams[0].get(":scheme") == "https"

    @pytest.mark.parametrize("protocols", [(), ("http/1.1",)], ids=["no-alpn", "http1"])
    def test_http_1_where_it_does_not(self, edgewise_server, origin, authority, protocols: tuple[str, ...]) -> None:
        server = origin(tls=self.context(authority, *protocols))
        edgewise = edgewise_server(toml(server.address, settings=f'tls = {{ ca = "{authority[0]}" }}', protocol="h2"))
        assert ask_at_once(edgewise, 20) == [200] * 20
        assert len(server.requests) == 20

    def test_a_bad_certificate_is_a_failed_connect_for_all_who_wait(
        self, edgewise_server, http2_origin, authority
    ) -> None:
        server = http2_origin(tls=self.context(authority, "h2"))
        edgewise = edgewise_server(toml(server.address, settings="tls = true\neject = false", protocol="h2"))
        assert ask_at_once(edgewise, 10) == [502] * 10
