"""Fixtures for tests with real sockets: a real edgewise, origins by script, raw clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.edgewise_process import EdgewiseProcess
from support.origin import Origin

StartEdgewise = Callable[..., EdgewiseProcess]
StartOrigin = Callable[..., Origin]


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
def proxied(edgewise_server: StartEdgewise, origin: StartOrigin) -> Callable[..., tuple[EdgewiseProcess, Origin]]:
    """Start one origin behind edgewise with a route for everything: `proxied(script) -> (edgewise, origin)`."""

    def start(script: Any = None, *, route: str = "", upstream: str = "") -> tuple[EdgewiseProcess, Origin]:
        server = origin(script) if script is not None else origin()
        toml = f'[upstreams.app]\nservers = ["{server.address}"]\n{upstream}\n[[routes]]\nupstream = "app"\n{route}\n'
        return edgewise_server(toml), server

    return start
