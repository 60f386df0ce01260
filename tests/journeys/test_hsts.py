"""Strict-Transport-Security is on everything that comes over TLS, edgewise's own errors included (RFC 6797)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess
from support.http2_raw import Http2Client
from support.raw_http import RawClient, get

FIELD = "strict-transport-security"
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "off"
workers = 1
[tls]
certificates = [{ cert = "CERT", key = "KEY" }]
hsts = "1d"
[upstreams.dead]
servers = ["127.0.0.1:1"]
retry = { attempts = 1 }
[[routes]]
path = "/dead"
upstream = "dead"
[[routes]]
path = "/fixed"
respond = { status = 200, body = "hello" }
[[routes]]
path = "/refused"
filters = ["support.live_filters:forbid"]
respond = { status = 200, body = "hello" }
[[routes]]
path = "/limited"
body_limit = 10
upstream = "dead"
"""


@pytest.fixture(scope="module")
def edgewise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgewiseProcess]:
    directory = tmp_path_factory.mktemp("hsts")
    cert, key = DevelopmentAuthority().issue(["localhost"]).write(directory, "localhost")
    server = EdgewiseProcess(TOML.replace("CERT", cert).replace("KEY", key), directory)
    yield server
    server.stop()


def context(protocol: str) -> ssl.SSLContext:
    """A client that trusts everyone."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols([protocol])
    return made


CASES = [("/fixed", 200), ("/none", 404), ("/dead", 502), ("/refused", 403)]


@pytest.mark.parametrize(("path", "status"), CASES)
def test_every_answer_over_tls_has_it_once(edgewise: EdgewiseProcess, path: str, status: int) -> None:
    address = ("127.0.0.1", edgewise.tls_port)
    with RawClient(address, tls=context("http/1.1"), server_name="localhost") as client:
        for _ in range(2):  # rendered anew, and remembered
            answer = client.ask(get(path))
            assert (answer.status, answer.all(FIELD)) == (status, ["max-age=86400"])
    with Http2Client(address, tls=context("h2")) as http2:
        reply = http2.get(path)
        assert (reply.status, [value for name, value in reply.fields if name == FIELD]) == (status, ["max-age=86400"])


def test_refusals_of_the_request_itself_have_it_too(edgewise: EdgewiseProcess) -> None:
    for request, status in (
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST /limited HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413),
    ):
        with RawClient(("127.0.0.1", edgewise.tls_port), tls=context("http/1.1"), server_name="localhost") as client:
            answer = client.ask(request)
            assert (answer.status, answer.all(FIELD)) == (status, ["max-age=86400"])


@pytest.mark.parametrize("path", [path for path, _ in CASES])
def test_plain_answers_never_have_it(edgewise: EdgewiseProcess, path: str) -> None:
    with edgewise.client() as client:
        assert client.ask(get(path)).get(FIELD) is None
