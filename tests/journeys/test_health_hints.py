"""Nodes that tell each other of failing servers: a hint makes a node look for itself, and nothing more."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.edgewise_process import EdgewiseProcess, wait_until
from support.origin import Origin
from support.raw_http import get
from support.state_servers import NatsServer

pytestmark = pytest.mark.timeout(300)
NODE = """[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
[state]
url = "NATS"
local_copy = "off"
patience = "1s"
[cluster]
key = "0123456789abcdef0123456789abcdef"
[upstreams.app]
servers = [SERVERS]
"""
PATIENCE = 60.0
Start = Callable[..., EdgewiseProcess]
StartOrigin = Callable[..., Origin]


def toml(nats: NatsServer, servers: list[str], more: str) -> str:
    listed = ", ".join(f'"{server}"' for server in servers)
    return NODE.replace("NATS", nats.url).replace("SERVERS", listed) + more


def metric(server: EdgewiseProcess, name: str) -> int:
    found = re.search(rf"^{name} ([0-9]+)$", server.admin("/metrics").decode(), re.MULTILINE)
    return int(found[1]) if found else 0


def unhealthy(server: EdgewiseProcess) -> int:
    text = server.admin("/metrics").decode()
    return sum(line.endswith(" 1") for line in text.splitlines() if line.startswith("edgewise_upstream_unhealthy{"))


def ejections(server: EdgewiseProcess) -> int:
    lines = server.admin("/metrics").decode().splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith("edgewise_upstream_ejections_total{"))


def await_listening(*servers: EdgewiseProcess) -> None:
    for server in servers:
        wait_until(lambda log=server: "hints of other nodes are heard" in log.log, "the node listens", PATIENCE)


def test_a_server_that_one_node_finds_failing_is_checked_by_the_others_at_once(
    edgewise_server: Start, origin: StartOrigin, nats: NatsServer, tmp_path: Path
) -> None:
    bad, good = origin(), origin()
    addresses = [bad.address, good.address]
    often = 'health = { path = "/", interval = "200ms", unhealthy = 2 }\n'
    seldom = 'health = { path = "/", interval = "3600s", unhealthy = 2 }\n'
    quick = edgewise_server(toml(nats, addresses, often), env={"STATE_DIRECTORY": str(tmp_path / "a")})
    slow = [
        edgewise_server(toml(nats, addresses, seldom), env={"STATE_DIRECTORY": str(tmp_path / name)}) for name in "bc"
    ]
    await_listening(quick, *slow)
    bad.stop()
    for server in (quick, *slow):
        wait_until(lambda server=server: unhealthy(server) == 1, "the server is unhealthy", PATIENCE)
    wait_until(lambda: metric(quick, "edgewise_cluster_hints_told_total") == 1, "one hint was told", PATIENCE)
    assert all(metric(server, "edgewise_cluster_hints_heeded_total") == 1 for server in slow)
    assert "finds it failing (check), looking" in slow[0].log


def test_a_node_whose_own_view_is_broken_takes_no_server_from_the_others(
    edgewise_server: Start, origin: StartOrigin, nats: NatsServer, tmp_path: Path
) -> None:
    servers = [origin(), origin(), origin()]
    addresses = [server.address for server in servers]
    broken_view = 'health = { path = "/", interval = "200ms", unhealthy = 1, status = [599] }\n'
    sound_view = 'health = { path = "/", interval = "3600s", unhealthy = 1 }\n'
    sound = edgewise_server(toml(nats, addresses, sound_view), env={"STATE_DIRECTORY": str(tmp_path / "b")})
    await_listening(sound)
    broken = edgewise_server(toml(nats, addresses, broken_view), env={"STATE_DIRECTORY": str(tmp_path / "a")})
    wait_until(lambda: unhealthy(broken) == 3, "the node finds every server failing", PATIENCE)
    wait_until(lambda: metric(sound, "edgewise_cluster_hints_heeded_total") == 3, "the hints are heeded", PATIENCE)
    for _request in range(30):
        with sound.client() as client:
            assert client.ask(get("/")).status == 200
    assert unhealthy(sound) == 0
    assert metric(sound, "edgewise_cluster_hints_told_total") == 0


def test_without_checks_a_hint_counts_as_one_failure_and_ejects_nothing_by_itself(
    edgewise_server: Start, origin: StartOrigin, nats: NatsServer, tmp_path: Path
) -> None:
    servers = [origin(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), origin()]
    addresses = [server.address for server in servers]
    more = 'eject = { consecutive_errors = 2, base_time = "60s" }\nretry = { attempts = 1, on = [] }\n'
    first = edgewise_server(toml(nats, addresses, more), env={"STATE_DIRECTORY": str(tmp_path / "a")})
    second = edgewise_server(toml(nats, addresses, more), env={"STATE_DIRECTORY": str(tmp_path / "b")})
    await_listening(first, second)

    def ask(server: EdgewiseProcess) -> int:
        with server.client() as client:
            return client.ask(get("/")).status

    wait_until(lambda: ask(first) and ejections(first), "it is ejected", PATIENCE)
    wait_until(lambda: metric(second, "edgewise_cluster_hints_heeded_total") == 1, "the hint is heeded", PATIENCE)
    before = metric(second, "edgewise_connections_accepted_total")
    with second.client():  # counted on the worker's tick, which takes the hint over before
        wait_until(
            lambda: metric(second, "edgewise_connections_accepted_total") > before, "a tick has passed", PATIENCE
        )
    assert ejections(second) == 0
    assert sorted(ask(second) for _request in range(6)) == [200] * 5 + [502], "one failure of its own ejects it"
    wait_until(lambda: ejections(second) == 1, "the ejection is counted", PATIENCE)
