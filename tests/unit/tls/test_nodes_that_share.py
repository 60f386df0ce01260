"""Keepers of several nodes over one state engine: who orders, who answers, who takes, who may no longer write."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgewise.contracts.leader import TTL, LeaseLost
from edgewise.contracts.sealing import Sealer
from edgewise.contracts.state import StateEngine, StateUnavailable
from edgewise.testing.state import MemoryStateEngine
from edgewise.tls.acme.messages import AcmeError, Challenge
from edgewise.tls.cluster import Cluster
from edgewise.tls.keeper import Keeper
from edgewise.tls.managed import Managed
from edgewise.tls.shared import PURPOSE, SharedAccount, SharedCertificate, SharedValues
from edgewise.tls.store import Record, Store
from support.fake_issuer import FakeIssuer
from support.manual_clock import ManualClock

NAME = "shop.test"
SECRET = b"a secret of thirty-two characters"
KIND = ("https://ca.test/", "ec256")
CHALLENGE = Challenge(NAME, "http-01", "token", "token.thumbprint", "https://ca.test/challenge")
PATIENCE = 30.0


class Node:
    """A keeper, and its part in what nodes share."""

    def __init__(self, world: World, name: str, secret: bytes = SECRET) -> None:
        self.name = name
        self.store = Store(str(world.directory / name))
        self.issuer = FakeIssuer(world.clock)
        self.changes = 0
        self.answers: list[list[Challenge]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.keeper = Keeper(self._changed, world.clock)
        self.cluster = Cluster(world.open, Sealer(secret, PURPOSE), name, self._answer, self.keeper.told)
        self.follow()

    def follow(self, *names: str) -> None:
        managed = [Managed(name, (name,), str(self.store.certificate_file(name)), "") for name in names or (NAME,)]
        self.keeper.follow(managed, self.issuer, self.store, self.cluster)

    async def _changed(self) -> None:
        self.changes += 1

    async def _answer(self, challenges: list[Challenge]) -> None:
        await self.may_answer.wait()
        self.answers.append(challenges)

    async def join(self) -> None:
        """Take part from now on."""
        self.cluster.start()
        await until(lambda: self.cluster.reached, "the node has joined")

    @property
    def stored(self) -> bytes | None:
        return self.store.certificate(NAME)


class World:
    """One engine, and the time that all nodes share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
        self.passed = 0.0
        """Seconds that the engine is ahead of its clock."""
        self.engine = MemoryStateEngine(lambda: time.monotonic() + self.passed)
        self.nodes: list[Node] = []

    async def open(self) -> StateEngine:
        await self.engine.last("certificates")  # as a real one does, it fails while the engine is lost
        return self.engine

    async def node(self, name: str, secret: bytes = SECRET) -> Node:
        """Return a node that has joined."""
        self.nodes.append(Node(self, name, secret))
        await self.nodes[-1].join()
        return self.nodes[-1]

    @contextlib.asynccontextmanager
    async def end(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            for node in self.nodes:
                await node.cluster.close()


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    def run(scenario: Callable[[World], Awaitable[None]]) -> None:
        async def body() -> None:
            world = World(tmp_path)
            async with asyncio.timeout(2 * PATIENCE), world.end():
                await scenario(world)

        asyncio.run(body())

    return run


Play = Callable[[Callable[[World], Awaitable[None]]], None]


def test_one_node_orders_and_the_others_take_it(play: Play) -> None:
    async def scenario(world: World) -> None:
        first, second = await world.node("a"), await world.node("b")
        await asyncio.gather(first.keeper.step(), second.keeper.step())
        await second.keeper.step()
        await first.keeper.step()
        assert len(first.issuer.issued) + len(second.issuer.issued) == 1
        assert first.stored == second.stored
        assert first.stored is not None
        assert (first.changes, second.changes) == (1, 1)

    play(scenario)


def test_a_node_with_an_empty_directory_takes_certificate_and_account_without_an_order(play: Play) -> None:
    async def scenario(world: World) -> None:
        first = await world.node("a")
        await first.keeper.step()
        late = await world.node("b")
        await late.keeper.step()
        assert late.issuer.issued == []
        assert late.stored == first.stored
        late.keeper.renew(NAME)
        await late.keeper.step()
        assert late.store.account(KIND[0]) == first.store.account(KIND[0])

    play(scenario)


def test_a_renewal_that_is_due_everywhere_is_made_once(play: Play) -> None:
    async def scenario(world: World) -> None:
        nodes = [await world.node(name) for name in ("a", "b", "c")]
        for _ in range(2):
            for node in nodes:
                await node.keeper.step()
        world.clock.advance(80 * 86400.0)
        for _ in range(3):
            await asyncio.gather(*(node.keeper.step() for node in nodes))
        assert sum(len(node.issuer.issued) for node in nodes) == 2
        assert len({node.stored for node in nodes}) == 1

    play(scenario)


def test_challenges_are_presented_once_every_node_answers_them(play: Play) -> None:
    async def scenario(world: World) -> None:
        first, second = await world.node("a"), await world.node("b")
        second.may_answer.clear()
        presented = asyncio.Event()

        async def order() -> None:
            await first.cluster.present([CHALLENGE])
            presented.set()
            await first.cluster.present([])

        leading = asyncio.ensure_future(first.cluster.lead(order))
        await until(lambda: first.answers, "the leader answers")
        for _ in range(100):
            await asyncio.sleep(0.001)
        assert not presented.is_set()
        second.may_answer.set()
        await leading
        await until(lambda: [CHALLENGE] in second.answers and second.answers[-1] == [], "the other did, and stopped")

    play(scenario)


def test_a_node_that_joins_during_an_order_answers_its_challenges(play: Play) -> None:
    async def scenario(world: World) -> None:
        first = await world.node("a")

        async def order() -> None:
            await first.cluster.present([CHALLENGE])
            late = await world.node("b")
            await until(lambda: late.answers == [[CHALLENGE]], "the new node answers")

        assert await first.cluster.lead(order)

    play(scenario)


def test_while_a_node_leads_the_others_do_not_and_only_it_may_write(play: Play) -> None:
    async def scenario(world: World) -> None:
        first, second = await world.node("a"), await world.node("b")
        value = SharedCertificate(b"pem", Record())

        async def work() -> None:
            assert await second.cluster.lead(work) is False
            with pytest.raises(LeaseLost):
                await second.cluster.keep(KIND, NAME, value)
            with pytest.raises(LeaseLost):
                await second.cluster.present([CHALLENGE])
            assert await first.cluster.keep(KIND, NAME, value)

        assert await first.cluster.lead(work)
        assert await second.cluster.certificate(KIND, NAME) == value

    play(scenario)


def test_a_failure_at_the_authority_is_waited_for_by_all_nodes(play: Play) -> None:
    async def scenario(world: World) -> None:
        first, second = await world.node("a"), await world.node("b")
        first.issuer.failures = [AcmeError("rateLimited", retry_after=7200.0)]
        await first.keeper.step()
        for _ in range(3):
            await second.keeper.step()
        assert second.issuer.issued == []
        (kept,) = second.keeper.kept()
        assert (kept.failures, kept.error) == (1, "rateLimited")
        world.clock.advance(7201.0)
        await second.keeper.step()
        await first.keeper.step()
        assert first.stored == second.stored
        assert first.keeper.kept()[0].failures == 0

    play(scenario)


def test_without_the_engine_an_order_waits_what_is_there_stays_and_the_reason_is_shown(play: Play) -> None:
    async def scenario(world: World) -> None:
        node = await world.node("a")
        await node.keeper.step()
        before = node.stored
        world.engine.lost = True
        node.keeper.renew(NAME)
        for _ in range(3):
            assert await node.keeper.step() == 2.0
        assert "shared state" in node.keeper.kept()[0].error
        assert node.keeper.kept()[0].failures == 0
        assert node.stored == before
        assert len(node.issuer.issued) == 1
        world.engine.lost = False
        await node.keeper.step()
        assert len(node.issuer.issued) == 2
        assert node.keeper.kept()[0].error == ""

    play(scenario)


def test_an_engine_that_is_lost_during_an_order_is_no_failure_of_the_order(play: Play) -> None:
    async def scenario(world: World) -> None:
        node = await world.node("a")
        node.issuer.failures = [StateUnavailable("no answer")]
        node.keeper.renew(NAME)
        assert await node.keeper.step() == 2.0
        assert node.keeper.kept()[0].failures == 0
        await node.keeper.step()
        assert len(node.issuer.issued) == 1

    play(scenario)


def test_a_certificate_that_could_not_be_shared_is_shared_later_and_not_ordered_again(play: Play) -> None:
    async def scenario(world: World) -> None:
        first, second = await world.node("a"), await world.node("b")
        issue = first.issuer.issue

        async def lost_meanwhile(names: tuple[str, ...], previous: bytes | None) -> bytes:
            world.engine.lost = True
            return await issue(names, previous)

        first.issuer.issue = lost_meanwhile  # type: ignore[method-assign]
        assert await first.keeper.step() == 2.0
        assert first.stored is not None
        world.engine.lost = False
        assert await first.keeper.step() == 2.0, "the lease could not be given back"
        world.passed += TTL
        for _ in range(2):
            await first.keeper.step()
            await second.keeper.step()
        assert second.stored == first.stored
        assert len(first.issuer.issued) + len(second.issuer.issued) == 1

    play(scenario)


def test_nodes_without_an_engine_at_their_start_join_when_it_is_there(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.engine.lost = True
        node = Node(world, "a")
        world.nodes.append(node)
        node.cluster.start()
        assert await node.keeper.step() == 2.0
        assert node.issuer.issued == []
        world.engine.lost = False
        await until(lambda: node.cluster.reached, "the node has joined")
        await node.keeper.step()
        assert node.stored is not None

    play(scenario)


def test_nodes_with_another_secret_share_nothing(play: Play) -> None:
    async def scenario(world: World) -> None:
        first, stranger = await world.node("a"), await world.node("b", b"another secret of some thirty bytes")
        await first.keeper.step()
        await stranger.keeper.step()
        assert (len(first.issuer.issued), len(stranger.issuer.issued)) == (1, 1)
        assert first.stored != stranger.stored

    play(scenario)


def test_what_others_wrote_into_the_engine_is_neither_answered_nor_taken(play: Play) -> None:
    async def scenario(world: World) -> None:
        first = await world.node("a")
        await first.keeper.step()
        kept = {entry.key: entry.value for entry in await world.engine.entries("certificates/")}
        (certificate,) = [key for key in kept if "/certificate/" in key]
        (challenges,) = {key.rpartition("/")[0] + "/" for key in kept if "/nodes/" in key}
        place = challenges.replace("/nodes/", "/challenges")
        await world.engine.set(place, kept[certificate])  # sealed, but for another place
        await world.engine.set(certificate, kept[certificate][:-1] + b"?")
        late = await world.node("b")
        await late.keeper.step()
        assert late.stored != first.stored
        assert late.answers == []

    play(scenario)


def test_a_stale_leader_cannot_overwrite(play: Play) -> None:
    async def scenario(world: World) -> None:
        values = [SharedValues(world.engine, Sealer(SECRET, PURPOSE), name) for name in ("a", "b")]
        stale = await world.engine.acquire(values[0].lease, "a", 1.0)
        assert stale is not None
        await world.engine.release(stale)
        later = await world.engine.acquire(values[1].lease, "b", 600.0)
        assert later is not None
        new, old = SharedCertificate(b"new", Record()), SharedCertificate(b"old", Record())
        account = SharedAccount(b"key", None)
        assert await values[1].keep_certificate(later, KIND, NAME, new)
        assert not await values[0].keep_certificate(stale, KIND, NAME, old)
        assert await values[1].keep_account(later, KIND[0], account)
        assert not await values[0].keep_account(stale, KIND[0], SharedAccount(b"other", None))
        assert await values[0].certificate(KIND, NAME) == new
        assert await values[0].account(KIND[0]) == account

    play(scenario)
