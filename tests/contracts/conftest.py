"""Fixtures for tests over every engine of state, each a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.postgres import PostgresServer
from support.state_servers import SERVERS, SqliteServer, StateServer


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateServer]:
    """Run a server for the tests of a module to share."""
    server = SERVERS[request.param](tmp_path_factory.mktemp("state"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteServer]:
    """Run the embedded engine for the tests of a module to share."""
    server = SqliteServer(tmp_path_factory.mktemp("state"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where a database is: the path of a file, or a URL of PostgreSQL."""
    if request.param == "sqlite":
        return str(tmp_path / "db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()
