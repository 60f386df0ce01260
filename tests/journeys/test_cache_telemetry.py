"""What logs, metrics and the status tell of the cache."""

from __future__ import annotations

import json
import re
import subprocess

from journeys.conftest import StartEdgewise, StartOrigin
from support.edgewise_process import COMMAND, EdgewiseProcess, wait_until
from support.origin import OriginConnection
from support.purging import purge
from support.raw_http import get, post

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
cache = {}
"""


def script(connection: OriginConnection) -> None:
    while True:
        request = connection.read_request()
        if request.startswith(b"POST"):
            connection.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        elif b"If-None-Match" in request:
            connection.send(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nCache-Control: max-age=600\r\n\r\n')
        else:
            head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nCache-Control: max-age=600\r\nContent-Length: 5\r\n\r\n'
            connection.send(head + b"hello")


def metrics(edgewise: EdgewiseProcess) -> dict[str, int]:
    text = edgewise.admin("/metrics").decode()
    return {name: int(value) for name, value in re.findall(r"^(edgewise_cache_\S+) ([0-9]+)$", text, re.MULTILINE)}


def test_each_request_tells_what_the_cache_did(edgewise_server: StartEdgewise, origin: StartOrigin) -> None:
    edgewise = edgewise_server(TOML.replace("ORIGIN", origin(script).address))
    only_stored = get("/b", "example.com", "Cache-Control: only-if-cached")
    with edgewise.client() as client:
        for request in (
            get("/a"),
            get("/a"),
            get("/a", "example.com", "Range: bytes=0-1"),
            post(b"x", "/a"),
            only_stored,
        ):
            client.ask(request)
        purge(edgewise, all=True, soft=True)
        client.ask(get("/a"))
    lines = edgewise.wait_access_log(6)
    results = ["miss", "hit", "hit", "bypass", "unsatisfied", "revalidated"]
    assert [line["cache"] for line in lines] == results
    counted = {
        f'edgewise_cache_requests_total{{http_route="shop",result="{each}"}}': results.count(each) for each in results
    }
    counted['edgewise_cache_objects{worker="0"}'] = 1
    wait_until(lambda: counted.items() <= metrics(edgewise).items(), "all are counted")
    found = metrics(edgewise)
    assert found['edgewise_cache_bytes{worker="0"}'] > 5
    assert found['edgewise_cache_evictions_total{worker="0"}'] == 0
    status = json.loads(edgewise.admin("/api/v1/status"))
    assert status["routes"][0]["cache"] == {each: results.count(each) for each in results}
    shown = subprocess.run(
        [COMMAND, "status", "--admin", f"127.0.0.1:{edgewise.admin_port}"],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert "cache: 1 answers, 0.0 MiB\nROUTE  HIT" in shown


def test_routes_without_a_cache_tell_nothing_of_it(edgewise_server: StartEdgewise, origin: StartOrigin) -> None:
    edgewise = edgewise_server(TOML.replace("ORIGIN", origin(script).address).replace("cache = {}", ""))
    with edgewise.client() as client:
        client.ask(get("/a"))
    assert "cache" not in edgewise.wait_access_log()[0]
    assert not any(name.startswith("edgewise_cache_requests") for name in metrics(edgewise))
