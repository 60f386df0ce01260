"""Windows of HTTP/2 clients: who does not read pauses the server, is given up in time, and harms nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.edgewise_process import EdgewiseProcess, wait_settled, wait_until
from support.http2_raw import (
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    LARGEST_WINDOW,
    Http2Client,
    request_fields,
    settings,
    window_update,
)
from support.origin import OK, OriginConnection
from support.raw_http import get

MEBIBYTE = 1 << 20
LARGE = 64 * MEBIBYTE
MOST_READ_AHEAD = 16 * MEBIBYTE
"""Of an answer nobody takes, with what the kernel holds between origin and edgewise."""
CLOSED = settings((INITIAL_WINDOW_SIZE, 0))
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
SETTINGS
[upstreams.app]
servers = ["ORIGIN"]
"""


class Large:
    """An origin that answers /large with 64 MiB and counts what it could send, and everything else with a word."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            request = connection.read_request()
            if not request.startswith(b"GET /large"):
                connection.send(OK.removesuffix(b"ok") if request.startswith(b"HEAD") else OK)
                continue
            self.sent.append(0)
            mine = len(self.sent) - 1
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            for _ in range(LARGE // 65536):
                connection.send(bytes(65536))
                self.sent[mine] += 65536

    def settled(self) -> int:
        """Wait until no more can be sent; return how much was."""
        wait_until(lambda: any(self.sent), "the answer has begun")
        total: int = wait_settled(lambda: sum(self.sent), "what the origin could send")
        return total


@contextmanager
def connected(edgewise: EdgewiseProcess, opening: bytes = CLOSED) -> Iterator[Http2Client]:
    """Open a connection whose windows let no content through, unless said otherwise."""
    with Http2Client(("127.0.0.1", edgewise.port), opening=opening) as client:
        yield client


def take(client: Http2Client, stream: int, most: int) -> int:
    """Open the windows again for all that came until the stream has brought `most` bytes; return how many it has."""
    answer = client.of(stream)
    while answer.size < most and not answer.ended:
        before = answer.size
        client.read(5.0)
        if answer.size > before:
            client.send(window_update(0, answer.size - before) + window_update(stream, answer.size - before))
    return answer.size


def test_an_answer_without_a_window_is_not_read_from_the_server(proxied) -> None:
    script = Large()
    edgewise, _ = proxied(script)
    with connected(edgewise) as client:
        stream = client.request(request_fields("/large"))
        client.wait(lambda: client.of(stream).fields)
        assert script.settled() < MOST_READ_AHEAD
        assert client.of(stream).size == 0
        client.send(window_update(stream, 65535))
        assert take(client, stream, LARGE) == LARGE
        assert client.answer(stream).reset is None


def test_many_unread_answers_stay_within_bounds(proxied) -> None:
    script = Large()
    edgewise, _ = proxied(script)
    with connected(edgewise) as client:
        assert client.answer(client.request(request_fields("/", "HEAD"))).status == 200
        resident = edgewise.resident()
        streams = [client.request(request_fields("/large")) for _ in range(40)]
        client.wait(lambda: any(client.of(stream).fields for stream in streams))
        script.settled()
        assert edgewise.resident() - resident < 64 * MEBIBYTE
        with edgewise.client() as other:
            assert other.ask(get()).body == b"ok"


def test_a_window_of_its_own_lets_a_stream_pass_those_without(proxied) -> None:
    edgewise, _ = proxied(Large())
    with connected(edgewise) as client:
        stuck = [client.request(request_fields("/large")) for _ in range(10)]
        client.wait(lambda: all(client.of(stream).fields for stream in stuck))
        for _ in range(5):
            stream = client.request(request_fields("/small"))
            client.send(window_update(stream, 100))
            assert client.answer(stream).body == b"ok"
        assert all(client.of(other).size == 0 for other in stuck)


def test_a_used_up_connection_window_holds_content_back_and_no_heads(proxied) -> None:
    edgewise, _ = proxied(Large())
    with connected(edgewise, settings((INITIAL_WINDOW_SIZE, LARGEST_WINDOW))) as client:
        first = client.request(request_fields("/large"))
        client.wait(lambda: client.of(first).size == 65535)
        second = client.request(request_fields("/small"))
        client.wait(lambda: client.of(second).fields)
        assert client.of(second).body == b""
        client.send(window_update(0, 1000))
        client.wait(lambda: client.of(first).size + client.of(second).size == 66535)
        client.send(window_update(0, 1000))
        assert client.answer(second).body == b"ok"  # its turn comes although the first could take it all


def test_a_smaller_initial_window_stops_streams_that_are_open(proxied) -> None:
    edgewise, _ = proxied(Large())
    wide = settings((INITIAL_WINDOW_SIZE, 100_000)) + window_update(0, LARGEST_WINDOW - 65535)
    with connected(edgewise, wide) as client:
        stream = client.request(request_fields("/large"))
        client.wait(lambda: client.of(stream).size == 100_000)
        client.send(settings((INITIAL_WINDOW_SIZE, 50_000)) + window_update(stream, 50_000))
        client.pong()
        assert client.of(stream).size == 100_000
        client.send(window_update(stream, 1))
        client.wait(lambda: client.of(stream).size == 100_001)


class TestDeadlines:
    @pytest.mark.parametrize("rate", [240, 0], ids=["minimum-rate", "no-minimum-rate"])
    def test_a_client_that_gives_no_window_loses_its_stream_alone(self, edgewise_server, origin, rate: int) -> None:
        toml = TOML.replace("ORIGIN", origin(Large()).address)
        edgewise = edgewise_server(toml.replace("SETTINGS", f'send_timeout = "1s"\nmin_rate = {rate}'))
        with connected(edgewise) as client:
            stuck = client.request(request_fields("/large"))
            living = client.request(request_fields("/large"))
            while not client.of(stuck).ended:
                client.send(window_update(living, 1000) + window_update(0, 1000))
                client.read(0.05)
            assert client.of(stuck).reset == INTERNAL_ERROR
            assert not client.of(living).ended
            assert client.of(living).size
            assert client.answer(client.request(request_fields("/", "HEAD"))).status == 200
        lines = edgewise.wait_access_log(3)
        assert sum(line["end"] == "client-read" for line in lines) == 1

    def test_a_client_below_the_minimum_rate_loses_its_stream(self, edgewise_server, origin) -> None:
        toml = TOML.replace("ORIGIN", origin(Large()).address)
        edgewise = edgewise_server(toml.replace("SETTINGS", 'send_timeout = "1s"\nmin_rate = 100000'))
        with connected(edgewise) as client:
            stream = client.request(request_fields("/large"))
            while not client.of(stream).ended:
                client.send(window_update(stream, 100))
                client.read(0.05)
            assert client.of(stream).reset == INTERNAL_ERROR

    def test_a_client_that_reads_nothing_at_all_is_cut_off(self, edgewise_server, origin) -> None:
        toml = TOML.replace("ORIGIN", origin(Large()).address)
        edgewise = edgewise_server(toml.replace("SETTINGS", 'send_timeout = "1s"'))
        wide = settings((INITIAL_WINDOW_SIZE, LARGEST_WINDOW)) + window_update(0, LARGEST_WINDOW - 65535)
        with Http2Client(("127.0.0.1", edgewise.port), opening=wide, receive_buffer=4096) as client:
            client.request(request_fields("/large"))
            (line,) = edgewise.wait_access_log()
        assert line["end"].startswith("client")

    def test_an_upload_that_stalls_gets_408_and_others_go_on(self, proxied) -> None:
        edgewise, _ = proxied(route='timeouts = { body = "500ms" }')
        with connected(edgewise, settings()) as client:
            stream = client.request(request_fields("/", "POST"), end=False)
            client.send_content(stream, b"begin", end=False)
            assert client.get().status == 200
            assert client.answer(stream).status == 408
            assert client.get().status == 200

    def test_an_upload_that_the_server_does_not_take_is_not_the_clients_fault(self, edgewise_server, origin) -> None:
        def read_late(connection: OriginConnection) -> None:
            head = connection.read_head()
            wait_until(lambda: edgewise.access_log, "another request has been answered")
            connection.read_body(head)
            connection.send(OK)

        def script(connection: OriginConnection) -> None:
            if connection.index == 0:
                read_late(connection)
            while connection.index:
                connection.read_request()
                connection.send(OK)

        edgewise = edgewise_server(
            f'[upstreams.app]\nservers = ["{origin(script).address}"]\n[[routes]]\nupstream = "app"\n'
            'timeouts = { body = "500ms" }\n'
        )
        size = 24 * MEBIBYTE
        with connected(edgewise, settings()) as client:
            stream = client.request(request_fields("/", "POST", ("content-length", str(size))), end=False)
            sent = 0
            while client.room(stream) or not _stalled(client, stream):
                piece = bytes(min(client.room(stream), 65536))
                client.send_content(stream, piece, end=False)
                sent += len(piece)
            wait_settled(lambda: client.read() or client.of(stream).ended, "nothing is heard", 1.5)
            assert not client.of(stream).ended
            assert client.get().status == 200
            client.send_content(stream, bytes(size - sent))
            assert client.answer(stream).status == 200


def _stalled(client: Http2Client, stream: int) -> bool:
    """Is there no window although edgewise has looked at everything?"""
    for _ in range(20):
        client.pong()
    return not client.room(stream)
