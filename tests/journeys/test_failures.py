"""What a client sees when a server fails it: the status, in time, and never a cut answer passed off as whole."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from support.edgewise_process import wait_until
from support.origin import OK, OriginConnection
from support.raw_http import PATIENCE, get, post

ONCE = "retry = { attempts = 1 }\neject = false"


def test_a_connect_that_hangs_is_a_504_in_time(edgewise_server) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]  # the queue is full, so that further ones get no answer
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        edgewise = edgewise_server(
            f'[upstreams.app]\nservers = ["127.0.0.1:{full.getsockname()[1]}"]\n{ONCE}\n'
            'timeouts = { connect = "300ms" }\n'
        )
        with edgewise.client() as client:
            began = time.monotonic()
            assert client.ask(get()).status == 504
            assert time.monotonic() - began < 10
        [line] = edgewise.wait_access_log(1)
        assert line["end"] == "upstream-connect"
        for one in waiting:
            one.close()


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_answer_that_does_not_come_is_a_504_in_time(proxied, said: bytes) -> None:
    def slow(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(said)
        connection.reader.to_end()

    edgewise, _ = proxied(slow, upstream=f'{ONCE}\ntimeouts = {{ response = "300ms" }}')
    for request in (get(), post(b"content")):
        with edgewise.client() as client:
            began = time.monotonic()
            assert client.ask(request).status == 504
            assert time.monotonic() - began < 10


def test_the_time_for_an_answer_counts_from_the_end_of_the_request(proxied) -> None:
    def after_all(connection: OriginConnection) -> None:
        connection.read_request()
        time.sleep(0.6)
        connection.send(OK)

    edgewise, _ = proxied(after_all, upstream='timeouts = { response = "800ms" }')
    with edgewise.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            time.sleep(0.18)
            client.send(b"x")
        assert client.read().status == 200


def test_an_answer_that_stops_half_way_is_cut_in_time(proxied) -> None:
    def stalls(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        connection.reader.to_end()

    edgewise, _ = proxied(stalls, upstream=f'{ONCE}\ntimeouts = {{ response = "300ms" }}')
    with edgewise.client() as client:
        client.send(get())
        began = time.monotonic()
        assert client.reader.to_end().endswith(b"\r\n\r\nhalf")
        assert time.monotonic() - began < 10
    wait_until(lambda: edgewise.access_log and edgewise.access_log[-1]["end"] == "upstream-body", "the cut is logged")


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
def test_an_answer_cut_short_ends_by_a_reset(proxied, framing: bytes) -> None:
    content = b"5\r\nhello\r\n" if b"chunked" in framing else b"hello"
    go_on = threading.Event()

    def cut(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + content)
        go_on.wait(PATIENCE)

    edgewise, _ = proxied(cut)
    with edgewise.client() as client:
        client.send(get())
        client.reader.until(b"hello")
        go_on.set()

        def rest() -> None:
            while client.sock.recv(1000):
                pass

        with pytest.raises(ConnectionResetError):
            rest()


def test_a_head_that_is_cut_short_is_a_502(proxied) -> None:
    def cut(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")

    edgewise, _ = proxied(cut, upstream=ONCE)
    with edgewise.client() as client:
        assert client.ask(get()).status == 502


def test_a_failure_leaves_later_requests_alone(proxied) -> None:
    edgewise, origin = proxied(b"nonsense\r\n\r\n", upstream=ONCE)
    with edgewise.client() as client:
        assert client.ask(get()).status == 502
    origin.play(OK)
    with edgewise.client() as client:
        assert [client.ask(get()).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("flood", [b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", b"HTTP/1.0 100 x\r\n\r\n"])
def test_a_flood_of_interim_answers_is_a_502(proxied, flood: bytes) -> None:
    edgewise, _ = proxied(flood * 1500 + OK, upstream=ONCE)
    with edgewise.client() as client:
        assert client.ask(get()).status == 502


def test_some_interim_answers_are_fine_and_pass_on_but_for_100(proxied) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    working = b"HTTP/1.1 102 Processing\r\n\r\n"
    edgewise, _ = proxied(b"HTTP/1.1 100 Continue\r\n\r\n" + working * 5 + hints + OK)
    with edgewise.client() as client:
        reply = client.ask(get())
        assert (reply.status, reply.interim) == (200, [working] * 5 + [hints])
    with edgewise.client() as client:
        assert client.ask(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").interim == []


def test_trailers_pass_both_ways_but_those_that_frame_or_route_do_not(proxied) -> None:
    framed = b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    edgewise, origin = proxied(b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" + framed)
    with edgewise.client() as client:
        reply = client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + framed)
    assert (reply.get("trailer"), reply.raw_body) == ("X-Sum", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert origin.requests[0].endswith(b"\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_an_answer_of_unknown_length_to_http_1_0_ends_with_its_connection(proxied) -> None:
    edgewise, _ = proxied(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    with edgewise.client() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        received = client.reader.to_end()
    assert b"\r\nConnection: close\r\n" in received
    assert received.endswith(b"\r\n\r\nabc")


def test_an_answer_that_began_before_the_upload_ended_closes_even_if_both_end_well(proxied) -> None:
    begun = threading.Event()

    def early(connection: OriginConnection) -> None:
        head = connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        begun.set()
        connection.read_body(head)
        connection.send(b"cd")
        connection.reader.to_end()

    edgewise, _ = proxied(early)
    with edgewise.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert client.reader.until(b"ab").count(b"Connection: close") == 1
        client.send(b"hello")
        assert client.reader.exactly(2) == b"cd"
        assert client.is_closed()


def test_a_client_that_leaves_frees_the_server_and_is_logged_as_499(proxied) -> None:
    freed = threading.Event()

    def patient(connection: OriginConnection) -> None:
        connection.read_request()
        asked.set()
        assert connection.reader.to_end() == b""
        freed.set()

    asked = threading.Event()
    edgewise, _ = proxied(patient)
    with edgewise.client() as client:
        client.send(get("/gone"))
        assert asked.wait(PATIENCE)
    assert freed.wait(PATIENCE)
    lines = wait_until(
        lambda: [line for line in edgewise.access_log if line["path"] == "/gone"], "the request is logged"
    )
    assert (lines[0]["status"], lines[0]["end"]) == (499, "client")


def test_a_client_that_leaves_in_mid_answer_frees_the_server(proxied) -> None:
    freed = threading.Event()

    def endless(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                connection.send(b"x" * 65536)
        finally:
            freed.set()

    edgewise, _ = proxied(endless)
    with edgewise.client() as client:
        client.send(get())
        client.reader.exactly(100_000)
    assert freed.wait(PATIENCE)


def test_a_dead_server_does_not_end_the_clients_connection(edgewise_server) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        edgewise = edgewise_server(f'[upstreams.app]\nservers = ["127.0.0.1:{nobody.getsockname()[1]}"]\n{ONCE}\n')
        with edgewise.client() as client:
            assert [client.ask(request).status for request in (get(), post(b"content"), get())] == [502, 502, 502]
