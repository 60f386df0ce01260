"""Requests are sent again where that is safe, and nowhere else; the queue of a server at its limit."""

from __future__ import annotations

import itertools
import re
import select
import threading
import time
from collections.abc import Callable

import pytest

from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.origin import OK, Origin, OriginConnection
from support.raw_http import PATIENCE, get, post

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
StartEdgewise = Callable[..., EdgewiseProcess]
StartOrigin = Callable[..., Origin]


def method(name: str, body: bytes = b"") -> bytes:
    """Return a request of any method."""
    return post(body).replace(b"POST", name.encode(), 1)


class TestClosedConnections:
    """A server closes an idle connection in the instant in which a request is sent on it."""

    @staticmethod
    def closes_on_the_second(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(OK)
        if connection.index == 0:
            connection.read_head()  # received, and not answered: nobody can know whether it was acted upon
            connection.reset()
        else:
            while True:
                connection.read_request()
                connection.send(OK)

    @pytest.mark.parametrize("name", ["GET", "PUT", "DELETE"])
    def test_an_idempotent_request_is_sent_again_unseen(self, proxied, name: str) -> None:
        edgewise, origin = proxied(self.closes_on_the_second)
        with edgewise.client() as client:
            assert [client.ask(method(name, b"content")).status for _ in range(3)] == [200] * 3
        assert origin.connections[1].received.count(b"content") == 2

    def test_a_post_is_not_sent_again(self, proxied) -> None:
        edgewise, origin = proxied(self.closes_on_the_second)
        with edgewise.client() as client:
            assert [client.ask(post(b"content")).status for _ in range(2)] == [200, 502]
        assert origin.received.count(b"content") <= 2
        assert len(origin.connections) == 1


class TestConnect:
    @pytest.mark.parametrize("name", ["GET", "POST"])
    def test_another_server_answers_for_one_that_is_not_there(self, edgewise_server, origin, name: str) -> None:
        server = origin()
        edgewise = edgewise_server(
            f'[upstreams.app]\nservers = ["127.0.0.1:{free_port()}", "{server.address}"]\neject = false\n'
        )
        with edgewise.client() as client:
            assert [client.ask(method(name, b"content")).status for _ in range(6)] == [200] * 6
        assert len(server.requests) == 6

    def test_an_upload_that_waits_to_be_asked_for_is_asked_for_after_a_failed_connect(
        self, edgewise_server, origin
    ) -> None:
        server = origin()
        edgewise = edgewise_server(
            f'[upstreams.app]\nservers = ["127.0.0.1:{free_port()}", "{server.address}"]\neject = false\n'
        )
        for _ in range(2):
            with edgewise.client() as client:
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
                assert client.reader.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                client.send(b"hello")
                assert client.read().status == 200
        assert [request[-5:] for request in server.requests] == [b"hello"] * 2

    def test_a_connect_is_not_repeated_where_the_settings_do_not_say_so(self, edgewise_server, origin) -> None:
        edgewise = edgewise_server(
            f'[upstreams.app]\nservers = ["127.0.0.1:{free_port()}", "{origin().address}"]\neject = false\n'
            "retry = { on = [503] }\n"
        )
        statuses = []
        for _ in range(4):
            with edgewise.client() as client:
                statuses.append(client.ask(get(close=True)).status)
        assert sorted(statuses) == [200, 200, 502, 502]


class TestStatuses:
    @staticmethod
    def start(edgewise_server: StartEdgewise, origin: StartOrigin, settings: str) -> tuple[EdgewiseProcess, Origin]:
        bad, good = origin(UNAVAILABLE), origin()
        return edgewise_server(
            f'[upstreams.app]\nservers = ["{bad.address}", "{good.address}"]\neject = false\n{settings}\n'
        ), bad

    def test_only_what_is_named_and_only_idempotent_methods(self, edgewise_server, origin) -> None:
        edgewise, bad = self.start(edgewise_server, origin, "retry = { on = [503] }")
        with edgewise.client() as client:
            assert {client.ask(get()).status for _ in range(6)} == {200}
            assert {client.ask(method("PUT", b"x" * 1000)).status for _ in range(6)} == {200}
            assert {client.ask(post(b"")).status for _ in range(6)} == {200, 503}
        bad.play(UNAVAILABLE.replace(b"503", b"502"))
        with edgewise.client() as client:
            assert {client.ask(get()).status for _ in range(6)} == {200, 502}

    def test_nothing_without_settings(self, edgewise_server, origin) -> None:
        edgewise, _ = self.start(edgewise_server, origin, "")
        with edgewise.client() as client:
            assert {client.ask(get()).status for _ in range(6)} == {200, 503}

    def test_content_is_sent_again_whole_and_only_within_its_limit(self, edgewise_server, origin) -> None:
        edgewise, bad = self.start(edgewise_server, origin, "retry = { on = [503], body_limit = 100000 }")
        small, large = b"s" * 90_000, b"l" * 110_000
        with edgewise.client() as client:
            assert {client.ask(method("PUT", small)).status for _ in range(4)} == {200}
            assert {client.ask(method("PUT", large)).status for _ in range(4)} == {200, 503}
        with edgewise.client() as client:
            chunks = b"".join(b"3e8\r\n" + b"c" * 1000 + b"\r\n" for _ in range(50))
            framed = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
            assert {client.ask(framed).status for _ in range(4)} == {200}
        assert all(len(request.partition(b"\r\n\r\n")[2]) >= 50_000 for request in bad.requests)

    def test_retries_stop_at_the_number_of_attempts(self, proxied) -> None:
        edgewise, origin = proxied(UNAVAILABLE, upstream="retry = { attempts = 4, on = [503] }\neject = false")
        with edgewise.client() as client:
            assert (client.ask(get()).status, len(origin.requests)) == (503, 4)

    def test_the_budget_bounds_retries_under_way(self, proxied) -> None:
        entered, release, let_go = threading.Semaphore(0), threading.Event(), threading.Event()
        turns = itertools.count()

        def first_fails(connection: OriginConnection) -> None:
            while True:
                connection.read_request()
                if next(turns) < 20:
                    entered.release()
                    assert release.wait(PATIENCE)
                    connection.send(UNAVAILABLE)
                else:
                    assert let_go.wait(PATIENCE)
                    connection.send(OK)

        budget = "retry = { on = [503], budget_ratio = 0.0, budget_min = 2 }\neject = false"
        edgewise, _ = proxied(first_fails, upstream=budget)
        clients = [edgewise.client() for _ in range(20)]
        for client in clients:
            client.send(get())
        for _ in clients:
            assert entered.acquire(timeout=PATIENCE)
        release.set()
        socks = [client.sock for client in clients]
        wait_until(lambda: len(select.select(socks, [], [], 0)[0]) == 18, "all but two are answered")
        let_go.set()
        assert sorted(client.read().status for client in clients) == [200] * 2 + [503] * 18
        for client in clients:
            client.close()


def _waiting(edgewise: EdgewiseProcess) -> int:
    """Return how many requests wait for a connection."""
    found = re.search(rb"^edgewise_upstream_waiting_requests\{.*\} (\d+)$", edgewise.admin("/metrics"), re.M)
    assert found is not None
    return int(found[1])


class TestQueue:
    def hold(self, connection: OriginConnection) -> None:
        """Answer each request when the test allows one more."""
        while True:
            request = connection.read_request()
            self.seen.append(request.split(b" ")[1])
            assert self.allowed.acquire(timeout=PATIENCE)
            connection.send(OK)

    @pytest.fixture(autouse=True)
    def _gates(self) -> None:
        self.seen: list[bytes] = []
        self.allowed = threading.Semaphore(0)

    def test_those_who_wait_are_served_in_order_over_the_connections_there_may_be(self, proxied) -> None:
        edgewise, origin = proxied(self.hold, upstream="max_connections = 1")
        clients = [edgewise.client() for _ in range(5)]
        for number, client in enumerate(clients):
            client.send(get(f"/{number}") if number % 2 else post(b"content", f"/{number}"))
            wait_until(
                lambda number=number: self.seen == [b"/0"] and _waiting(edgewise) == number, "it is in its place"
            )
        for client in clients:
            self.allowed.release()
            assert client.read().status == 200
            client.close()
        assert self.seen == [b"/0", b"/1", b"/2", b"/3", b"/4"]
        assert len(origin.connections) == 1

    @pytest.mark.parametrize("request_bytes", [get("/late"), post(b"content", "/late"), post(b"x" * 200_000, "/late")])
    def test_waiting_has_a_deadline(self, proxied, request_bytes: bytes) -> None:
        edgewise, _ = proxied(self.hold, upstream='max_connections = 1\ntimeouts = { queue = "300ms" }')
        with edgewise.client() as first, edgewise.client() as late:
            first.send(get("/first"))
            wait_until(lambda: self.seen, "the server is busy")
            began = time.monotonic()
            reply = late.ask(request_bytes)
            assert (reply.status, reply.get("retry-after")) == (503, "1")
            assert time.monotonic() - began < 10
            self.allowed.release()
            assert first.read().status == 200
        assert self.seen == [b"/first"]

    def test_the_queue_is_bounded(self, proxied) -> None:
        edgewise, _ = proxied(self.hold, upstream="max_connections = 1\nmax_waiting = 2")
        clients = [edgewise.client() for _ in range(3)]
        for number, client in enumerate(clients):
            client.send(get(f"/{number}"))
            time.sleep(0.03)
        with edgewise.client() as client:
            assert client.ask(get("/4")).status == 503
        for client in clients:
            self.allowed.release()
            assert client.read().status == 200
            client.close()

    def test_one_that_leaves_the_queue_is_never_sent(self, proxied) -> None:
        edgewise, _ = proxied(self.hold, upstream="max_connections = 1")
        with edgewise.client() as first, edgewise.client() as last:
            first.send(get("/first"))
            wait_until(lambda: self.seen, "the server is busy")
            with edgewise.client() as leaver:
                leaver.send(get("/leaver"))
                time.sleep(0.03)
            wait_until(lambda: any(line["path"] == "/leaver" for line in edgewise.access_log), "it left")
            last.send(get("/last"))
            self.allowed.release(2)
            assert [first.read().status, last.read().status] == [200, 200]
        assert self.seen == [b"/first", b"/last"]

    def test_a_connection_that_closes_makes_room(self, proxied) -> None:
        def one_each(connection: OriginConnection) -> None:
            connection.read_request()
            connection.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))

        edgewise, origin = proxied(one_each, upstream="max_connections = 1")
        clients = [edgewise.client() for _ in range(10)]
        for client in clients:
            client.send(get())
        assert [client.read().status for client in clients] == [200] * 10
        assert len(origin.connections) == 10
        for client in clients:
            client.close()
