"""Answers on disk, on real processes: they outlive edgewise, all workers share them, and what was purged stays so."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from journeys.conftest import StartOrigin
from support.edgewise_process import EdgewiseProcess, wait_until
from support.purging import purge
from support.raw_http import get, post
from support.restarts import Site, Versions, version_of

pytestmark = pytest.mark.timeout(300)
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 2
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
[cache]
memory = "64MB"
disk = "DISK"
directory = "$DIR/cache"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
cache = { max_object = "64MB" }
"""
SEED = 20_261_124
PATIENCE = 60.0
Start = Callable[..., Site]


@pytest.fixture
def versions() -> Versions:
    return Versions()


@pytest.fixture
def site(tmp_path: Path, origin: StartOrigin, versions: Versions) -> Iterator[Start]:
    """Start an edgewise over an origin that tells versions."""
    started: list[Site] = []

    def start(disk: str = "1GB", more: str = "") -> Site:
        toml = TOML.replace("ORIGIN", origin(versions).address).replace("DISK", disk) + more
        started.append(Site(toml, tmp_path / f"site{len(started)}"))
        return started[-1]

    yield start
    for each in started:
        with contextlib.suppress(AssertionError):
            each.edgewise.stop()


def stored(site: Site, *paths: str, files: int | None = None) -> list[bytes]:
    """Ask for paths and wait until their answers are on disk."""
    before = site.files()
    bodies = [site.ask(path) for path in paths]
    wanted = before + (len(paths) if files is None else files)
    wait_until(lambda: site.files() >= wanted, "the answers are on disk", PATIENCE)
    return bodies


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_answers_outlive_edgewise(site: Start, versions: Versions, kill: bool) -> None:
    here = site()
    bodies = stored(here, "/a", "/b?x=1", "/large/c", files=4)
    for _ in range(3):
        here.restart(kill=kill)
        assert [here.ask(path) for path in ("/a", "/b?x=1", "/large/c")] == bodies
    assert versions.count == 3, "nothing was asked of the origin again"


def test_a_range_of_a_large_answer_is_served_after_a_restart(site: Start, versions: Versions) -> None:
    here = site()
    (body,) = stored(here, "/large", files=2)
    here.restart(kill=True)
    with here.edgewise.client() as client:
        answer = client.ask(get("/large", "example.com", "Range: bytes=100000-100009"))
    assert (answer.status, answer.body) == (206, body[100_000:100_010])
    assert versions.count == 1


def test_workers_share_what_one_of_them_stored(site: Start, versions: Versions) -> None:
    here = site()
    stored(here, "/a", "/large", files=3)
    for _ in range(40):
        here.ask("/a")
        here.ask("/large")
    assert versions.count == 2

    def answered() -> bool:
        workers = json.loads(here.edgewise.admin("/api/v1/status"))["workers"]
        return all(worker["requests"] > 0 for worker in workers)

    wait_until(answered, "both workers have answered")


PURGES: list[dict[str, Any]] = [
    {"urls": ["http://example.com/a", "example.com/large"]},
    {"prefixes": ["example.com/"]},
    {"hosts": ["example.com"]},
    {"tags": ["all"]},
    {"patterns": ["example.com/*"]},
    {"all": True},
]


@pytest.mark.parametrize("wanted", PURGES, ids=[next(iter(wanted)) for wanted in PURGES])
def test_what_was_purged_before_a_kill_never_comes_back(
    site: Start, versions: Versions, wanted: dict[str, Any]
) -> None:
    here = site()
    stored(here, "/a", "/large", files=3)
    versions.version = 1
    assert "status" not in purge(here.edgewise, **wanted)
    for _ in range(2):
        here.restart(kill=True)
        assert version_of("/a", here.ask("/a")) == 1
        assert version_of("/large", here.ask("/large")) == 1


def test_a_soft_purge_is_heeded_after_a_kill(site: Start, versions: Versions) -> None:
    here = site()
    stored(here, "/a")
    versions.version = 1
    purge(here.edgewise, tags=["all"], soft=True)
    here.restart(kill=True)
    assert version_of("/a", here.ask("/a")) == 1


def test_what_a_request_changed_is_not_found_after_a_restart(site: Start, versions: Versions) -> None:
    here = site()
    stored(here, "/a")
    versions.version = 1
    with here.edgewise.client() as client:
        client.ask(post(b"x", "/a"))
    here.restart()
    assert version_of("/a", here.ask("/a")) == 1


def test_killed_while_it_fills_it_serves_whole_answers_only(site: Start, versions: Versions) -> None:
    here, chance = site(), random.Random(SEED)
    paths = [f"/{index}" for index in range(60)] + [f"/large/{index}" for index in range(20)]
    for turn in range(5):
        versions.version = turn
        end = threading.Event()
        readers = [threading.Thread(target=_keep_asking, args=(here, paths, end, seed)) for seed in range(4)]
        for reader in readers:
            reader.start()
        time.sleep(chance.uniform(0.1, 0.6))  # to be killed at any moment, not to wait for one
        here.kill()
        end.set()
        for reader in readers:
            reader.join()
        here.restart(kill=True)
        found = [version_of(path, here.ask(path)) for path in paths]
        assert set(found) <= set(range(turn + 1))
        purge(here.edgewise, all=True)


def test_killed_while_it_purges_it_forgets_all_that_was_acknowledged(site: Start, versions: Versions) -> None:
    here, chance = site(), random.Random(SEED)
    paths = [f"/{index}" for index in range(30)] + [f"/large/{index}" for index in range(5)]
    for _ in range(5):
        end, acknowledged = threading.Event(), [versions.version]
        readers = [threading.Thread(target=_keep_asking, args=(here, paths, end, seed)) for seed in range(3)]
        for reader in readers:
            reader.start()
        purger = threading.Thread(target=_keep_purging, args=(here.edgewise, versions, acknowledged, end))
        purger.start()
        wait_until(partial(_above, acknowledged, acknowledged[0]), "some purges are done", PATIENCE)
        time.sleep(chance.uniform(0.0, 0.5))  # to be killed at any moment, not to wait for one
        here.kill()
        end.set()
        for thread in [*readers, purger]:
            thread.join()
        here.restart(kill=True)
        for path in paths:
            assert version_of(path, here.ask(path)) >= acknowledged[0]


def _above(found: list[int], least: int) -> bool:
    return found[0] > least


def _keep_asking(site: Site, paths: list[str], end: threading.Event, seed: int) -> None:
    chance = random.Random(seed)
    while not end.is_set():
        with contextlib.suppress(OSError, EOFError, AssertionError, ValueError):
            site.ask(chance.choice(paths))


def _keep_purging(edgewise: EdgewiseProcess, versions: Versions, acknowledged: list[int], end: threading.Event) -> None:
    while not end.is_set():
        wanted = versions.version = versions.version + 1
        with contextlib.suppress(OSError, ValueError, HTTPException):
            if "status" not in purge(edgewise, tags=["all"]):
                acknowledged[0] = wanted


def test_a_flood_of_answers_stays_within_the_bound(site: Start) -> None:
    here = site(disk="8MB")
    with here.edgewise.client() as client:
        for index in range(100):
            client.ask(get(f"/large/{index}"))  # 40 MB
    wait_until(lambda: 0 < here.bytes() <= 8_000_000, "there is room again", PATIENCE)
    told = json.loads(here.edgewise.admin("/api/v1/status"))["cache_disk"]
    assert told["evictions"] > 0
    assert told["most"] == 8_000_000
    assert version_of("/large/99", here.ask("/large/99")) == 0


def test_a_directory_that_is_removed_costs_only_what_was_in_it(site: Start, versions: Versions) -> None:
    here = site()
    stored(here, "/a", "/large", files=3)
    subprocess.run(["rm", "-rf", str(here.cache)], check=True)
    versions.version = 1
    purge(here.edgewise, all=True)
    assert version_of("/large", here.ask("/large")) == 1
    stored(here, "/b")
    versions.version = 2
    purge(here.edgewise, all=True)
    here.restart(kill=True)
    assert version_of("/b", here.ask("/b")) == 2


def test_what_is_on_disk_is_told(site: Start) -> None:
    here = site()
    stored(here, "/a", "/large", files=3)

    def status() -> Any:
        return json.loads(here.edgewise.admin("/api/v1/status"))["cache_disk"]

    wait_until(lambda: status()["objects"] == 2, "both answers are counted", PATIENCE)
    assert status()["written"] == 2 * 4096 + 401_408
    wait_until(lambda: status()["bytes"] == status()["written"], "all is counted", PATIENCE)
    assert b"edgewise_cache_disk_objects 2\n" in here.edgewise.admin("/metrics")
    assert b"edgewise_cache_disk_written_bytes_total 409600\n" in here.edgewise.admin("/metrics")
    told = purge(here.edgewise, prefixes=["example.com/large"], dry_run=True)
    assert (told["on_disk"], told["estimated"]) == (1, False)

    def command(*arguments: str) -> str:
        admin = ["--admin", f"127.0.0.1:{here.edgewise.admin_port}"]
        run = [sys.executable, "-m", "edgewise", *arguments, *admin]
        return subprocess.run(run, capture_output=True, text=True, timeout=60, check=True).stdout

    assert "on its disk: 2" in command("purge", "--all", "--dry-run")
    assert "cache on disk: 2 answers, 0.4 of 953.7 MiB, 0.4 MiB written, 0 evicted" in command("status")
    here.restart()
    assert "http: on disk, status 200" in command("explain", "--cache", "http://example.com/a")


def test_another_edgewise_in_the_same_directory_does_not_start(site: Start) -> None:
    here = site()
    config = here.edgewise.config.read_text().replace(f"127.0.0.1:{here.edgewise.port}", "127.0.0.1:0")
    config = config.replace(f"127.0.0.1:{here.edgewise.admin_port}", "off")
    other = here.edgewise.directory / "other.toml"
    other.write_text(config)
    run = [sys.executable, "-m", "edgewise", "run", "-c", str(other)]
    found = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode != 0
    assert "another edgewise keeps its cache in" in found.stderr


def test_a_directory_that_cannot_be_used_is_an_error(site: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    config = tmp_path / "edgewise.toml"
    toml = TOML.replace("ORIGIN", "127.0.0.1:1").replace("DISK", "1GB").replace("$DIR/cache", str(tmp_path / "file"))
    config.write_text(toml.replace("$PORT", "0").replace("127.0.0.1:$ADMIN_PORT", "off"))
    for command in ("check", "run"):
        run = [sys.executable, "-m", "edgewise", command, "-c", str(config)]
        found = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
        assert found.returncode != 0
        assert "cache.directory" in found.stdout + found.stderr
        assert "is no directory" in found.stdout + found.stderr


def test_another_size_needs_a_restart_and_says_so(site: Start, versions: Versions) -> None:
    here = site()
    stored(here, "/a")
    config = here.edgewise.config
    config.write_text(config.read_text().replace('disk = "1GB"', 'disk = "2GB"'))
    here.edgewise.reload()
    wait_until(lambda: "cache.disk and cache.directory stay as they were" in here.edgewise.log, "it is said")
    here.restart()
    here.ask("/a")
    assert versions.count == 1


def test_routes_that_read_urls_in_a_new_way_have_what_is_stored_validated(site: Start, versions: Versions) -> None:
    here = site()
    stored(here, "/a?utm_source=x")
    config = here.edgewise.config
    before = config.read_text()
    versions.version = 1
    config.write_text(before.replace('max_object = "64MB"', 'max_object = "64MB", ignore_marketing = true'))
    here.edgewise.reload()
    wait_until(lambda: "routes read URLs in a way that is new" in here.edgewise.log, "the new rule is noticed")
    purge(here.edgewise, urls=["http://example.com/a?utm_source=x"])
    here.restart(kill=True)  # with the rule of before, by which the purge was not read
    assert version_of("/a?utm_source=x", here.ask("/a?utm_source=x")) == 1
