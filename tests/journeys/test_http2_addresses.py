"""What an address asks in vain outlives its connections: it is refused new ones for a while, and nobody else is."""

from __future__ import annotations

import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess, wait_until
from support.http2_raw import (
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    PING,
    Http2Client,
    frame,
    request_block,
    request_fields,
    rst_stream,
)
from support.origin import OK, OriginConnection
from support.raw_http import PATIENCE, get

ATTACKER, OTHER = "127.0.0.2", "127.0.0.3"
SITE = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
{lines}
[[routes]]
respond = {{ status = 200, body = "hello" }}
"""
LIMIT = "http2_address_glitches = 40"


def site(edgewise_server: Any, *lines: str) -> EdgewiseProcess:
    """An edgewise that answers everything itself."""
    server: EdgewiseProcess = edgewise_server(SITE.format(lines="\n".join(lines)))
    return server


def ask_in_vain(client: Http2Client, times: int) -> None:
    """Ask and give it up, all in one piece with a PING, and wait for what comes of it."""
    block = request_block()
    streams = [client.stream() for _ in range(times)]
    frames = [frame(HEADERS, END_HEADERS | END_STREAM, one, block) + rst_stream(one) for one in streams]
    client.send(b"".join((*frames, frame(PING, payload=b"measured"))))
    client.wait(lambda: client.ended or any(came.kind == PING for came in client.frames))


def attack(edgewise: EdgewiseProcess, times: int, **options: Any) -> int | None:
    """Ask in vain on a connection of its own; the code of the GOAWAY that came, None where it was served on."""
    with Http2Client(("127.0.0.1", edgewise.port), **{"source": ATTACKER, **options}) as client:
        ask_in_vain(client, times)
        return client.goaway


def status(edgewise: EdgewiseProcess, **options: Any) -> int:
    """Ask once on a connection of its own; 0 where no answer came."""
    with Http2Client(("127.0.0.1", edgewise.port), **options) as client:
        return client.get().status


def test_who_asks_too_much_in_vain_is_refused_new_connections(edgewise_server: Any) -> None:
    edgewise = site(edgewise_server, LIMIT)
    assert attack(edgewise, 100) == ENHANCE_YOUR_CALM
    with Http2Client(("127.0.0.1", edgewise.port), source=ATTACKER) as refused:
        assert refused.wait_end() == ENHANCE_YOUR_CALM


def test_others_are_served_meanwhile(edgewise_server: Any) -> None:
    edgewise = site(edgewise_server, LIMIT)
    with Http2Client(("127.0.0.1", edgewise.port), source=ATTACKER) as before:
        assert before.get().status == 200
        assert attack(edgewise, 100) == ENHANCE_YOUR_CALM
        assert before.get().status == 200  # a neighbour at the same address that did nothing in vain
    assert status(edgewise, source=OTHER) == 200
    with edgewise.client() as client:
        assert client.ask(get()).status == 200


def test_a_connection_below_its_own_limit_counts_too(edgewise_server: Any) -> None:
    edgewise = site(edgewise_server, LIMIT)
    assert [attack(edgewise, 15) for _ in range(3)] == [None, None, ENHANCE_YOUR_CALM]
    assert status(edgewise, source=ATTACKER) == 0


def test_a_few_requests_in_vain_a_connection_are_free(edgewise_server: Any) -> None:
    edgewise = site(edgewise_server, LIMIT)
    assert [attack(edgewise, 3) for _ in range(20)] == [None] * 20


def test_who_waits_for_a_slow_server_and_gives_up_is_not_refused(edgewise_server: Any, origin: Any) -> None:
    waited = threading.Event()

    def slow(connection: OriginConnection) -> None:
        if b"GET /slow" in connection.read_request():
            assert waited.wait(PATIENCE)
        else:
            connection.send(OK)

    server = origin(slow)
    edgewise = edgewise_server(
        f'[server]\nlisten = ["127.0.0.1:$PORT"]\nadmin = "off"\nworkers = 1\n{LIMIT}\n'
        f'[upstreams.app]\nservers = ["{server.address}"]\n[[routes]]\nupstream = "app"\n'
    )
    with Http2Client(("127.0.0.1", edgewise.port), source=ATTACKER) as client:
        streams = [client.request(request_fields("/slow")) for _ in range(60)]
        client.pong()
        since = time.monotonic()
        wait_until(lambda: time.monotonic() - since > 1.2, "the client has lost its patience")
        client.send(b"".join(map(rst_stream, streams)))
        client.pong()
        waited.set()
        assert client.get("/after").status == 200
    assert status(edgewise, source=ATTACKER) == 200


def test_the_log_and_the_metrics_tell(edgewise_server: Any) -> None:
    edgewise = site(edgewise_server, LIMIT)
    attack(edgewise, 100)
    assert [status(edgewise, source=ATTACKER) for _ in range(3)] == [0, 0, 0]
    wait_until(
        lambda: b"edgewise_http2_connections_refused_total 4" in edgewise.admin("/metrics"), "refusals are counted"
    )
    assert edgewise.log.count(f"HTTP/2 connections of {ATTACKER} are refused") == 1


def test_without_a_limit_nobody_is_refused(edgewise_server: Any) -> None:
    edgewise = site(edgewise_server, "http2_address_glitches = 0")
    assert [attack(edgewise, 100) for _ in range(3)] == [None] * 3
    assert status(edgewise, source=ATTACKER) == 200


def test_a_trusted_proxy_is_never_refused(edgewise_server: Any) -> None:
    edgewise = site(edgewise_server, LIMIT, f'trusted_proxies = ["{ATTACKER}"]')
    assert [attack(edgewise, 100) for _ in range(3)] == [None] * 3
    assert status(edgewise, source=ATTACKER) == 200


def test_behind_a_proxy_protocol_each_client_answers_for_itself(edgewise_server: Any) -> None:
    edgewise = site(edgewise_server, LIMIT, "accept_proxy_protocol = true", 'trusted_proxies = ["127.0.0.1"]')
    bad, good = (
        {"source": "127.0.0.1", "before": b"PROXY TCP4 192.0.2.%d 198.51.100.1 4711 80\r\n" % last} for last in (1, 2)
    )
    assert attack(edgewise, 100, **bad) == ENHANCE_YOUR_CALM
    assert status(edgewise, **bad) == 0
    assert status(edgewise, **good) == 200


def test_refusals_come_after_a_tls_handshake_too(edgewise_server: Any, tmp_path: Path) -> None:
    cert, key = DevelopmentAuthority().issue(["localhost"]).write(tmp_path, "localhost")
    tls = f'[tls]\ncertificates = [{{ cert = "{cert}", key = "{key}" }}]'
    edgewise = site(edgewise_server, LIMIT, 'tls_listen = ["127.0.0.1:$TLS_PORT"]', tls)
    assert attack(edgewise, 100) == ENHANCE_YOUR_CALM
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    address = ("127.0.0.1", edgewise.tls_port)
    with Http2Client(address, tls=context, source=ATTACKER) as refused:
        assert refused.wait_end() == ENHANCE_YOUR_CALM
    with Http2Client(address, tls=context, source=OTHER) as client:
        assert client.get().status == 200


@pytest.mark.parametrize("times", [1, 50])
def test_what_is_reset_with_its_request_is_never_begun(edgewise_server: Any, origin: Any, times: int) -> None:
    server = origin()
    edgewise = edgewise_server(f'[upstreams.app]\nservers = ["{server.address}"]\n[[routes]]\nupstream = "app"\n')
    with Http2Client(("127.0.0.1", edgewise.port)) as client:
        ask_in_vain(client, times)
        assert client.get("/after").status == 200
    assert len(server.requests) == 1
    assert [line["path"] for line in edgewise.wait_access_log()] == ["/after"]
    wait_until(
        lambda: b"edgewise_http2_requests_given_up_total %d" % times in edgewise.admin("/metrics"), "they are counted"
    )
