"""Fixtures for tests over every engine of state, each a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.postgres import PostgresServer, binaries
from support.state_servers import SERVERS, StateServer


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateServer]:
    """Run a server for the tests of a module to share."""
    server = SERVERS[request.param](tmp_path_factory.mktemp("state"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run one PostgreSQL for all tests, which take a database of it each; skip them where it is not installed."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where a database is: the path of a file, or a URL of PostgreSQL."""
    if request.param == "sqlite":
        return str(tmp_path / "db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()
