"""A purge by tag, by everything or from Wagtail on a real edgewise, with the cache of an app on its state engine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise import AdminError
from edgewise import purge as purge_by_call
from edgewise.contrib.cache import AppCache
from edgewise.contrib.layers import purge_layers
from edgewise.sessions import StateSettings
from journeys.conftest import StartEdgewise, StartOrigin
from support.edgewise_process import EdgewiseProcess, free_port
from support.purging import Everywhere, Numbers, purge

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 2
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
[state]
url = "STATE"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
cache = { ignore_marketing = true }
"""
namespaces = itertools.count()


class App:
    """The cache of an app on the engine of an edgewise."""

    def __init__(self, edgewise: EdgewiseProcess, url: str) -> None:
        self.edgewise = edgewise
        self.admin = f"127.0.0.1:{edgewise.admin_port}"
        state = StateSettings(url=url, patience=15.0)
        self.caches = [AppCache(state=state, namespace=f"n{next(namespaces)}") for _ in range(2)]

    def keep(self) -> set[bytes]:
        """Keep a value in every layer; return what HTTP caches answer."""
        for cache in self.caches:
            cache.set("tagged", 1, 600, tags=["key-a"])
            cache.set("untagged", 1, 600)
        return set(Everywhere(self.edgewise).ask("/a"))

    def kept(self, key: str) -> list[object]:
        """What each of the caches has."""
        return [cache.get(key) for cache in self.caches]


@pytest.fixture
def app(edgewise_server: StartEdgewise, origin: StartOrigin, tmp_path: Path) -> Iterator[App]:
    url = f"sqlite:{tmp_path}/state"
    app = App(edgewise_server(TOML.replace("ORIGIN", origin(Numbers()).address).replace("STATE", url)), url)
    yield app
    for cache in app.caches:
        cache.close()


@pytest.mark.parametrize("soft", [False, True])
def test_a_purge_by_tag_reaches_the_caches_of_apps_in_every_namespace(app: App, soft: bool) -> None:
    before = app.keep()
    purge(app.edgewise, tags=["key-a"], soft=soft)
    assert app.kept("tagged") == [None, None]
    assert app.kept("untagged") == [1, 1]
    assert not before & set(Everywhere(app.edgewise).ask("/a"))


def test_a_purge_of_everything_reaches_them_too_and_one_of_a_url_or_a_dry_run_does_not(app: App) -> None:
    app.keep()
    purge(app.edgewise, urls=["http://example.com/a"])
    purge(app.edgewise, tags=["key-a"], dry_run=True)
    purge(app.edgewise, all=True, dry_run=True)
    assert app.kept("tagged") == [1, 1]
    purge(app.edgewise, all=True)
    assert app.kept("tagged") + app.kept("untagged") == [None] * 4


def test_a_purge_from_an_app_reaches_every_layer(app: App) -> None:
    before = app.keep()
    purge_layers(["key-a"], admin=app.admin)
    assert app.kept("tagged") == [None, None]
    assert not before & set(Everywhere(app.edgewise).ask("/a"))


def test_wagtail_purges_by_urls(app: App, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("wagtail")
    from edgewise.contrib.wagtail import EdgewiseBackend

    before, other = app.keep(), set(Everywhere(app.edgewise).ask("/b"))
    backend = EdgewiseBackend({"ADMIN": app.admin, "HOSTNAMES": ["example.com"]})
    backend.purge("http://example.com/a")
    again = set(Everywhere(app.edgewise).ask("/a"))
    assert not before & again
    backend.purge_batch(["http://example.com/a", "http://example.com/c"])
    assert not again & set(Everywhere(app.edgewise).ask("/a"))
    assert set(Everywhere(app.edgewise).ask("/b")) == other
    assert backend.invalidates_hostname("example.com")
    assert not backend.invalidates_hostname("example.org")
    lost = f"127.0.0.1:{free_port()}"
    with pytest.raises(AdminError):
        purge_by_call(urls=["http://example.com/a"], admin=lost)
    EdgewiseBackend({"ADMIN": lost}).purge("http://example.com/a")
    assert "could not purge 1 URLs" in caplog.text
