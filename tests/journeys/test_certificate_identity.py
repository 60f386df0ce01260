"""Clients told by their certificates through a real edgewise: by curl and openssl's own, over both versions of HTTP."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.tls.development import DevelopmentAuthority, Pair
from support.edgewise_process import EdgewiseProcess
from support.origin import Origin
from support.raw_http import RawClient, RawResponse, get

CONFIG = """
[server]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "off"
listen = []
workers = 1
[tls]
certificates = [{ cert = "FILES/site.pem", key = "FILES/site.key" }]
[tls.hosts."staff.test"]
client_auth = "optional"
client_ca = "FILES/authority.pem"
[tls.hosts."partners.test"]
client_auth = "optional"
client_ca = "FILES/partners.pem"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
[routes.auth.client_certificate]
name = "dns"
only = ["alice", "mallory"]
groups = { alice = ["admins"] }
"""


class Site:
    """An edgewise before an origin, two authorities and a client of each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        staff, partners = DevelopmentAuthority(), DevelopmentAuthority("partners")
        self.trust = staff.write(directory)
        partners.write(directory, "partners")
        staff.issue(["staff.test", "partners.test", "open.test"]).write(directory, "site")
        self.pairs = {name: one.issue([name], client=True).write(directory, name)
                      for name, one in (("alice", staff), ("bob", staff), ("mallory", partners))}  # fmt: skip
        self.origin = Origin()
        toml = CONFIG.replace("ORIGIN", self.origin.address).replace("FILES", str(directory))
        self.edge = EdgewiseProcess(toml, directory)

    def connect(self, host: str, who: str | None = None) -> RawClient:
        """Open a connection to a host, with somebody's certificate."""
        context = ssl.create_default_context(cafile=self.trust)
        if who:
            context.load_cert_chain(*self.pairs[who])
        return RawClient(("127.0.0.1", self.edge.tls_port), tls=context, server_name=host)

    def ask(self, host: str, who: str | None = None) -> RawResponse:
        """Ask a host, with somebody's certificate."""
        with self.connect(host, who) as client:
            return client.ask(get("/", host))

    def curl(self, host: str, *options: str) -> str:
        """Return what curl says of a request to a host."""
        port = self.edge.tls_port
        arguments = ["curl", "-sS", "--cacert", self.trust, "--resolve", f"{host}:{port}:127.0.0.1", *options]
        done = subprocess.run(
            [*arguments, "-w", " %{http_version} %{http_code}", f"https://{host}:{port}/"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start it all."""
    site = Site(tmp_path_factory.mktemp("certificates"))
    yield site
    site.edge.stop()
    site.origin.stop()


def test_who_has_a_certificate_of_the_hosts_authority_comes_in_by_its_name(site: Site) -> None:
    site.origin.play(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with site.connect("staff.test", "alice") as client:
        assert [client.ask(get("/", "staff.test")).status for _ in range(3)] == [200] * 3
    certificate, key = site.pairs["alice"]
    for version in ("--http1.1", "--http2"):
        answer = site.curl("staff.test", version, "--cert", certificate, "--key", key)
        assert answer == f"ok {'2' if version == '--http2' else '1.1'} 200"
    assert len(site.origin.requests) == 5


def test_who_has_none_is_told_401_and_who_is_not_let_in_403(site: Site) -> None:
    nobody, bob = site.ask("staff.test"), site.ask("staff.test", "bob")
    assert (nobody.status, bob.status) == (401, 403)
    assert json.loads(bob.body)["policy"] == "auth"
    assert site.curl("staff.test", "--http2").endswith(" 2 401")


def test_a_certificate_says_nothing_to_hosts_whose_authority_did_not_issue_it(site: Site) -> None:
    with site.connect("staff.test", "alice") as client:
        assert client.ask(get("/", "staff.test")).status == 200
        assert client.ask(get("/", "partners.test")).status == 421
        assert client.ask(get("/", "open.test")).status == 401  # it asks for none: none counts
    assert site.ask("partners.test", "mallory").status == 200
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        site.ask("staff.test", "mallory")


def test_openssl_itself_is_told_by_its_certificate_over_a_resumed_session_too(site: Site, tmp_path: Path) -> None:
    certificate, key = site.pairs["alice"]
    session = tmp_path / "session.pem"
    base = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{site.edge.tls_port}", "-servername", "staff.test",
            "-CAfile", site.trust, "-tls1_2", "-cert", certificate, "-key", key]  # fmt: skip
    for options in (["-sess_out", str(session)], ["-sess_in", str(session)]):
        done = subprocess.run(
            [*base, *options], input=get("/", "staff.test", close=True), capture_output=True, timeout=60, check=False
        )
        assert b"HTTP/1.1 200" in done.stdout


def test_forged_certificates_of_the_right_name_are_refused_by_the_handshake(site: Site, tmp_path: Path) -> None:
    forged: Pair = DevelopmentAuthority().issue(["alice"], client=True)
    context = ssl.create_default_context(cafile=site.trust)
    context.load_cert_chain(*forged.write(tmp_path, "alice"))
    with (
        pytest.raises((ssl.SSLError, ConnectionError, AssertionError)),
        RawClient(("127.0.0.1", site.edge.tls_port), tls=context, server_name="staff.test") as client,
    ):
        client.ask(get("/", "staff.test"))
