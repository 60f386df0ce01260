"""Answers that are whole at the edge and not yet with the client: their server's connection is free for others."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from support.edgewise_process import EdgewiseProcess, wait_settled, wait_until
from support.http2_raw import INITIAL_WINDOW_SIZE, Http2Client, request_fields, rst_stream, settings
from support.origin import OriginConnection
from support.raw_http import PATIENCE, RawClient, get

WAITING = bytes(12_000)
PIPELINED = 2000
Leave = Callable[[], None]


class Site:
    """An origin of one connection at a time: /held is answered when the test says so, everything else at once."""

    def __init__(self) -> None:
        self.answered = 0
        self.held = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            body = WAITING
            if connection.read_request().startswith(b"GET /held"):
                self.held.set()
                assert self.let_go.wait(PATIENCE)
                body = b"held"
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.answered += 1


def http2_without_windows(edgewise: EdgewiseProcess, site: Site, stack: contextlib.ExitStack) -> Leave:
    """A stream whose window takes nothing of the answer, and is then reset."""
    opening = settings((INITIAL_WINDOW_SIZE, 0))
    client = stack.enter_context(Http2Client(("127.0.0.1", edgewise.port), opening=opening))
    stream = client.request(request_fields())
    client.wait(lambda: client.of(stream).status == 200)

    def leave() -> None:
        client.send(rst_stream(stream))
        client.pong()

    return leave


def http1_that_does_not_read(edgewise: EdgewiseProcess, site: Site, stack: contextlib.ExitStack) -> Leave:
    """A client that asks on and on until an answer finds no room on its way, and then closes."""
    client = stack.enter_context(RawClient(("127.0.0.1", edgewise.port), receive_buffer=4096))
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * PIPELINED)
    wait_until(lambda: site.answered, "answers have begun")
    assert wait_settled(lambda: site.answered, "the answers that found room") < PIPELINED

    def leave() -> None:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.sock.close()
        wait_until(lambda: any(line["status"] == 200 and line["end"] for line in edgewise.access_log), "it is noticed")

    return leave


@pytest.mark.parametrize("unread", [http2_without_windows, http1_that_does_not_read])
def test_a_client_that_leaves_takes_nobody_elses_connection_along(
    edgewise_server: Any, origin: Any, unread: Any
) -> None:
    site = Site()
    server = origin(site)
    edgewise = edgewise_server(
        f'[upstreams.app]\nservers = ["{server.address}"]\nmax_connections = 1\n[[routes]]\nupstream = "app"\n'
    )
    with contextlib.ExitStack() as stack:
        leave = unread(edgewise, site, stack)
        other = stack.enter_context(edgewise.client())
        other.send(get("/held"))
        assert site.held.wait(PATIENCE), "the server's connection is free"
        leave()
        site.let_go.set()
        assert other.read().body == b"held"
