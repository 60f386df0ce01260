"""Fixtures for tests with real sockets: a real edgewise, origins by script, raw clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.edgewise_process import EdgewiseProcess
from support.in_process import InProcessEngine
from support.origin import OK, Origin
from support.state_servers import NatsServer

Pair = tuple[EdgewiseProcess, Origin]
StartEdgewise = Callable[..., EdgewiseProcess]
StartOrigin = Callable[..., Origin]
InProcess = Callable[[str], InProcessEngine]


@pytest.fixture
def edgewise_server(tmp_path: Path) -> Iterator[StartEdgewise]:
    """Start edgewise from a TOML text: `edgewise_server(toml)` (see EdgewiseProcess for what the text may use)."""
    running: list[EdgewiseProcess] = []

    def start(toml: str, **options: Any) -> EdgewiseProcess:
        directory = tmp_path / f"edgewise-{len(running)}"
        directory.mkdir()
        server = EdgewiseProcess(toml, directory, **options)
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def origin() -> Iterator[StartOrigin]:
    """Start an upstream server by script: `origin(script)` (see support.origin.Origin)."""
    running: list[Origin] = []

    def start(*args: Any, **options: Any) -> Origin:
        running.append(Origin(*args, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()
    errors = [error for server in running for error in server.errors]
    assert not errors, errors


@pytest.fixture
def in_process(tmp_path: Path) -> Iterator[InProcess]:
    """Start an engine in this process from a TOML text: `in_process(toml)`."""
    started: list[InProcessEngine] = []

    def start(toml: str) -> InProcessEngine:
        started.append(InProcessEngine(toml, tmp_path / "access.log"))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """Start NATS for a test's nodes to share."""
    (tmp_path / "nats").mkdir()
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def standing_pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], Pair]]:
    """Keep one edgewise with its origin for each route and upstream text that tests ask for."""
    pairs: dict[tuple[str, str], Pair] = {}

    def pair(route: str, upstream: str) -> Pair:
        if (route, upstream) not in pairs:
            server = Origin()
            toml = (
                f'[upstreams.app]\nservers = ["{server.address}"]\n{upstream}\n[[routes]]\nupstream = "app"\n{route}\n'
            )
            pairs[route, upstream] = EdgewiseProcess(toml, tmp_path_factory.mktemp("edgewise")), server
        return pairs[route, upstream]

    yield pair
    for edgewise, server in pairs.values():
        edgewise.stop()
        server.stop()


@pytest.fixture
def proxied(standing_pairs: Callable[[str, str], Pair]) -> Iterator[Callable[..., Pair]]:
    """Give an origin with a route for everything, behind edgewise: `proxied(script) -> (edgewise, origin)`.

    Both live on from test to test, which is what they are for; the origin begins anew with each script.
    """
    used: list[Origin] = []

    def start(script: Any = OK, *, route: str = "", upstream: str = "") -> Pair:
        edgewise, server = standing_pairs(route, upstream)
        server.play(script)
        used.append(server)
        return edgewise, server

    yield start
    errors = [error for server in used for error in server.errors]
    for server in used:
        server.errors.clear()
        server.play(OK)
    assert not errors, errors
