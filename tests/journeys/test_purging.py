"""Purges on real processes: every worker forgets, nothing that was asked for before comes back, requests purge too."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from edgewise import AdminError
from edgewise import purge as purge_by_call
from journeys.conftest import StartEdgewise, StartOrigin
from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.origin import OriginConnection
from support.purging import Everywhere, Numbers, purge
from support.raw_http import RawResponse, get, post

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 2
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
cache = { ignore_marketing = true }
"""


@pytest.fixture
def numbers() -> Numbers:
    return Numbers()


@pytest.fixture
def edgewise(edgewise_server: StartEdgewise, origin: StartOrigin, numbers: Numbers) -> EdgewiseProcess:
    return edgewise_server(TOML.replace("ORIGIN", origin(numbers).address))


@pytest.mark.parametrize(
    "wanted",
    [
        {"urls": ["http://example.com/a?utm_source=x"]},
        {"urls": ["example.com/a"]},
        {"prefixes": ["https://example.com/a"]},
        {"hosts": ["Example.com"]},
        {"tags": ["key-a"]},
        {"patterns": ["*.com/?*", "example.com/a*"]},
        {"all": True},
    ],
)
def test_what_is_purged_is_found_by_no_worker(edgewise: EdgewiseProcess, wanted: dict[str, Any]) -> None:
    before = set(Everywhere(edgewise).ask("/a"))
    assert len(before) <= 2, "each worker asked once"
    assert purge(edgewise, **wanted)["purges"] == len(next(iter(wanted.values())) if "all" not in wanted else [1])
    assert not before & set(Everywhere(edgewise).ask("/a"))


def test_what_is_not_named_stays(edgewise: EdgewiseProcess) -> None:
    before = set(Everywhere(edgewise).ask("/b"))
    purge(edgewise, urls=["example.com/a"], tags=["key-a"], hosts=["other.com"], prefixes=["example.com/a"])
    assert set(Everywhere(edgewise).ask("/b")) == before


def test_a_dry_run_counts_and_changes_nothing(edgewise: EdgewiseProcess) -> None:
    before = set(Everywhere(edgewise).ask("/a"))
    assert purge(edgewise, tags=["all"], dry_run=True) == {
        "purges": 1,
        "soft": False,
        "nodes": 1,
        "dry_run": True,
        "objects": len(before),
    }
    assert set(Everywhere(edgewise).ask("/a")) == before


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "names 1 to"),
        ({"urls": ["/a"]}, "is not a URL with a host"),
        ({"tags": ["x" * 300]}, "at most 256"),
        ({"tags": [""]}, "needs a value"),
        ({"tag": ["a"]}, "unknown field `tag`"),
        ({"urls": [1]}, "Expected `str`"),
    ],
)
def test_what_cannot_be_purged_by_is_said(edgewise: EdgewiseProcess, wanted: dict[str, Any], said: str) -> None:
    answer = purge(edgewise, **wanted)
    assert answer["status"] == 400
    assert said in answer["detail"]


def test_a_request_that_changes_something_is_heeded_by_the_other_worker(edgewise: EdgewiseProcess) -> None:
    before = set(Everywhere(edgewise).ask("/a"))
    with edgewise.client() as client:
        client.ask(post(b"x", "/a"))
    wait_until(lambda: not before & set(Everywhere(edgewise).ask("/a")), "both have forgotten")


def test_soft_purges_have_what_is_stored_validated(edgewise_server: StartEdgewise, origin: StartOrigin) -> None:
    asked: list[bytes] = []

    def script(connection: OriginConnection) -> None:
        while True:
            request = connection.read_request()
            asked.append(request)
            if b"If-None-Match" in request:
                connection.send(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nCache-Control: max-age=600\r\n\r\n')
            else:
                head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nCache-Control: max-age=600\r\nContent-Length: 5\r\n\r\n'
                connection.send(head + b"hello")

    edgewise = edgewise_server(TOML.replace("ORIGIN", origin(script).address).replace("workers = 2", "workers = 1"))
    with edgewise.client() as client:
        assert client.ask(get("/a")).body == b"hello"
        assert purge(edgewise, urls=["example.com/a"], soft=True)["soft"] is True
        assert client.ask(get("/a")).body == b"hello"
    assert [b"If-None-Match" in request for request in asked] == [False, True]


def test_what_was_asked_for_before_a_purge_is_never_stored_after_it(
    edgewise_server: StartEdgewise, origin: StartOrigin
) -> None:
    state = {"value": b"old"}
    asked, answer_now = threading.Event(), threading.Event()

    def script(connection: OriginConnection) -> None:
        while True:
            connection.read_request()
            value = state["value"]
            asked.set()
            assert answer_now.wait(60)
            head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nSurrogate-Key: t\r\nContent-Length: 3\r\n\r\n"
            connection.send(head + value)

    edgewise = edgewise_server(TOML.replace("ORIGIN", origin(script).address).replace("workers = 2", "workers = 1"))
    for turn in range(20):
        state["value"] = b"old"
        asked.clear()
        answer_now.clear()
        with edgewise.client() as slow, edgewise.client() as client:
            slow.send(get(f"/{turn}"))
            assert asked.wait(30), "the slow fetch has read the old value"
            state["value"] = b"new"
            purge(edgewise, tags=["t"])
            client.send(get(f"/{turn}"))
            answer_now.set()
            assert slow.read().body == b"old"
            assert client.read().body == b"new", "who asks after the purge does not wait for what began before it"
            assert client.ask(get(f"/{turn}")).body == b"new"


def test_the_command_purges_and_says_what_it_did(edgewise: EdgewiseProcess) -> None:
    before = set(Everywhere(edgewise).ask("/a"))
    admin = f"127.0.0.1:{edgewise.admin_port}"

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgewise", "purge", "--admin", admin, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    counted = run("--tag", "all", "--dry-run")
    assert counted.stdout == f"{len(before)} stored answers would be purged, counted over all workers of this node\n"
    assert run("--tag", "all", "--url", "https://example.com/b").stdout == "purged\n"
    assert not before & set(Everywhere(edgewise).ask("/a"))
    assert run().returncode == 2
    assert "is not a URL with a host" in run("--url", "/page").stderr


def ask_to_purge(edgewise: EdgewiseProcess, path: str, *lines: str) -> RawResponse:
    fields = "".join(f"{line}\r\n" for line in lines)
    with edgewise.client() as client:
        return client.ask(f"PURGE {path} HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n".encode())


def test_a_purge_request_of_those_who_may_is_heeded_by_every_worker(
    edgewise_server: StartEdgewise, origin: StartOrigin
) -> None:
    toml = TOML.replace("ORIGIN", origin(Numbers()).address)
    edgewise = edgewise_server(toml.replace("cache = {", 'cache = { purge_from = ["127.0.0.0/8"],'))
    before, others = set(Everywhere(edgewise).ask("/a?u=http://x/")), set(Everywhere(edgewise).ask("/b"))
    answer = ask_to_purge(edgewise, "/a?u=http://x/")
    assert (answer.status, answer.body) == (200, b"200 Purged\n")
    assert not before & set(Everywhere(edgewise).ask("/a?u=http://x/"))
    assert set(Everywhere(edgewise).ask("/b")) == others
    assert ask_to_purge(edgewise, "/", "Surrogate-Key: key-b other", "Content-Length: 0").status == 200
    assert not others & set(Everywhere(edgewise).ask("/b"))
    assert ask_to_purge(edgewise, "/", f"xkey: {'x' * 300}").status == 400


def test_a_purge_request_of_others_is_refused(edgewise_server: StartEdgewise, origin: StartOrigin) -> None:
    toml = TOML.replace("ORIGIN", origin(Numbers()).address).replace("workers = 2", "workers = 1")
    toml = toml.replace("[upstreams", 'trusted_proxies = ["127.0.0.1"]\n[upstreams', 1)
    edgewise = edgewise_server(toml.replace("cache = {", 'cache = { purge_from = ["10.0.0.0/8", "fd00::/8"],'))
    before = Everywhere(edgewise).ask("/a")
    refused = ask_to_purge(edgewise, "/a")
    assert (refused.status, refused.get("allow")) == (405, "GET, HEAD")
    assert ask_to_purge(edgewise, "/a", "X-Forwarded-For: 10.1.1.1, 192.0.2.1").status == 405
    assert Everywhere(edgewise).ask("/a") == before
    assert ask_to_purge(edgewise, "/a", "X-Forwarded-For: 192.0.2.1, 10.1.1.1").status == 200
    assert not set(before) & set(Everywhere(edgewise).ask("/a"))


def test_without_the_setting_purge_is_the_servers_business(edgewise: EdgewiseProcess) -> None:
    assert ask_to_purge(edgewise, "/a").body.isdigit()


APP = """
import asyncio
import edgewise

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/purge":
        told = repr(edgewise.purge(tags="page", urls=["example.com/other"]))
    elif path == "/apurge":
        told = repr(asyncio.run(edgewise.apurge(all=True, dry_run=True)))
    else:
        app.count += 1
        told = str(app.count)
    fields = [("Content-Type", "text/plain"), ("Surrogate-Key", "page")]
    start_response("200 OK", [*fields, ("Cache-Control", "max-age=600" if path == "/a" else "no-store")])
    return [told.encode()]

app.count = 0
"""


def test_an_app_that_edgewise_runs_purges_by_a_call(edgewise_server: StartEdgewise, tmp_path: Path) -> None:
    (tmp_path / "purging_app.py").write_text(APP)
    toml = TOML.replace('servers = ["ORIGIN"]', 'app = "purging_app:app"')
    edgewise = edgewise_server(toml, env={"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])})
    before = set(Everywhere(edgewise).ask("/a"))
    with edgewise.client() as client:
        assert client.ask(get("/apurge")).body == b"Purged(nodes=1, objects=%d)" % len(before)
        assert client.ask(get("/purge")).body == b"Purged(nodes=1, objects=0)"
    assert not before & set(Everywhere(edgewise).ask("/a"))


def test_what_keeps_a_call_from_purging_is_said(edgewise: EdgewiseProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEWISE_ADMIN", raising=False)
    with pytest.raises(AdminError, match="no admin address: name one"):
        purge_by_call(tags="a")
    with pytest.raises(AdminError, match="is it running"):
        purge_by_call(tags="a", admin=f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("EDGEWISE_ADMIN", f"127.0.0.1:{edgewise.admin_port}")
    with pytest.raises(AdminError, match="names 1 to"):
        purge_by_call()
    with pytest.raises(AdminError, match="is not a URL with a host"):
        purge_by_call(urls="/a")
    assert purge_by_call(hosts=["example.com"]) == (1, 0)
