"""The cache of apps on real engines: what is purged is not used again, and what is computed is computed once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgewise.contracts.state import StateUnavailable
from edgewise.contrib.cache import AppCache, cached
from edgewise.sessions import StateSettings
from support.cache_process import CacheProcess
from support.edgewise_process import free_port
from support.state_servers import SqliteServer, StateServer

PATIENCE = 30.0
Make = Callable[..., AppCache]
names = iter(range(10**9))


@pytest.fixture
def make(server: StateServer) -> Iterator[Make]:
    """Make caches of one namespace, each with a memory of its own, as in processes of their own."""
    namespace = f"n{next(names)}"
    made: list[AppCache] = []

    def make(**settings: object) -> AppCache:
        state = StateSettings(url=server.url, patience=15.0)
        made.append(AppCache(state=state, namespace=namespace, **{"copy_age": 0.0, **settings}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for cache in made:
        cache.close()


class Slow:
    """A computation that waits until it is let go, and counts."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        self.begun.set()
        assert self.go.wait(PATIENCE)
        return number


def test_what_one_process_computed_another_finds(make: Make) -> None:
    one, other = make(), make()
    assert one.get_or_compute("k", lambda: {"a": [1, None]}, 60) == {"a": [1, None]}
    assert other.get("k") == {"a": [1, None]}
    assert other.get_many(["k", "none"]) == {"k": {"a": [1, None]}}
    one.set("k", "other", 60)
    assert other.get("k") == "other"
    other.delete("k")
    assert one.get("k", "gone") == "gone"


def test_a_purge_by_one_process_is_seen_by_the_next_read_of_another(make: Make) -> None:
    one, other = make(), make()
    for number in range(20):
        one.set("a", number, 60, tags=["shop", "product-1"])
        one.set("b", number, 60, tags=["product-2"])
        assert (other.get("a"), other.get("b")) == (number, number)
        one.purge_tags(["product-1"])
        assert (other.get("a"), other.get("b")) == (None, number)
    one.clear()
    assert other.get("b") is None


def test_a_copy_outlives_a_purge_by_its_age_at_most(make: Make, server: StateServer) -> None:
    one, other = make(), make(copy_age=0.3)
    one.set("a", 1, 60, tags=["t"])
    assert other.get("a") == 1
    one.purge_tags(["t"])
    if isinstance(server, SqliteServer):
        assert other.get("a") is None
        return
    time.sleep(0.3)
    assert other.get("a") is None


def test_a_process_that_purges_uses_none_of_its_own_copies_after_it(make: Make) -> None:
    cache = make(copy_age=60.0)
    for number in range(20):
        cache.set("a", number, 60, tags=["t"])
        assert cache.get("a") == number
        cache.purge_tags(["t"])
        assert cache.get("a") is None


@pytest.mark.parametrize("how", ["purge_tags", "delete", "clear"])
def test_what_was_begun_before_a_purge_is_not_used_after_it(make: Make, how: str) -> None:
    one, other = make(), make()
    slow = Slow()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(one.get_or_compute, "k", slow, 60, tags=["t"])
        assert slow.begun.wait(PATIENCE)
        if how == "purge_tags":
            other.purge_tags(["t"])
        else:
            other.delete("k") if how == "delete" else other.clear()
        later = threads.submit(one.get_or_compute, "k", slow, 60, tags=["t"])
        slow.go.set()
        assert first.result() == 1, "who asked before the purge may have what was there before it"
        assert later.result() == 2
    assert other.get("k") == 2


def test_no_read_is_older_than_a_purge_that_was_acknowledged_before_it(make: Make) -> None:
    """The database is a number; a write adds to it, then purges. Readers compute from it, slowly at times."""
    database, acknowledged = 0, 0
    caches = [make(), make(), make()]
    ended = threading.Event()

    def read_it() -> int:
        number = database
        if random.random() < 0.3:
            time.sleep(random.random() / 200)
        return number

    def read(cache: AppCache) -> int:
        reads = 0
        while not ended.is_set():
            least = acknowledged
            assert cache.get_or_compute("k", read_it, 60, tags=["t"]) >= least
            reads += 1
        return reads

    with ThreadPoolExecutor(4) as threads:
        reading = [threads.submit(read, cache) for cache in (caches[0], caches[0], caches[1])]
        until = time.monotonic() + 3
        while time.monotonic() < until and not any(each.done() for each in reading):
            database += 1
            caches[2].purge_tags(["t"])
            acknowledged = database
        ended.set()
        assert min(each.result() for each in reading) > 0
    assert acknowledged > 0


def test_threads_and_tasks_that_ask_together_have_it_computed_once(make: Make) -> None:
    cache, other = make(), make()
    slow = Slow()
    with ThreadPoolExecutor(20) as threads:
        asking = [threads.submit(each.get_or_compute, "k", slow, 60) for each in (cache, other) * 10]
        assert slow.begun.wait(PATIENCE)
        slow.go.set()
        assert [each.result() for each in asking] == [1] * 20

    async def run() -> None:
        calls = 0

        async def compute() -> int:
            nonlocal calls
            calls += 1
            await asyncio.sleep(0.05)
            return calls

        asking = [each.aget_or_compute("async", compute, 60, lease=60) for each in (cache, other) * 20]
        assert await asyncio.gather(*asking) == [1] * 40
        await cache.aclose()
        await other.aclose()

    asyncio.run(run())


def test_processes_that_ask_together_have_it_computed_once(server: StateServer, tmp_path: Path) -> None:
    _clean(server)
    calls = tmp_path / "calls"
    processes = [CacheProcess(server.url, calls, 0.5, 60.0) for _ in range(6)]
    try:
        for process in processes:
            process.call()
        assert [process.result() for process in processes] == ["made of 1"] * 6
        assert calls.read_text() == "1\n"
    finally:
        for process in processes:
            process.kill()


def test_a_leader_that_is_killed_holds_nobody_up_beyond_its_lease(server: StateServer, tmp_path: Path) -> None:
    _clean(server)
    calls = tmp_path / "calls"
    leader = CacheProcess(server.url, calls, 3600.0, 1.0)
    other = CacheProcess(server.url, calls, 0.0, 1.0)
    try:
        leader.call()
        deadline = time.monotonic() + PATIENCE
        while not calls.exists() or not calls.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        leader.kill()
        other.call()
        assert other.result() == "made of 1"
        assert calls.read_text() == "1\n1\n"
    finally:
        leader.kill()
        other.kill()


def _clean(server: StateServer) -> None:
    cache = AppCache(state=StateSettings(url=server.url, patience=15.0))
    cache.clear()
    cache.close()


def test_a_stale_value_is_used_while_one_caller_renews_it(make: Make) -> None:
    cache = make()
    calls = 0
    go = threading.Event()

    @cached(0.2, stale=600, cache=cache, name="stale")
    def made() -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            assert go.wait(PATIENCE)
        return calls

    assert made() == 1
    time.sleep(0.25)
    assert [made() for _ in range(50)] == [1] * 50
    go.set()
    deadline = time.monotonic() + PATIENCE
    while made() == 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_call_that_fails_is_not_kept_and_those_who_waited_go_on_by_themselves(make: Make) -> None:
    cache = make()
    slow = Slow()

    def failing() -> int:
        raise LookupError(slow())

    with ThreadPoolExecutor(5) as threads:
        asking = [threads.submit(cache.get_or_compute, "k", failing, 60) for _ in range(5)]
        assert slow.begun.wait(PATIENCE)
        slow.go.set()
        assert {type(each.exception()) for each in asking} == {LookupError}
    assert cache.get_or_compute("k", lambda: 1, 60) == 1


def test_a_task_that_leaves_does_not_end_what_others_wait_for(make: Make) -> None:
    cache = make()

    async def run() -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        @cached(60, cache=cache, name="leaves")
        async def made() -> int:
            begun.set()
            await go.wait()
            return 7

        leader = asyncio.create_task(made())
        await begun.wait()
        other = asyncio.create_task(made())
        leader.cancel()
        await asyncio.sleep(0)
        go.set()
        assert await other == 7
        await made.invalidate()
        await cache.aclose()

    asyncio.run(run())


def test_without_its_engine_an_app_computes_and_a_purge_says_so(tmp_path: Path) -> None:
    server = SqliteServer(tmp_path)
    server.start()
    cache = AppCache(state=StateSettings(url=server.url, patience=2.0))
    try:
        cache.set("kept", 1, 60, tags=["t"])
        server.kill()
        assert cache.get("kept") == 1
        assert [cache.get_or_compute("k", lambda: 2, 60) for _ in range(3)] == [2, 2, 2]
        with pytest.raises(StateUnavailable):
            cache.purge_tags(["t"])
        server.start()
        deadline = time.monotonic() + PATIENCE
        while cache.get("kept") is not None:
            assert time.monotonic() < deadline
            with contextlib.suppress(StateUnavailable):
                cache.purge_tags(["t"])
    finally:
        cache.close()
        server.kill()


def test_an_engine_that_was_never_there_leaves_an_app_computing() -> None:
    cache = AppCache(state=StateSettings(url=f"redis://127.0.0.1:{free_port()}/0", patience=0.2))

    async def two() -> int:
        return 2

    async def run() -> None:
        assert [await cache.aget_or_compute("k", two, 60) for _ in range(3)] == [2, 2, 2]
        assert await cache.aget("k", "none") == "none"
        with pytest.raises(StateUnavailable):
            await cache.apurge_tags(["t"])

    asyncio.run(run())
    assert [cache.get_or_compute("k", lambda: 1, 60) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(StateUnavailable):
        cache.purge_tags(["t"])
    cache.close()
