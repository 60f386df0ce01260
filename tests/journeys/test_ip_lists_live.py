"""Lists of addresses in a real edgewise: who is denied, behind which proxies, and what a reload of a file changes."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.edgewise_process import COMMAND, EdgewiseProcess, wait_until
from support.origin import Origin
from support.raw_http import RawClient, get, post

CONFIG = """
[server]
trusted_proxies = ["127.0.0.1", "::1"]
listen = ["127.0.0.1:$PORT", "unix:DIRECTORY/edge.sock"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
[upstreams.app]
servers = ["ORIGIN"]
[policies]
ip = { deny_files = ["denied.txt"] }
[[routes]]
path = "/office/*"
upstream = "app"
ip = { allow = ["10.0.0.0/8", "2001:db8::/32"], deny = ["10.6.0.0/16"] }
[[routes]]
path = "/open/*"
upstream = "app"
ip = false
[[routes]]
upstream = "app"
"""


class Site:
    """An edgewise, its origin and the directory of its files."""

    def __init__(self, edge: EdgewiseProcess, origin: Origin, directory: Path) -> None:
        self.edge = edge
        self.origin = origin
        self.directory = directory

    def status(self, path: str, client: str) -> int:
        """Ask by way of a trusted proxy, in the name of a client."""
        with self.edge.client() as proxy:
            return proxy.ask(get(path, "example.com", f"X-Forwarded-For: {client}")).status


@pytest.fixture
def site(tmp_path: Path, edgewise_server: Callable[..., EdgewiseProcess], origin: Callable[..., Origin]) -> Site:
    """Start edgewise with a list in a file."""
    app = origin()
    (tmp_path / "denied.txt").write_text("# two networks\n192.0.2.0/24  # documentation\n\n2001:db8:bad::/48\n")
    toml = CONFIG.replace("ORIGIN", app.address).replace("DIRECTORY", str(tmp_path))
    toml = toml.replace('"denied.txt"', f'"{tmp_path}/denied.txt"')
    return Site(edgewise_server(toml), app, tmp_path)


def test_who_may_come_where(site: Site) -> None:
    expected = {
        ("/office/", "10.1.1.1"): 200,
        ("/office/", "::ffff:10.1.1.1"): 200,
        ("/office/", "10.6.1.1"): 403,
        ("/office/", "2001:db8::5"): 200,
        ("/office/", "192.0.2.1"): 403,
        ("/open/", "192.0.2.1"): 200,
        ("/", "192.0.2.1"): 403,
        ("/", "2001:db8:bad::1"): 403,
        ("/", "10.6.1.1"): 200,
    }
    assert {case: site.status(*case) for case in expected} == expected

    with site.edge.client() as proxy:  # one connection, several clients behind it, content that nobody reads
        assert proxy.ask(get("/", "example.com", "X-Forwarded-For: 192.0.2.9")).status == 403
        answer = proxy.ask(get("/", "example.com", "X-Forwarded-For: 10.0.0.1"))
        assert answer.status == 200
        answer = proxy.ask(post(b"content", "/", "example.com", "X-Forwarded-For: 192.0.2.9"))
        assert answer.status == 403
        assert answer.get("content-type") == "application/problem+json"
        problem = json.loads(answer.body)
        assert (problem["title"], problem["status"], problem["policy"]) == ("Forbidden", 403, "ip")

    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(site.directory / "edge.sock"))
        probe.sendall(get("/office/", close=True))
        assert probe.recv(65536).startswith(b"HTTP/1.1 403")
    lines = site.edge.wait_access_log(len(expected) + 4)
    assert [line["end"] for line in lines if line["status"] == 403] == ["edge-ip"] * 7

    (site.directory / "denied.txt").write_text("198.51.100.0/24\n")
    wait_until(lambda: "listening on" in site.edge.log, "the start is over")
    site.edge.reload()
    wait_until(lambda: site.status("/", "192.0.2.1") == 200, "the new list holds")
    assert site.status("/", "198.51.100.7") == 403

    (site.directory / "denied.txt").write_text("198.51.100.0/24\n198.51.100.1/24\n")
    refused = subprocess.run(
        [COMMAND, "check", "-c", str(site.edge.config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode
    assert "denied.txt:2" in refused.stdout + refused.stderr
    assert site.status("/", "198.51.100.7") == 403


def test_who_asks_from_a_trusted_proxy_itself_is_judged_by_that_address(site: Site) -> None:
    with RawClient(("127.0.0.1", site.edge.port)) as client:
        assert client.ask(get("/office/")).status == 403
