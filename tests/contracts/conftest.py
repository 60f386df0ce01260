"""Fixtures for tests over every engine of state, each a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.state_servers import SERVERS, StateServer


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateServer]:
    """Run a server for the tests of a module to share."""
    server = SERVERS[request.param](tmp_path_factory.mktemp("state"))
    server.start()
    yield server
    server.kill()
