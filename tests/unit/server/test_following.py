"""A node that follows published configurations, with an engine in memory and reloads by script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from edgewise.admin.control import ReloadProblem, ReloadResult
from edgewise.contracts.sealing import Sealer
from edgewise.server.following import Following
from edgewise.server.kept_versions import KeptVersions
from edgewise.state.adoption import Standing
from edgewise.state.versions import PURPOSE, Version, Versions
from edgewise.testing.state import MemoryStateEngine

SEALER = Sealer(b"0" * 32, PURPOSE)


class Node:
    """Follows; a version whose content has `bad` cannot be used."""

    def __init__(self, directory: Path, engine: MemoryStateEngine, running: Version | None = None) -> None:
        self.engine = engine
        self.versions = Versions(engine, SEALER)
        self.kept = KeptVersions(directory, SEALER)
        self.told: list[Standing] = []
        self.tried: list[str] = []
        self.following = Following(SEALER, self.kept, running, self._reload, self.told.append)
        self.task = asyncio.ensure_future(self.following.run(engine))

    async def _reload(self, id: str) -> ReloadResult:
        self.tried.append(id)
        candidate = self.kept.candidate(id)
        assert candidate is not None
        if candidate.content.get("bad"):
            return ReloadResult(1, (ReloadProblem("cannot be", file="version", key="bad"),))
        self.following.loaded(candidate.version)
        self.kept.accept(id)
        return ReloadResult(2)

    async def until(self, applied: int, outcome: str, newest: int) -> Standing:
        async with asyncio.timeout(30):
            while (standing := self.following.standing)[:3] != (applied, newest, outcome):
                await asyncio.sleep(0.005)
        return standing

    async def stop(self) -> None:
        self.task.cancel()
        async with asyncio.timeout(30):
            await asyncio.gather(self.task, return_exceptions=True)


def play(directory: Path, work: Callable[[Node], Awaitable[None]]) -> Node:
    async def playing() -> Node:
        node = Node(directory, MemoryStateEngine())
        node.following.serve(True)
        await work(node)
        await node.stop()
        return node

    return run(playing())


def run(work: Coroutine[Any, Any, Node]) -> Node:
    return asyncio.run(work)


def test_a_node_takes_what_is_published_keeps_it_and_says_so(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        await node.versions.publish({"n": 1}, "ann")
        await node.until(1, "applied", 1)
        await node.versions.publish({"n": 2}, "ann")
        await node.until(2, "applied", 2)

    node = play(tmp_path, work)
    kept = node.kept.accepted()
    assert kept is not None
    assert (kept.version.number, kept.content) == (2, {"n": 2})
    assert [(one.applied, one.outcome) for one in node.told if one.newest == 2][-1] == (2, "applied")
    assert all(one.group == SEALER.group for one in node.told)


def test_what_cannot_be_used_is_refused_with_its_reason_and_tried_once(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        await node.versions.publish({"n": 1}, "ann")
        await node.until(1, "applied", 1)
        await node.versions.publish({"bad": True}, "bob")
        standing = await node.until(1, "refused", 2)
        assert standing.reason == "version: bad: cannot be"
        await node.engine.publish(node.versions.topic, b"")  # a look more changes nothing
        await node.versions.publish({"n": 3}, "ann")
        await node.until(3, "applied", 3)

    node = play(tmp_path, work)
    assert [id.split("-")[0] for id in node.tried] == ["1", "2", "3"]
    assert node.kept.candidate(node.tried[1]) is None, "nothing is left of what was refused"


def test_a_reload_of_the_nodes_own_file_has_a_refused_version_tried_again(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        await node.versions.publish({"bad": True}, "ann")
        await node.until(0, "refused", 1)
        node.following.loaded(None)
        async with asyncio.timeout(30):
            while len(node.tried) < 2:
                await asyncio.sleep(0.005)

    play(tmp_path, work)


def test_nothing_is_tried_while_edgewise_starts_or_stops(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        node.following.serve(False)
        await node.versions.publish({"n": 1}, "ann")
        standing = await node.until(0, "pending", 1)
        assert standing.reason in ("", "edgewise starts or stops")
        assert not node.tried
        node.following.serve(True)
        await node.until(1, "applied", 1)

    play(tmp_path, work)


def test_a_node_is_settled_once_it_has_looked(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        assert not node.following.settled
        async with asyncio.timeout(30):
            while not node.following.settled:
                await asyncio.sleep(0.005)

    play(tmp_path, work)


def test_a_lost_engine_is_waited_for(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        node.engine.lost = True
        node.following.loaded(None)  # a look in vain
        await asyncio.sleep(0)
        node.engine.lost = False
        await node.versions.publish({"n": 1}, "ann")
        await node.until(1, "applied", 1)

    play(tmp_path, work)


def test_an_end_is_never_lost_where_something_new_comes_along_with_it(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        for _turn in range(100):  # it waits by now
            await asyncio.sleep(0)
        node.following.serve(False)  # as when edgewise stops: told and ended in one turn of the loop

    assert play(tmp_path, work).task.done()
