"""Per-host client certificates through a real edgewise: no way around them by Host, by memo or by a resumed session."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess
from support.origin import Origin
from support.raw_http import ClosedEarly, RawClient, get

CONFIG = """
[server]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "off"
listen = []
workers = 1
[tls]
certificates = [{ cert = "FILES/site.pem", key = "FILES/site.key" }]
[tls.hosts."secret.test"]
client_auth = "required"
client_ca = "FILES/authority.pem"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
"""

Connect = Callable[..., RawClient]


@pytest.fixture
def site(
    tmp_path: Path, edgewise_server: Callable[..., EdgewiseProcess], origin: Callable[..., Origin]
) -> tuple[Origin, Connect]:
    """Start edgewise before an origin; return the origin and a function that connects with a server name."""
    authority = DevelopmentAuthority()
    trusted = authority.write(tmp_path)
    alice = authority.issue(["alice"], client=True).write(tmp_path, "alice")
    authority.issue(["open.test", "secret.test"]).write(tmp_path, "site")
    app = origin()
    edgewise = edgewise_server(CONFIG.replace("ORIGIN", app.address).replace("FILES", str(tmp_path)))

    def connect(server_name: str, *, certificate: bool = False) -> RawClient:
        context = ssl.create_default_context(cafile=trusted)
        if certificate:
            context.load_cert_chain(*alice)
        return RawClient(("127.0.0.1", edgewise.tls_port), tls=context, server_name=server_name)

    return app, connect


def test_a_host_behind_client_certificates_is_not_reached_over_a_connection_to_an_open_host(
    site: tuple[Origin, Connect],
) -> None:
    app, connect = site
    for host in ("secret.test", "SECRET.test", "secret.test.", "secret.test:443"):
        with connect("open.test") as client:
            assert client.ask(get("/", host)).status == 421
    assert app.requests == []


def test_a_head_that_was_served_to_a_client_with_certificate_is_not_served_to_one_without(
    site: tuple[Origin, Connect],
) -> None:
    app, connect = site
    with connect("secret.test", certificate=True) as client:
        assert [client.ask(get("/", "secret.test")).status for _ in range(3)] == [200] * 3
    with connect("open.test") as client:
        assert client.ask(get("/", "secret.test")).status == 421
    assert len(app.requests) == 3


def test_a_client_without_certificate_gets_no_connection_to_the_host(site: tuple[Origin, Connect]) -> None:
    app, connect = site

    def ask() -> None:
        with connect("secret.test") as client:
            client.ask(get("/", "secret.test"))

    with pytest.raises((ssl.SSLError, ConnectionError, ClosedEarly)):
        ask()
    assert app.requests == []


def test_open_hosts_need_no_certificate_whatever_other_hosts_ask_for(site: tuple[Origin, Connect]) -> None:
    _, connect = site
    for server_name, certificate in (("open.test", False), ("open.test", True), ("secret.test", True)):
        with connect(server_name, certificate=certificate) as client:
            assert client.ask(get("/", "open.test")).status == 200
