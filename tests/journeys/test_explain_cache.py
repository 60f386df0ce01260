"""`edgewise explain --cache URL`: what the workers of a running edgewise store of it, and why they do not."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from journeys.conftest import StartEdgewise, StartOrigin
from support.edgewise_process import COMMAND, EdgewiseProcess
from support.origin import OriginConnection
from support.purging import purge
from support.raw_http import get

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 1
admin = "127.0.0.1:$ADMIN_PORT"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
name = "shop"
upstream = "app"
cache = { max_object = "1KB" }
"""
SAYS = {
    b"/a": "Cache-Control: max-age=600\r\nSurrogate-Key: one two\r\nVary: Accept-Encoding",
    b"/private": "Cache-Control: private",
    b"/large": "Cache-Control: max-age=600",
}


def script(connection: OriginConnection) -> None:
    while True:
        path = connection.read_request().split()[1]
        if path == b"/grows":
            start = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.send(start + b"800\r\n" + b"x" * 2048 + b"\r\n0\r\n\r\n")
            continue
        content = b"x" * (5000 if path == b"/large" else 5)
        head = f"HTTP/1.1 200 OK\r\n{SAYS[path]}\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.send(head.encode() + content)


def explain(edgewise: EdgewiseProcess, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "explain", "--cache", url, "--admin", f"127.0.0.1:{edgewise.admin_port}", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def edgewise(edgewise_server: StartEdgewise, origin: StartOrigin) -> EdgewiseProcess:
    return edgewise_server(TOML.replace("ORIGIN", origin(script).address))


def test_what_is_stored_is_shown_with_its_variants_age_and_tags(edgewise: EdgewiseProcess) -> None:
    with edgewise.client() as client:
        client.ask(get("/a"))
        client.ask(get("/a", "example.com", "Accept-Encoding: br"))
    shown = explain(edgewise, "http://example.com/a").stdout.splitlines()
    line = r"worker 0: route shop, http: in memory, status 200, fresh for [0-9]+ s, age [0-9]+ s, 5 bytes of content, "
    line += "varies on accept-encoding, 2 tags"
    assert len(shown) == 2
    assert all(re.fullmatch(line, each) for each in shown), shown
    (worker,) = json.loads(explain(edgewise, "example.com/a", "--json").stdout)["workers"]
    (route,) = worker["routes"]
    assert [held["tags"] for held in route["held"]] == [route["held"][0]["tags"]] * 2
    assert len({held["key"] for held in route["held"]}) == 2


def test_why_something_is_not_stored_is_shown(edgewise: EdgewiseProcess) -> None:
    with edgewise.client() as client:
        for path in ("/private", "/large", "/grows"):
            client.ask(get(path))
    line = r"worker 0: route shop, http: not stored [0-9.]+ s ago: "
    for path, why in (("private", "private"), ("large", "size"), ("grows", "size")):
        assert re.fullmatch(f"{line}{why}\n", explain(edgewise, f"http://example.com/{path}").stdout)


def test_what_was_purged_is_not_shown_and_what_is_stale_is(edgewise: EdgewiseProcess) -> None:
    nothing = "worker 0: nothing is stored, nothing was refused\n"
    assert explain(edgewise, "http://example.com/a").stdout == nothing
    with edgewise.client() as client:
        client.ask(get("/a"))
        purge(edgewise, tags=["two"], soft=True)
        assert ", stale for " in explain(edgewise, "http://example.com/a").stdout
        assert explain(edgewise, "https://example.com/a").stdout == nothing
        purge(edgewise, tags=["one"])
    assert explain(edgewise, "http://example.com/a").stdout == nothing


def test_what_is_no_url_is_said(edgewise: EdgewiseProcess) -> None:
    asked = explain(edgewise, "/a")
    assert asked.returncode == 1
    assert "is not a URL with a host" in asked.stderr
    neither = subprocess.run([COMMAND, "explain"], capture_output=True, text=True, timeout=60, check=False)
    assert neither.returncode == 2
    assert "--cache URL" in neither.stderr
