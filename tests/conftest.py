"""For all tests: generated examples are judged by what comes out, not by how long that took on a busy machine, and what
a module of tests leaves open is not asked by the next one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.postgres import PostgresServer, binaries

settings.register_profile("edgewise", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edgewise")


@pytest.fixture(scope="module", autouse=True)
def caches_of_apps() -> Iterator[None]:
    """Forget them at the end: a purge of all layers waits for each cache of its process, whose engine may be gone."""
    yield
    module = sys.modules.get("edgewise.contrib.cache.app_cache")
    if module is not None:
        module._living.clear()


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
