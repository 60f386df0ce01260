"""TLS on the engine's own sockets: choice of certificate, back-pressure, ends that cannot be mistaken."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess
from support.origin import OK, Origin, OriginConnection
from support.raw_http import PATIENCE, ClosedEarly, RawClient, get, post

MEBIBYTE = 1 << 20
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
TOML = """
[server]
listen = []
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "off"
workers = 1
header_timeout = "1s"
[tls]
certificates = [{ cert = "D/one.pem", key = "D/one.key" }, { cert = "D/two.pem", key = "D/two.key" }]
[upstreams.app]
servers = ["ORIGIN"]
[upstreams.secure]
servers = ["SECURE"]
tls = { ca = "D/authority.pem", server_name = "one.test" }
retry = { attempts = 1 }
[[routes]]
upstream = "app"
[[routes]]
path = "/secure/*"
upstream = "secure"
"""


class Site:
    """A standing edgewise with TLS, its plain origin and its TLS origin."""

    def __init__(self, directory: Path) -> None:
        authority = DevelopmentAuthority()
        self.ca = authority.write(directory)
        for names in (["one.test", "*.wild.test"], ["two.test"]):
            cert, key = authority.issue(names).write(directory, names[0].partition(".")[0])
            if names[0] == "one.test":
                serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                serving.load_cert_chain(cert, key)
        self.origin, self.secure = Origin(), Origin(tls=serving)
        text = TOML.replace("ORIGIN", self.origin.address).replace("SECURE", self.secure.address)
        place = directory / "edgewise"
        place.mkdir()
        self.edgewise = EdgewiseProcess(text.replace("D/", f"{directory}/"), place)

    def connect(self, name: str = "one.test", *, check: bool = True, **options: object) -> RawClient:
        """Open a connection that asks for `name`."""
        context = ssl.create_default_context(cafile=self.ca)
        context.check_hostname = check
        for key, value in options.items():
            setattr(context, key, value)
        return RawClient(("127.0.0.1", self.edgewise.tls_port), tls=context, server_name=name, receive_buffer=65536)

    def stop(self) -> None:
        """End everything."""
        self.edgewise.stop()
        self.origin.stop()
        self.secure.stop()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("tls"))
    yield site
    site.stop()


@pytest.fixture
def site(standing: Site) -> Iterator[Site]:
    standing.origin.play(OK)
    standing.secure.play(OK)
    yield standing
    assert "Traceback" not in standing.edgewise.log


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["one.test", "two.test", "deep.wild.test"])
def test_the_certificate_follows_the_name(site: Site, name: str, version: ssl.TLSVersion) -> None:
    with site.connect(name, minimum_version=version, maximum_version=version) as client:
        assert [client.ask(get("/", name)).status for _ in range(2)] == [200, 200]


def test_an_unknown_name_gets_the_first_certificate(site: Site) -> None:
    with site.connect("other.test", check=False) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        names = [value for _, value in client.sock.getpeercert()["subjectAltName"]]
        assert "one.test" in names


def test_old_versions_are_refused(site: Site) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        site.connect(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\x16\x03\x01\xff\xff"]
)
def test_what_is_no_client_hello_is_closed(site: Site, sent: bytes) -> None:
    with RawClient(("127.0.0.1", site.edgewise.tls_port)) as client:
        client.send(sent)
        assert b"HTTP" not in client.reader.to_end()


def test_a_hello_in_single_bytes_is_understood(site: Site) -> None:
    context = ssl.create_default_context(cafile=site.ca)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="two.test")
    with socket.create_connection(("127.0.0.1", site.edgewise.tls_port), timeout=PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    sock.sendall(bytes([byte]))
                incoming.write(sock.recv(65536))
        assert tls.getpeercert()["subjectAltName"] == (("DNS", "two.test"),)


def test_a_slow_reader_holds_a_large_download_back_and_gets_all_of_it(site: Site) -> None:
    body, sent = bytes(range(256)) * 65536, threading.Event()

    def large(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.send(b"0\r\n\r\n")
        sent.set()
        connection.reader.to_end()

    site.origin.play(large)
    with site.connect() as client:
        client.send(get())
        client.reader.until(b"\r\n\r\n")
        assert not sent.wait(0.5)
        assert client.reader.chunked()[0] == body


def test_large_content_passes_through_tls_on_both_sides(site: Site) -> None:
    def echo(connection: OriginConnection) -> None:
        while True:
            content = connection.read_body(connection.read_head())
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

    site.secure.play(echo)
    body = bytes(range(256)) * 16384
    with site.connect() as client:
        for _ in range(2):
            answer: list[bytes] = []
            reader = threading.Thread(target=lambda into=answer: into.append(client.read().body), daemon=True)
            reader.start()
            client.send(post(body, "/secure/echo"))
            reader.join(PATIENCE)
            assert answer == [body]
    assert len(site.secure.connections) == 1


def test_content_that_ends_with_a_tls_connection_is_whole_only_after_a_closure_alert(site: Site) -> None:
    def until_close(connection: OriginConnection) -> None:
        target = connection.read_request().split(b" ")[1]
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        if target.endswith(b"/alert"):
            connection.sock.unwrap()

    site.secure.play(until_close)
    with site.connect() as client:
        assert client.ask(get("/secure/alert")).body == b"to the end"
    with site.connect() as client:
        client.send(get("/secure/ragged"))
        assert not client.reader.to_end().endswith(b"0\r\n\r\n")


def test_an_answer_cut_short_is_seen_as_such_under_tls(site: Site) -> None:
    def cut(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    site.origin.play(cut)
    with site.connect() as client, pytest.raises(ClosedEarly):
        client.ask(get())


def test_the_end_of_a_connection_is_told_by_a_closure_alert(site: Site) -> None:
    for request in (
        get(close=True),
        b"nonsense\r\n\r\n",
        post(b"x").replace(b"Content-Length: 1", b"Content-Length: x"),
    ):
        with site.connect() as client:
            assert isinstance(client.sock, ssl.SSLSocket)
            client.sock.suppress_ragged_eofs = False
            client.ask(request)
            assert client.sock.recv(1) == b""


def test_a_server_that_ends_a_tunnel_ends_it_whole_and_nothing_of_the_tls_wire_leaks(site: Site) -> None:
    received: list[bytes] = []
    done = threading.Event()

    def ends_first(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(SWITCHING + b"bye" * 100_000)
        connection.sock.shutdown(socket.SHUT_WR)
        received.append(connection.reader.to_end())
        done.set()

    site.origin.play(ends_first)
    with site.connect() as client:
        assert client.ask(get("/", "a", *UPGRADE)).status == 101
        client.send(b"hello")
        assert client.reader.to_end() == b"bye" * 100_000
        client.send(b"late")
    assert done.wait(PATIENCE)
    assert received in ([b"hello"], [b""])


def test_an_upload_refused_in_the_middle_gets_its_answer_and_a_closure_alert(site: Site) -> None:
    with site.connect() as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        client.sock.suppress_ragged_eofs = False
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n" + b"x" * 100_000)
        assert client.read().status == 413
        assert client.sock.recv(1) == b""


def test_a_client_that_ends_its_half_of_a_tunnel_to_a_tls_server_still_hears_it(site: Site) -> None:
    ended = threading.Event()

    def answers_later(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(SWITCHING)
        said = connection.reader.exactly(5)
        assert ended.wait(PATIENCE)
        connection.send(said.upper())

    site.secure.play(answers_later)
    with site.connect() as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.ask(get("/secure/tunnel", "a", *UPGRADE)).status == 101
        client.send(b"hello")
        client.sock.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            client.sock.unwrap()
        ended.set()
        client.sock.settimeout(PATIENCE)
        assert client.sock.recv(100) == b"HELLO"
