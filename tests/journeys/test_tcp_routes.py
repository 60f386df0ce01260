"""Layer 4 routes and the PROXY protocol: who speaks first, whose word is taken, whose name a connection bears."""

from __future__ import annotations

import struct

import pytest

from support.edgewise_process import EdgewiseProcess, free_port
from support.origin import OK, Origin, OriginConnection
from support.raw_http import RawClient, field_value, get

HEAD = '[server]\nlisten = []\nadmin = "off"\nworkers = 1\nheader_timeout = "1s"\ntrusted_proxies = ["127.0.0.1"]\n'
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 4711, 25)


def tcp(servers: list[str], upstream: str = "", route: str = "") -> str:
    """Return a configuration with one layer 4 route on $PORT."""
    listed = ", ".join(f'"{server}"' for server in servers)
    return HEAD + (
        f"[upstreams.app]\nservers = [{listed}]\neject = false\n{upstream}\n"
        f'[[tcp]]\nlisten = "127.0.0.1:$PORT"\nupstream = "app"\n{route}\n'
    )


def greet(connection: OriginConnection) -> None:
    """Speak first, as mail and database servers do."""
    connection.send(b"220 hello\r\n")
    while data := connection.reader.some():
        connection.send(data.upper())


def test_the_server_may_speak_first(edgewise_server, origin) -> None:
    edgewise = edgewise_server(tcp([origin(greet).address]))
    with edgewise.client() as client:
        assert client.reader.until(b"\r\n") == b"220 hello\r\n"
        client.send(b"quit")
        assert client.reader.exactly(4) == b"QUIT"


@pytest.mark.parametrize(("header", "out"), [(V1, 2), (V2, 1)], ids=["v1 to v2", "v2 to v1"])
def test_the_client_that_a_trusted_peer_names_is_named_on(edgewise_server, origin, header: bytes, out: int) -> None:
    def named(connection: OriginConnection) -> None:
        connection.send(b"220 hello\r\n")
        start = connection.reader.exactly(len(V2) if out == 2 else 21)
        connection.send(b"ok" if start[-12:-8] == bytes([192, 0, 2, 7]) or b" 192.0.2.7 " in start else b"no")

    edgewise = edgewise_server(tcp([origin(named).address], f"proxy_protocol = {out}", "accept_proxy_protocol = true"))
    with edgewise.client() as client:
        client.send(header)
        assert client.reader.until(b"\r\n") == b"220 hello\r\n"
        assert client.reader.exactly(2) == b"ok"


def test_another_server_is_tried_where_one_is_not_there(edgewise_server, origin) -> None:
    edgewise = edgewise_server(tcp([f"127.0.0.1:{free_port()}", origin(greet).address]))
    for _ in range(4):
        with edgewise.client() as client:
            assert client.reader.until(b"\r\n") == b"220 hello\r\n"


def test_no_server_is_a_reset(edgewise_server) -> None:
    edgewise = edgewise_server(tcp([f"127.0.0.1:{free_port()}"]))
    with edgewise.client() as client, pytest.raises(ConnectionResetError):
        client.sock.recv(1)


def test_bytes_that_are_no_hello_lead_nowhere_where_names_choose(edgewise_server, origin) -> None:
    server = origin(greet)
    edgewise = edgewise_server(tcp([server.address], route='sni = { "a.test" = "app" }'))
    with edgewise.client() as client:
        client.send(get())
        assert client.is_closed()
    assert server.connections == []


def test_a_strangers_header_is_no_header(edgewise_server, origin) -> None:
    server = origin()
    edgewise = edgewise_server(
        '[server]\nlisten = ["127.0.0.1:$PORT"]\nadmin = "off"\nworkers = 1\naccept_proxy_protocol = true\n'
        f'trusted_proxies = ["10.0.0.0/8"]\n[upstreams.app]\nservers = ["{server.address}"]\n'
    )
    with edgewise.client() as client:
        assert client.ask(V1 + get()).status == 400
    with edgewise.client() as client:
        assert client.ask(get("/", "a", "X-Forwarded-For: 1.2.3.4")).status == 200
    assert field_value(server.requests[0], b"x-forwarded-for") == b"127.0.0.1"


def test_a_connection_that_names_one_client_serves_no_other(edgewise_server, origin) -> None:
    headers: list[bytes] = []

    def read(connection: OriginConnection) -> None:
        headers.append(connection.reader.until(b"\r\n"))
        while True:
            connection.read_request()
            connection.send(OK)

    server = origin(read)
    edgewise = edgewise_server(
        f'[upstreams.app]\nservers = ["{server.address}"]\nproxy_protocol = 1\nmax_connections = 1\n'
    )
    clients = [edgewise.client() for _ in range(4)]
    for client in clients:
        client.send(get())
    assert [client.read().status for client in clients] == [200] * 4
    named = {int(header.split(b" ")[4]) for header in headers}
    assert named == {client.local_port for client in clients}
    for client in clients:
        client.close()


def test_clients_on_unix_sockets_have_no_address_to_name(edgewise_server, origin, tmp_path) -> None:
    headers: list[bytes] = []

    def read(connection: OriginConnection) -> None:
        headers.append(connection.reader.until(b"\r\n"))
        connection.read_request()
        connection.send(OK)

    path = tmp_path / "in.sock"
    edgewise_server(
        f'[server]\nlisten = ["127.0.0.1:$PORT", "unix:{path}"]\nadmin = "off"\nworkers = 1\n'
        f'[upstreams.app]\nservers = ["{origin(read).address}"]\nproxy_protocol = 1\n'
    )
    with RawClient(str(path)) as client:
        assert client.ask(get()).status == 200
    assert headers == [b"PROXY UNKNOWN\r\n"]


@pytest.mark.parametrize(
    ("chain", "client_ip"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        ("203.0.113.9, nonsense, 10.0.0.1", "10.0.0.1"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("203.0.113.9:55", "203.0.113.9"),
    ],
)
def test_a_chain_is_believed_as_far_as_it_is_trusted(trusting, chain: str, client_ip: str) -> None:
    edgewise, server = trusting
    before = len(server.requests)
    with edgewise.client() as client:
        client.ask(get("/", "a", f"X-Forwarded-For: {chain}", "X-Forwarded-Host: front.test"))
    request = server.requests[before]
    assert field_value(request, b"x-forwarded-for") == f"{chain}, 127.0.0.1".encode()
    assert field_value(request, b"x-forwarded-host") == b"front.test"
    line = edgewise.wait_access_log(before + 1)[before]
    assert line["client"] == client_ip


@pytest.fixture(scope="module")
def trusting(tmp_path_factory):
    server = Origin()
    edgewise = EdgewiseProcess(
        '[server]\nlisten = ["127.0.0.1:$PORT"]\nadmin = "off"\nworkers = 1\n'
        f'trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]\n[upstreams.app]\nservers = ["{server.address}"]\n',
        tmp_path_factory.mktemp("trusting"),
    )
    yield edgewise, server
    edgewise.stop()
    server.stop()
