"""An upstream's answer that could be read in two ways becomes a 502, and its connection is not used again."""

from __future__ import annotations

import threading

import pytest

from support.origin import OK, OriginConnection
from support.raw_http import PATIENCE, get

AMBIGUOUS = {
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "other coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded field": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok\r\n\r\n",
    "bare CR": b"HTTP/1.1 200 OK\r\nA: b\rContent-Length: 0\r\nContent-Length: 2\r\n\r\nok",
    "NUL": b"HTTP/1.1 200 OK\r\nA: b\0\r\nContent-Length: 2\r\n\r\nok",
    "two-digit status": b"HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\nok",
    "no version": b"200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 300_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_ambiguous_answer_becomes_a_502(proxied, name: str) -> None:
    def once(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(AMBIGUOUS[name] if connection.index == 0 else OK)
        connection.reader.to_end()

    edgewise, origin = proxied(once, upstream="retry = { attempts = 1 }\neject = false")
    with edgewise.client() as client:
        assert client.ask(get()).status == 502
    with edgewise.client() as client:
        assert client.ask(get()).body == b"ok"
    assert len(origin.connections) == 2


def test_bytes_after_an_answer_are_never_given_to_the_next_request(proxied) -> None:
    def poison(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" if connection.index == 0 else OK)
        connection.reader.to_end()

    edgewise, _ = proxied(poison)
    with edgewise.client() as client:
        assert client.ask(get()).body == b"ok"
    with edgewise.client() as client:
        assert client.ask(get()).body == b"ok"


def test_bytes_that_come_while_a_connection_is_idle_are_never_given_to_the_next_request(proxied) -> None:
    def poison(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(OK)
        if connection.index == 0:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            connection.reader.to_end()
            dropped.set()
        connection.reader.to_end()

    dropped = threading.Event()
    edgewise, _ = proxied(poison)
    with edgewise.client() as client:
        assert client.ask(get()).body == b"ok"
        assert dropped.wait(PATIENCE)
        assert client.ask(get()).body == b"ok"


@pytest.mark.parametrize("broken", [b"zz\r\n", b"5\nhello", b"2\r\nokXX"], ids=["no size", "bare LF", "too long"])
def test_a_broken_chunk_never_ends_the_clients_content_as_if_whole(proxied, broken: bytes) -> None:
    def chunks(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n")
        connection.send(broken)
        connection.reader.to_end()

    edgewise, _ = proxied(chunks)
    with edgewise.client() as client:
        client.send(get())
        received = client.reader.to_end()
        assert not received.startswith(b"HTTP/1.1 200 ") or not received.endswith(b"0\r\n\r\n")
