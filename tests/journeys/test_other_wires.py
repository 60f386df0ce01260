"""Beside plain TCP: TLS on both sides, PROXY protocol in and out, layer 4 routes, IPv6 and Unix sockets."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.origin import OK, OriginConnection
from support.raw_http import ClosedEarly, RawClient, field_value, get, post

MEBIBYTE = 1 << 20
ROUTE = '[[routes]]\nupstream = "app"\n'


def server(*lines: str, listen: str = '["127.0.0.1:$PORT"]') -> str:
    """Return a [server] table with one worker and no admin address."""
    return "\n".join(["[server]", f"listen = {listen}", 'admin = "off"', "workers = 1", *lines, ""])


class Authority:
    """A private authority with what its certificates are trusted by."""

    def __init__(self, directory: Path) -> None:
        self._authority = DevelopmentAuthority()
        self._directory = directory
        self.file = self._authority.write(directory)

    def files(self, name: str, *, client: bool = False) -> tuple[str, str]:
        """Return the files of a new certificate and its key."""
        return self._authority.issue([name], client=client).write(self._directory, name)

    def serving(self, name: str, *, ask_client: bool = False) -> ssl.SSLContext:
        """Return a server's context."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.files(name))
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context

    def trusting(self) -> ssl.SSLContext:
        """Return a client's context."""
        return ssl.create_default_context(cafile=self.file)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class TestTls:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_large_content_passes_both_ways_under_tls(self, edgewise_server, origin, authority, version) -> None:
        def echo(connection: OriginConnection) -> None:
            while True:
                body = connection.read_body(connection.read_head())
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        cert, key = authority.files("shop.test")
        app = origin(echo)
        edgewise = edgewise_server(
            server('tls_listen = ["127.0.0.1:$TLS_PORT"]', listen="[]")
            + f'[tls]\ncertificates = [{{ cert = "{cert}", key = "{key}" }}]\n'
            + f'[upstreams.app]\nservers = ["{app.address}"]\n{ROUTE}'
        )
        context = authority.trusting()
        context.minimum_version = context.maximum_version = version
        body = bytes(range(256)) * 16384
        with RawClient(("127.0.0.1", edgewise.tls_port), tls=context, server_name="shop.test") as client:
            for _ in range(2):
                assert client.ask(post(body, "/", "shop.test")).body == body
        request = app.received
        assert field_value(request, b"x-forwarded-proto") == b"https"

    def test_an_upstreams_certificate_is_verified(self, edgewise_server, origin, authority, tmp_path) -> None:
        good = origin(OK, tls=authority.serving("app.test"))
        stranger = tmp_path / "stranger"
        stranger.mkdir()
        bad = origin(OK, tls=Authority(stranger).serving("app.test"))
        other = origin(OK, tls=authority.serving("other.test"))
        toml = server()
        for name, app in (("good", good), ("bad", bad), ("other", other)):
            tls = f'{{ ca = "{authority.file}", server_name = "app.test" }}'
            toml += f'[upstreams.{name}]\nservers = ["{app.address}"]\ntls = {tls}\n'
            toml += f'[[routes]]\npath = "/{name}"\nupstream = "{name}"\n'
        edgewise = edgewise_server(toml)
        with edgewise.client() as client:
            assert [client.ask(get("/good")).status for _ in range(2)] == [200, 200]
        assert len(good.connections) == 1
        for path in ("/bad", "/other"):
            with edgewise.client() as client:
                assert client.ask(get(path)).status == 502
        assert (bad.requests, other.requests) == ([], [])

    def test_edgewise_shows_its_client_certificate_to_upstreams(self, edgewise_server, origin, authority) -> None:
        app = origin(OK, tls=authority.serving("app.test", ask_client=True))
        cert, key = authority.files("edgewise", client=True)
        tls = f'{{ ca = "{authority.file}", server_name = "app.test", cert = "{cert}", key = "{key}" }}'
        edgewise = edgewise_server(f'[upstreams.app]\nservers = ["{app.address}"]\ntls = {tls}\n{ROUTE}')
        with edgewise.client() as client:
            assert client.ask(get()).status == 200


class TestProxyProtocol:
    def test_a_trusted_peers_header_names_the_client(self, edgewise_server, origin) -> None:
        app = origin()
        lines = ("accept_proxy_protocol = true", 'trusted_proxies = ["127.0.0.1"]')
        edgewise = edgewise_server(server(*lines) + f'[upstreams.app]\nservers = ["{app.address}"]\n{ROUTE}')
        with edgewise.client() as client:
            client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n" + get())
            assert client.read().status == 200
        assert (field_value(app.requests[0], b"x-forwarded-for") or b"").endswith(b"192.0.2.7")

    @pytest.mark.parametrize("header", [b"PROXY TCP4 192.0.2.7\r\n", b"PROXY TCP4 a b c d\r\n", b""])
    def test_a_peer_that_owes_a_header_and_sends_none_is_dropped(self, edgewise_server, origin, header: bytes) -> None:
        app = origin()
        lines = ("accept_proxy_protocol = true", 'trusted_proxies = ["127.0.0.1"]')
        edgewise = edgewise_server(server(*lines) + f'[upstreams.app]\nservers = ["{app.address}"]\n{ROUTE}')
        with edgewise.client() as client:
            client.send(header + get())
            assert client.is_closed()
        assert app.requests == []

    @pytest.mark.parametrize(("version", "start"), [(1, b"PROXY TCP4 127.0.0.1 "), (2, b"\r\n\r\n\0\r\nQUIT\n")])
    def test_servers_are_told_who_the_client_is(self, edgewise_server, origin, version: int, start: bytes) -> None:
        headers: list[bytes] = []

        def read(connection: OriginConnection) -> None:
            headers.append(connection.reader.until(b"GET ")[:-4])
            connection.read_head()
            connection.send(OK)

        app = origin(read)
        upstream = f'[upstreams.app]\nservers = ["{app.address}"]\nproxy_protocol = {version}\n'
        edgewise = edgewise_server(upstream + ROUTE)
        with edgewise.client() as client:
            assert client.ask(get()).status == 200
        assert headers[0].startswith(start)


class TestLayer4:
    def toml(self, by_name: dict[str, str], default: str | None) -> str:
        """Return a TCP route on $TLS_PORT with an upstream for each name."""
        text = server(listen="[]")
        for number, address in enumerate(by_name.values()):
            text += f'[upstreams.named{number}]\nservers = ["{address}"]\n'
        names = ", ".join(f'"{name}" = "named{number}"' for number, name in enumerate(by_name))
        text += f'[upstreams.default]\nservers = ["{default}"]\n' if default else ""
        text += '[[tcp]]\nlisten = "127.0.0.1:$TLS_PORT"\n'
        text += 'upstream = "default"\n' if default else ""
        return text + (f"sni = {{ {names} }}\n" if names else "")

    def test_tls_passes_through_unread_to_the_server_its_name_chooses(self, edgewise_server, origin, authority) -> None:
        one = origin(OK, tls=authority.serving("one.test"))
        two = origin(OK, tls=authority.serving("two.test"))
        edgewise = edgewise_server(self.toml({"one.test": one.address, "two.test": two.address}, None))
        for name, app in (("one.test", one), ("two.test", two)):
            address = ("127.0.0.1", edgewise.tls_port)
            with RawClient(address, tls=authority.trusting(), server_name=name) as client:
                assert client.ask(get("/", name)).status == 200
            assert len(app.requests) == 1
            assert b"x-request-id" not in app.requests[0].lower()

    def test_a_name_without_a_server_is_not_connected(self, edgewise_server, origin, authority) -> None:
        one = origin(OK, tls=authority.serving("one.test"))
        edgewise = edgewise_server(self.toml({"one.test": one.address}, None))
        with pytest.raises((ssl.SSLError, ConnectionError, ClosedEarly)):
            RawClient(("127.0.0.1", edgewise.tls_port), tls=authority.trusting(), server_name="two.test")
        assert one.connections == []

    def test_plain_bytes_flow_both_ways_with_half_closes(self, edgewise_server, origin) -> None:
        def upper(connection: OriginConnection) -> None:
            connection.send(connection.reader.to_end().upper())

        edgewise = edgewise_server(self.toml({}, origin(upper).address))
        with RawClient(("127.0.0.1", edgewise.tls_port)) as client:
            data = b"abc" * MEBIBYTE
            client.send(data)
            client.sock.shutdown(socket.SHUT_WR)
            assert client.reader.to_end() == data.upper()


class TestAddresses:
    def test_ipv6_clients_and_servers(self, edgewise_server) -> None:
        if not socket.has_ipv6:
            pytest.skip("no IPv6")
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("no IPv6 on the loopback interface")
        toml = server(listen='["127.0.0.1:$PORT", "[::1]:$PORT"]')
        edgewise = edgewise_server(toml + '[[routes]]\nrespond = { body = "six" }\n')
        with RawClient(("::1", edgewise.port)) as client:
            assert client.ask(get("/", "[::1]")).body == b"six"

    def test_clients_on_a_unix_socket(self, edgewise_server, origin, tmp_path: Path) -> None:
        app = origin()
        listen = f'["127.0.0.1:$PORT", "unix:{tmp_path}/in.sock"]'
        edgewise_server(server(listen=listen) + f'[upstreams.app]\nservers = ["{app.address}"]\n{ROUTE}')
        with RawClient(str(tmp_path / "in.sock")) as client:
            assert client.ask(get("/", "a", "X-Forwarded-For: 192.0.2.9")).status == 200
        assert b"192.0.2.9" in (field_value(app.requests[0], b"x-forwarded-for") or b"")
