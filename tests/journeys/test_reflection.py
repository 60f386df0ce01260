"""Services that servers tell of themselves: asked until they do, and kept when servers fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.library_server import LibraryServer
from support.raw_http import get

TOML = """
[upstreams.library]
servers = ["SERVER"]
protocol = "h2c"
[[routes]]
upstream = "library"
transcode = { reflection = true }
"""


class Site:
    """A standing edgewise before a server that may not be there yet."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.edge = EdgewiseProcess(TOML.replace("SERVER", f"127.0.0.1:{self.port}"), directory)
        self.server: LibraryServer | None = None

    def status(self, path: str = "/v1/shelves/1") -> int:
        """Return the status of the answer to a GET."""
        with self.edge.client() as client:
            return client.ask(get(path)).status

    def stop(self) -> None:
        """Stop all."""
        self.edge.stop()
        if self.server is not None:
            self.server.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Return a site whose server is not there."""
    site = Site(tmp_path)
    yield site
    site.stop()


def test_servers_are_asked_until_they_tell_and_what_they_told_is_kept(site: Site) -> None:
    with site.edge.client() as client:
        answer = client.ask(get("/v1/shelves/1"))
    assert (answer.status, answer.get("retry-after")) == (503, "1")
    assert "not known yet" in json.loads(answer.body)["detail"]
    wait_until(lambda: "do not tell their services" in site.edge.log, "that is logged")
    site.server = LibraryServer(port=site.port, reflects=True)
    wait_until(lambda: site.status() == 200, "the services are known")
    assert site.status("/v1/seen") == 200
    site.server.stop()
    site.server = None
    wait_until(lambda: site.status() in (502, 503), "the server is gone")
    assert site.status("/v1/nothing") == 404


def test_servers_that_do_not_tell_leave_the_route_without_services(site: Site) -> None:
    site.server = LibraryServer(port=site.port)
    wait_until(lambda: "UNIMPLEMENTED" in site.edge.log, "the server refused to tell")
    assert site.status() == 503
