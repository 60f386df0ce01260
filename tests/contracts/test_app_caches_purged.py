"""Purges by tag as the control process makes them: they reach the caches of apps on real engines, then the workers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator

import pytest

from edgewise.admin.control import PurgeOrder
from edgewise.config.state import State
from edgewise.contracts.state import StateError
from edgewise.contrib.cache import AppCache
from edgewise.server import messages as m
from edgewise.server.app_caches import AppCaches
from edgewise.server.purge_orders import PurgeOrders
from edgewise.sessions import StateSettings
from support.state_servers import StateServer

numbers = itertools.count()


class Supervisor:
    """Has every purge done at once, and notes what there was."""

    def __init__(self, server: StateServer) -> None:
        state = State.model_validate({"url": server.url, "local_copy": "off", "patience": "15s"})
        self.wanted: list[m.PurgeWanted] = []
        self.on_order: Callable[[], object] = lambda: None
        self.orders = PurgeOrders(self._take, AppCaches(state))

    def _take(self, message: m.ToSupervisor) -> None:
        assert isinstance(message, m.PurgeWanted)
        self.on_order()
        self.wanted.append(message)
        self.orders.answered(m.PurgeAnswer(message.request, 0))


@pytest.fixture
def caches(server: StateServer) -> Iterator[list[AppCache]]:
    """Caches of two apps on one engine."""
    state = StateSettings(url=server.url, patience=15.0)
    made = [AppCache(state=state, namespace=f"app{next(numbers)}", copy_age=0.5) for _ in range(2)]
    yield made
    for cache in made:
        cache.close()


def test_a_purge_by_tag_reaches_every_namespace_before_the_workers(server: StateServer, caches: list[AppCache]) -> None:
    for cache in caches:
        cache.set("a", 1, 600, tags=["product:7", "product:*"])
        cache.set("b", 2, 600, tags=["product:8", "product:*"])
        cache.memory.copies.clear()

    async def purge() -> list[m.PurgeWanted]:
        supervisor = Supervisor(server)
        seen: list[list[object]] = []
        supervisor.on_order = lambda: seen.append([cache.get("a") for cache in caches])
        await supervisor.orders.purge([PurgeOrder("tag", "product:7")], soft=False)
        assert seen[0] == [None, None], "what the workers are given is new"
        await supervisor.orders.written(["product:8"], True)
        return supervisor.wanted

    wanted = asyncio.run(purge())
    assert {(spec.value, spec.soft) for each in wanted for spec in each.purges} == {
        ("product:7", False),
        ("product:8", True),
    }
    assert [cache.get("b") for cache in caches] == [2, 2], "what is made stale at the edge is kept in apps"


def test_the_workers_purge_again_where_apps_may_have_used_what_they_had_read(
    server: StateServer, caches: list[AppCache]
) -> None:
    for cache in caches:
        cache.set("a", 1, 600, tags=["product:7"])

    async def purge() -> int:
        supervisor = Supervisor(server)
        await supervisor.orders.written(["product:7"], False)
        assert len(supervisor.wanted) == 1
        for _ in range(100):
            await asyncio.sleep(0.05)
            if len(supervisor.wanted) > 1:
                break
        return len(supervisor.wanted)

    exact = server.url.startswith("sqlite:")
    assert asyncio.run(purge()) == (1 if exact else 2)


def test_the_workers_purge_even_where_the_engine_does_not_answer(server: StateServer) -> None:
    async def purge() -> int:
        supervisor = Supervisor(server)
        supervisor.orders._apps = AppCaches(State.model_validate({"url": "redis://127.0.0.1:1/0", "patience": "1s"}))
        with pytest.raises(StateError):
            await supervisor.orders.written(["product:7"], False)
        return len(supervisor.wanted)

    assert asyncio.run(purge()) == 1
