"""One purge for all layers: the app's own caches first, and all that can be done where one of them fails."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from edgewise.contrib.cache import AppCache, cached
from edgewise.contrib.committed import purge_committed
from edgewise.contrib.layers import LayersError, purge_layers
from edgewise.contrib.tags import collecting, record
from edgewise.sessions import StateSettings
from support.edgewise_process import free_port, wait_until
from support.state_servers import SqliteServer


@pytest.fixture
def cache(state: SqliteServer, request: pytest.FixtureRequest) -> Iterator[AppCache]:
    cache = AppCache(
        state=StateSettings(url=state.url, patience=15.0), namespace=request.node.name[5:45].replace("_", "-")
    )
    yield cache
    cache.close()


def test_an_app_without_an_admin_address_purges_its_own_caches(cache: AppCache) -> None:
    cache.set("k", 1, 600, tags=["t"])
    purge_layers(["other"], ["https://example.com/"])
    assert cache.get("k") == 1
    purge_layers(["t"])
    assert cache.get("k") is None


def test_the_apps_caches_are_purged_before_the_http_caches_are_asked(cache: AppCache) -> None:
    seen: list[object] = []

    class Admin(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append((cache.get("k"), self.rfile.read(int(self.headers["Content-Length"]))))
            content = b'{"nodes": 1}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Admin)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        cache.set("k", 1, 600, tags=["t0"])
        purge_layers([f"t{number}" for number in range(501)], admin=f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [value for value, _ in seen] == [None, None]  # type: ignore[misc, has-type]


def test_a_layer_that_does_not_answer_keeps_no_other_from_being_purged(cache: AppCache, tmp_path: Path) -> None:
    cache.set("k", 1, 600, tags=["t"])
    with pytest.raises(LayersError, match="caches of apps: purged; HTTP caches: not purged") as raised:
        purge_layers(["t"], admin=f"127.0.0.1:{free_port()}")
    assert raised.value.app is None
    assert cache.get("k") is None
    lost = AppCache(state=StateSettings(url=f"sqlite:{tmp_path}/none", patience=0.2))
    cache.set("k", 1, 600, tags=["t"])
    assert lost.get("k") is None
    with pytest.raises(LayersError, match="caches of apps: not purged"):
        purge_layers(["t"])
    lost.close()
    assert cache.get("k") is None


def test_what_a_cached_function_used_flows_to_its_callers_computed_or_not(cache: AppCache) -> None:
    calls = 0

    @cached(600, tags=["own"], cache=cache, name="inner")
    def inner() -> int:
        record("row:1", "row:*")
        return 1

    @cached(600, cache=cache, name="outer")
    def outer() -> int:
        nonlocal calls
        calls += 1
        return inner()

    for _ in range(3):
        with collecting() as used:
            outer()
        assert used.tags == {"own", "row:1", "row:*"}
    before = calls
    for tag in ("own", "row:1"):
        purge_layers([tag])
        outer()
        outer()
        assert calls == before + 1
        before = calls


def test_what_could_not_be_purged_after_a_commit_is_purged_once_it_can_be(tmp_path: Path) -> None:
    server = SqliteServer(tmp_path)
    server.start()
    cache = AppCache(state=StateSettings(url=server.url, patience=0.5))
    try:
        cache.set("k", 1, 600, tags=["t"])
        server.kill()
        purge_committed(["t"])
        server.start()
        wait_until(lambda: cache.get("k") is None, "the purge is not repeated")
    finally:
        cache.close()
        server.kill()
