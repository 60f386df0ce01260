"""Answers on disk of nodes that share state: what others purged while a node was away is heeded when it is back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from journeys.conftest import StartOrigin
from support.edgewise_process import wait_until
from support.purging import Numbers, purge
from support.restarts import Site
from support.state_servers import NatsServer

pytestmark = [pytest.mark.gate, pytest.mark.timeout(300)]
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 1
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
[cache]
offline = "OFFLINE"
disk = "1GB"
directory = "$DIR/cache"
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
Start = Callable[..., Site]


@pytest.fixture
def node(tmp_path: Path, origin: StartOrigin, nats: NatsServer) -> Iterator[Start]:
    """Start a node that hears purges."""
    address, started = origin(Numbers()).address, []

    def start(offline: str = "10m") -> Site:
        toml = TOML.replace("ORIGIN", address).replace("NATS", nats.url).replace("OFFLINE", offline)
        started.append(Site(toml, tmp_path / f"node{len(started)}"))
        hears(started[-1])
        return started[-1]

    yield start
    for each in started:
        with contextlib.suppress(AssertionError):
            each.edgewise.stop()


def hears(site: Site) -> None:
    wait_until(lambda: "purges of other nodes are heard from" in site.edgewise.log, "it hears purges", PATIENCE)


def stored(site: Site, *paths: str) -> list[bytes]:
    """Ask until the answers come from what is stored, and are on disk."""
    before = site.files()
    found = [site.ask(path) for path in paths]
    wait_until(lambda: site.files() >= before + len(paths), "the answers are on disk", PATIENCE)
    return found


def held(site: Site, path: str) -> list[str]:
    """Return where the worker has the answer to a path."""
    told = json.loads(site.edgewise.admin(f"/api/v1/cache?url=http://example.com{path}"))
    return [tier for route in told["workers"][0]["routes"] for each in route["held"] for tier in each["in"]]


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_a_purge_made_while_a_node_was_down_is_heeded_after_its_restart(node: Start, kill: bool) -> None:
    here, there = node(), node()
    purge(there.edgewise, tags=["key-x"])
    old, kept = stored(here, "/a", "/b")
    if kill:
        here.kill()
    else:
        assert here.edgewise.stop() == 0
    purge(there.edgewise, tags=["key-a"])
    here.restart(kill=True)
    assert here.ask("/a") != old, "nothing is used before it has heard"
    wait_until(lambda: "disk" in held(here, "/b"), "what was not purged is used again", PATIENCE)
    assert here.ask("/b") == kept


def test_without_the_engine_nothing_is_used_that_was_not_validated(node: Start, nats: NatsServer) -> None:
    here, there = node(offline="5s"), node()
    purge(there.edgewise, tags=["key-x"])
    (old,) = stored(here, "/a")
    here.kill()
    purge(there.edgewise, tags=["key-a"])
    nats.kill()
    here.restart(kill=True)
    asked = {here.ask("/a")}
    wait_until(lambda: "are not heard" in here.edgewise.log, "it gives up waiting", PATIENCE)
    asked.add(here.ask("/a"))
    assert old not in asked


def test_an_engine_that_lost_what_was_published_has_everything_purged(node: Start, nats: NatsServer) -> None:
    here, there = node(), node()
    purge(there.edgewise, tags=["key-x"])
    (old,) = stored(here, "/a")
    here.kill()
    there.kill()
    nats.kill()
    for path in (nats.directory / "js").rglob("*"):
        if path.is_file():
            path.unlink()
    nats.start()
    other = node()
    for _ in range(5):  # as many messages as before, and more
        wait_until(lambda: "status" not in purge(other.edgewise, tags=["key-y"]), "it is told", PATIENCE)
    here.restart(kill=True)
    hears(here)
    assert here.ask("/a") != old
