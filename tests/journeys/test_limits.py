"""Bounds on what one client may take: sizes, rates, connections, the length of a pipeline."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from support.edgewise_process import EdgewiseProcess, wait_until
from support.origin import OK, Origin, OriginConnection
from support.raw_http import ClosedEarly, RawClient, get, post

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "off"
workers = 1
head_bytes = 2048
head_fields = 20
min_rate = 2000
send_timeout = "500ms"
max_connections = 8
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
timeouts = { body = "500ms" }
[[routes]]
path = "/limited/*"
upstream = "app"
body_limit = 1000
buffer_request = true
[[routes]]
path = "/buffered/*"
upstream = "app"
buffer_request = true
[[routes]]
path = "/fixed"
respond = { body = "fixed" }
"""
CHUNKED = b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
Pair = tuple[EdgewiseProcess, Origin]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    server = Origin()
    edgewise = EdgewiseProcess(TOML.replace("ORIGIN", server.address), tmp_path_factory.mktemp("limits"))
    yield edgewise, server
    edgewise.stop()
    server.stop()


@pytest.fixture
def pair(standing: Pair) -> Pair:
    standing[1].play(OK)
    return standing


class TestHeads:
    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (get("/" + "a" * 3000), 414),
            (get("/" + "a" * 30_000), 414),
            (get("/", "a", "X: " + "y" * 3000), 431),
            (get("/", "a", "X: " + "y" * 30_000), 431),
            (get("/", "a", *(f"X-{number}: 1" for number in range(20))), 431),
        ],
        ids=["target", "long target", "field", "long field", "many fields"],
    )
    def test_what_is_too_large_is_told_and_closes(self, pair: Pair, head: bytes, status: int) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            assert client.ask(head).status == status
            assert client.is_closed()
        assert origin.requests == []

    def test_heads_up_to_the_limits_pass(self, pair: Pair) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            base = len(get("/", "a", "X: "))
            assert client.ask(get("/", "a", "X: " + "y" * (2048 - base))).status == 200
            assert client.ask(get("/" + "a" * 1900)).status == 200
            assert client.ask(get("/", "a", *(f"X-{number}: 1" for number in range(19)))).status == 200
        assert len(origin.requests) == 3


class TestRates:
    def test_content_that_drips_below_the_minimum_rate_is_a_408(self, pair: Pair) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
            stop = threading.Event()

            def drip() -> None:
                while not stop.wait(0.05):
                    client.send(b"x" * 10)

            dripper = threading.Thread(target=drip, daemon=True)
            dripper.start()
            assert client.read().status == 408
            stop.set()
            dripper.join()
        assert origin.requests == []

    def test_content_above_the_minimum_rate_may_take_its_time(self, pair: Pair) -> None:
        edgewise, _ = pair
        with edgewise.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n")
            for _ in range(10):
                time.sleep(0.12)
                client.send(b"x" * 400)
            assert client.read().status == 200

    def test_a_client_that_does_not_read_is_cut_off(self, pair: Pair) -> None:
        edgewise, origin = pair
        freed = threading.Event()

        def endless(connection: OriginConnection) -> None:
            connection.read_request()
            connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                while True:
                    connection.send(b"x" * 65536)
            finally:
                freed.set()

        origin.play(endless)
        with edgewise.client(receive_buffer=16384) as client:
            client.send(get("/unread"))
            assert freed.wait(5)
        wait_until(lambda: any(line["end"] == "client-read" for line in edgewise.access_log), "the cut is logged")


class TestContent:
    @pytest.mark.parametrize(
        "framed", [post(b"x" * 1001, "/limited/a"), CHUNKED % b"/limited/a" + b"3e9\r\n" + b"x" * 1001]
    )
    def test_what_a_buffering_route_refuses_never_reaches_a_server(self, pair: Pair, framed: bytes) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            assert client.ask(framed).status == 413
            assert client.is_closed()
        assert origin.connections == []

    def test_a_buffered_request_goes_out_when_it_is_whole(self, pair: Pair) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            client.send(CHUNKED % b"/buffered/a" + b"5\r\nhello\r\n")
            with edgewise.client() as other:
                assert other.ask(get("/other")).status == 200
            assert [request.split(b" ")[1] for request in origin.requests] == [b"/other"]
            assert client.ask(b"0\r\n\r\n").status == 200
            client.send(b"POST /buffered/b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            assert client.reader.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
            assert client.ask(b"hello").status == 200
            assert client.ask(post(b"", "/buffered/c")).status == 200
            assert client.ask(CHUNKED % b"/buffered/d" + b"0\r\n\r\n").status == 200
        assert origin.requests[1].endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")

    def test_more_than_is_buffered_streams_on_unchanged(self, pair: Pair) -> None:
        edgewise, origin = pair
        content = bytes(range(256)) * 12288
        with edgewise.client() as client:
            assert client.ask(post(content, "/buffered/large")).status == 200
        assert origin.requests[0].endswith(b"\r\n\r\n" + content)

    def test_whole_content_of_a_request_answered_here_is_read_and_the_connection_kept(self, pair: Pair) -> None:
        edgewise, _ = pair
        with edgewise.client() as client:
            assert [client.ask(post(b"ignored", "/fixed")).body for _ in range(2)] == [b"fixed"] * 2
            client.send(b"POST /fixed HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            reply = client.read()
            assert (reply.status, reply.interim, reply.get("connection")) == (200, [], "close")
            assert client.is_closed()


class TestNumbers:
    def test_ten_thousand_pipelined_requests_are_answered_in_order(self, pair: Pair) -> None:
        edgewise, origin = pair

        def number(connection: OriginConnection) -> None:
            while True:
                target = connection.read_head().split(b" ")[1]
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(target), target))

        origin.play(number)
        paths = ["/fixed" if n % 3 == 0 else f"/{n}" for n in range(10_000)]
        with edgewise.client() as client:
            sender = threading.Thread(
                target=client.send, args=(b"".join(get(path, "a") for path in paths),), daemon=True
            )
            sender.start()
            for path in paths:
                assert client.read().body.decode() == path.replace("/fixed", "fixed")
        assert "RecursionError" not in edgewise.log

    def test_ten_thousand_pipelined_requests_answered_here_do_not_nest(self, pair: Pair) -> None:
        edgewise, _ = pair
        with edgewise.client() as client:
            sender = threading.Thread(target=client.send, args=(get("/fixed", "a") * 10_000,), daemon=True)
            sender.start()
            assert all(client.read().body == b"fixed" for _ in range(10_000))

    def test_connections_over_the_limit_are_closed_and_those_to_servers_do_not_count(self, pair: Pair) -> None:
        edgewise, _ = pair
        wait_until(lambda: self.can_connect(edgewise), "earlier clients are gone")
        clients = [edgewise.client() for _ in range(8)]
        for client in clients:
            assert client.ask(get()).status == 200
        with edgewise.client() as ninth, pytest.raises(ClosedEarly):
            ninth.ask(get())
        clients.pop().close()
        wait_until(lambda: self.can_connect(edgewise), "there is room again")
        for client in clients:
            assert client.ask(get()).status == 200
            client.close()

    @staticmethod
    def can_connect(edgewise: EdgewiseProcess) -> bool:
        """Is a new client served?"""
        with edgewise.client() as client:
            try:
                return client.ask(get("/fixed")).status == 200
            except ClosedEarly:
                return False


def test_half_a_proxy_header_and_an_end_of_file_cost_no_cpu(edgewise_server, origin) -> None:
    text = '[server]\nlisten = ["127.0.0.1:$PORT"]\nadmin = "off"\nworkers = 1\nheader_timeout = "1s"\n'
    trust = 'accept_proxy_protocol = true\ntrusted_proxies = ["127.0.0.1"]\n'
    edgewise = edgewise_server(text + trust + f'[upstreams.app]\nservers = ["{origin().address}"]\n')
    before = cpu_ticks(edgewise)
    clients = [edgewise.client() for _ in range(5)]
    for client in clients:
        client.send(b"PROXY TCP4 192.0")
        client.sock.shutdown(socket.SHUT_WR)
    assert all(client.is_closed() for client in clients)
    assert cpu_ticks(edgewise) - before < 50
    for client in clients:
        client.close()


def cpu_ticks(edgewise: EdgewiseProcess) -> int:
    """Return the CPU time of the process tree in hundredths of a second."""
    total = 0
    for pid in edgewise.tree():
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total


def test_a_client_on_the_wire_may_come_byte_by_byte_behind_a_proxy_header(edgewise_server, origin) -> None:
    server = origin()
    text = '[server]\nlisten = ["127.0.0.1:$PORT"]\nadmin = "off"\nworkers = 1\naccept_proxy_protocol = true\n'
    edgewise = edgewise_server(
        text + f'trusted_proxies = ["127.0.0.1"]\n[upstreams.app]\nservers = ["{server.address}"]\n'
    )
    with RawClient(("127.0.0.1", edgewise.port)) as client:
        for byte in b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n" + get():
            client.send(bytes([byte]))
        assert client.read().status == 200
    assert b"X-Forwarded-For: 192.0.2.7\r\n" in server.requests[0]
