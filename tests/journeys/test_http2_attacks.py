"""Each attack on HTTP/2, for a second or two: edgewise keeps its memory and its worker, and goes on serving others.

`tools/http2_attacks.py` measures what the same attacks cost.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess
from support.http2_attacks import ATTACKS, Attack, run_attack
from support.http2_raw import Http2Client
from support.origin import Origin, OriginConnection
from support.raw_http import PATIENCE, get

pytestmark = pytest.mark.slow

MEBIBYTE = 1 << 20
MOST_GROWTH = 96 * MEBIBYTE
SECONDS = {"flood": 1.5, "stall": 4.0, "work": 1.0}
BIG = bytes(8 * MEBIBYTE)
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "off"
workers = 1
header_timeout = "1s"
send_timeout = "1s"
[tls]
certificates = [{ cert = "CERT", key = "KEY" }]
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
timeouts = { body = "1s" }
"""


def site(connection: OriginConnection) -> None:
    """Answer /big with 8 MiB and everything else with a word."""
    while True:
        request = connection.read_request()
        body = BIG if request.startswith(b"GET /big ") else b"hello"
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.fixture(scope="module")
def edgewise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgewiseProcess]:
    directory = tmp_path_factory.mktemp("attacked")
    origin = Origin(site)
    cert, key = DevelopmentAuthority().issue(["localhost"]).write(directory, "localhost")
    toml = TOML.replace("ORIGIN", origin.address).replace("CERT", cert).replace("KEY", key)
    server = EdgewiseProcess(toml, directory)
    yield server
    server.stop()
    origin.stop()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_edgewise_withstands(attack: Attack, edgewise: EdgewiseProcess) -> None:
    with edgewise.client() as first:  # once a worker answers, every process is there
        first.ask(get("/hello"))
    processes, resident = edgewise.tree(), edgewise.resident()
    outcome = run_attack(("127.0.0.1", edgewise.port), attack, seconds=SECONDS[attack.kind], most_connections=50)
    assert edgewise.tree() == processes, edgewise.log
    assert edgewise.resident() - resident < MOST_GROWTH
    with Http2Client(("127.0.0.1", edgewise.port)) as client:
        assert client.get("/hello").body == b"hello"
    with edgewise.client() as http1:
        assert http1.ask(get("/hello")).body == b"hello"
    assert outcome.hindered or attack.kind == "work", outcome
    assert "Traceback" not in edgewise.log


def test_a_client_that_resets_after_its_handshake_leaves_nothing_behind(edgewise: EdgewiseProcess) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    for _ in range(50):
        # Each is served by the descriptor that the one before had.
        with socket.create_connection(("127.0.0.1", edgewise.tls_port), PATIENCE) as sock:
            secure = context.wrap_socket(sock)
            secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            secure.close()
    with Http2Client(("127.0.0.1", edgewise.tls_port), tls=context) as client:
        assert client.get("/hello").body == b"hello"
    assert "Traceback" not in edgewise.log
