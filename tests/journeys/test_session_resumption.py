"""TLS sessions resume at any worker, whichever made them: after renewals, reloads and replaced workers too."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.edgewise_process import wait_until
from support.https_site import NAME, HttpsSite
from support.raw_http import PATIENCE, get

CONNECTIONS = 24
"""Enough that three workers are all met but once in tens of thousands of runs."""


@pytest.fixture(params=["given", "internal"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[HttpsSite]:
    from edgewise.tls.development import DevelopmentAuthority

    cert, key = DevelopmentAuthority().issue([NAME]).write(tmp_path, "shop")
    given = f'certificates = [{{ cert = "{cert}", key = "{key}" }}]'
    site = HttpsSite(tmp_path / "site", given if request.param == "given" else "internal = true", workers=3)
    yield site
    site.stop()


class Client:
    """Keeps the session that it was given last."""

    def __init__(self, site: HttpsSite, version: ssl.TLSVersion) -> None:
        self._site = site
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self._context.maximum_version = version
        self._session: ssl.SSLSession | None = None
        self.connect()

    def connect(self) -> bool:
        """Ask over a new connection; was the session resumed?"""
        with socket.create_connection(("127.0.0.1", self._site.edgewise.tls_port), PATIENCE) as plain:
            sock = self._context.wrap_socket(plain, server_hostname=NAME, session=self._session)
            sock.sendall(get("/", NAME, close=True))
            while sock.recv(65536):
                pass
            self._session = sock.session
            return bool(sock.session_reused)

    def resumed(self) -> int:
        """Return how many of CONNECTIONS resumed."""
        return sum(self.connect() for _ in range(CONNECTIONS))


def workers(site: HttpsSite) -> dict[int, int]:
    status = json.loads(site.edgewise.admin("/api/v1/status"))
    return {worker["pid"]: worker["requests"] for worker in status["workers"] if status["ready"]}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_resumes_at_every_worker(site: HttpsSite, version: ssl.TLSVersion) -> None:
    client = Client(site, version)
    assert client.resumed() == CONNECTIONS
    wait_until(lambda: all(workers(site).values()), "every worker was met")


def test_a_session_resumes_after_a_reload(site: HttpsSite) -> None:
    client = Client(site, ssl.TLSVersion.TLSv1_3)
    site.edgewise.write_config(site.toml.replace("secure", "changed"))
    site.command("reload")
    assert client.resumed() == CONNECTIONS


def test_a_session_resumes_at_replaced_workers(site: HttpsSite) -> None:
    client = Client(site, ssl.TLSVersion.TLSv1_3)
    before = workers(site)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: workers(site) and not set(workers(site)) & set(before), "the workers are replaced")
    assert client.resumed() == CONNECTIONS


@pytest.mark.parametrize("site", ["internal"], indirect=True)
def test_a_session_resumes_after_a_renewal(site: HttpsSite) -> None:
    client = Client(site, ssl.TLSVersion.TLSv1_3)
    before = site.served()
    site.command("renew", "internal")
    wait_until(lambda: all(site.served() != before for _ in range(8)), "every worker shows the new certificate")
    assert client.resumed() == CONNECTIONS
