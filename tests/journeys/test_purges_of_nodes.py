"""Purges of several nodes on a real NATS: told to all, acknowledged by all, caught up with, bounded where not heard."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from journeys.conftest import StartEdgewise, StartOrigin
from support.cuttable_proxy import CuttableProxy
from support.edgewise_process import EdgewiseProcess, wait_until
from support.purging import Everywhere, Numbers, purge
from support.raw_http import get, post
from support.state_servers import NatsServer, ValkeyServer

pytestmark = [pytest.mark.gate, pytest.mark.timeout(300)]
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = WORKERS
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
[cache]
offline = "OFFLINE"
[state]
url = "NATS"
local_copy = "off"
patience = "1s"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
cache = {}
"""
PATIENCE = 60.0
HEARD = "purges of other nodes are heard from"
Start = Callable[..., EdgewiseProcess]


@pytest.fixture
def node(edgewise_server: StartEdgewise, origin: StartOrigin, nats: NatsServer) -> Start:
    """Start a node that hears purges."""
    address = origin(Numbers()).address

    def start(*, url: str = nats.url, offline: str = "10m", workers: int = 1) -> EdgewiseProcess:
        values = {"ORIGIN": address, "NATS": url, "OFFLINE": offline, "WORKERS": str(workers)}
        toml = TOML
        for name, value in values.items():
            toml = toml.replace(name, value)
        found = edgewise_server(toml)
        wait_until(lambda: HEARD in found.log, "it hears purges", PATIENCE)
        return found

    return start


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    (tmp_path / "valkey").mkdir()
    server = ValkeyServer(tmp_path / "valkey")
    server.start()
    yield server
    server.kill()


def ask(server: EdgewiseProcess, path: str = "/a") -> bytes:
    with server.client() as client:
        body: bytes = client.ask(get(path)).body
    return body


def control(server: EdgewiseProcess) -> int:
    """Return the process id of the control process, which is started last."""
    return server.tree()[-1]


def purged(server: EdgewiseProcess, nodes: int, **wanted: Any) -> None:
    """Purge, and be told by this many nodes, which may not all be listed yet, or still be listed."""
    wait_until(lambda: purge(server, **wanted).get("nodes") == nodes, f"{nodes} nodes purge", PATIENCE)


def test_a_purge_at_one_node_is_answered_when_all_have_done_it(node: Start) -> None:
    first, second, third = node(workers=2), node(workers=2), node()
    for turn, wanted in enumerate(
        ({"tags": ["key-a"]}, {"urls": ["http://example.com/a"]}, {"hosts": ["example.com"]})
    ):
        before = [Everywhere(each).ask("/a") for each in (first, second, third)]
        purged((first, second, third)[turn], 3, **wanted)
        for each, old in zip((first, second, third), before, strict=True):
            assert not set(old) & set(Everywhere(each).ask("/a"))


def test_what_a_request_changes_is_forgotten_by_other_nodes(node: Start) -> None:
    first, second = node(), node()
    before = ask(second, "/a?next=http://example.com/")
    with first.client() as client:
        client.ask(post(b"x", "/a?next=http://example.com/"))
    wait_until(lambda: ask(second, "/a?next=http://example.com/") != before, "the other node has forgotten", PATIENCE)


def test_a_control_process_that_died_goes_on_where_it_was(node: Start) -> None:
    first, second = node(), node()
    kept, old = ask(second, "/b"), ask(second, "/a")
    os.kill(control(second), signal.SIGSTOP)
    purged(first, 1, tags=["key-a"])  # a node that gives no sign of life is not waited for
    assert ask(second, "/a") == old
    os.kill(control(second), signal.SIGKILL)
    wait_until(lambda: ask(second, "/a") != old, "what was told meanwhile is done", PATIENCE)
    assert ask(second, "/b") == kept
    purged(first, 2, tags=["key-x"])


def test_a_node_that_is_cut_off_validates_and_catches_up(node: Start, nats: NatsServer) -> None:
    proxy = CuttableProxy(nats.port)
    try:
        first, second = node(), node(url=f"nats://127.0.0.1:{proxy.port}", offline="5s")
        old, kept = ask(second), ask(first, "/b")
        proxy.silence()
        purged(first, 1, tags=["key-a"])
        wait_until(lambda: ask(second) != old, "nothing older than the bound is used", PATIENCE)
        assert "purges of other nodes are not heard" in second.log
        told = purge(second, tags=["key-b"])
        assert told["status"] == 503
        assert "purged on this node; the others are told" in told["detail"]
        assert ask(first, "/b") == kept
        proxy.heal()
        wait_until(lambda: ask(first, "/b") != kept, "what waited is told", PATIENCE)
        wait_until(lambda: "purges of other nodes are heard again" in second.log, "it hears", PATIENCE)
    finally:
        proxy.close()


def test_a_node_for_which_purges_are_no_longer_kept_purges_everything(node: Start, nats: NatsServer) -> None:
    first, second = node(), node()
    purged(first, 2, tags=["key-x"])
    old = ask(second)
    nats.kill()
    for path in (nats.directory / "js").rglob("*"):
        if path.is_file():
            path.unlink()
    nats.start()
    wait_until(lambda: ask(second) != old, "nothing is trusted that was stored before", PATIENCE)


def test_on_valkey_too_and_when_it_forgets_everything(node: Start, valkey: ValkeyServer) -> None:
    first, second = node(url=valkey.url), node(url=valkey.url)
    purged(first, 2, tags=["key-x"])
    old = ask(second)
    purged(first, 2, tags=["key-a"])
    now = ask(second)
    assert now != old
    with socket.create_connection(("127.0.0.1", valkey.port)) as client:
        client.sendall(b"FLUSHALL\r\n")
        assert client.recv(16) == b"+OK\r\n"
    wait_until(lambda: ask(second) != now, "nothing is trusted that was stored before", PATIENCE)
    purged(first, 2, tags=["key-a"])


def test_a_node_that_stops_tells_before_what_a_request_changed(node: Start) -> None:
    first, second = node(), node()
    before = ask(second)
    with first.client() as client:
        client.ask(post(b"x", "/a"))
    assert first.stop() == 0
    wait_until(lambda: ask(second) != before, "the other node has forgotten", PATIENCE)
