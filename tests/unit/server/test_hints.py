"""Hints about failing servers: told and heeded within bounds, and only between nodes that have one secret."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.contracts.sealing import Sealer
from edgewise.server.hints import LIFE, PURPOSE, QUIET, Bounds, Hint, Hints
from edgewise.testing.state import MemoryStateEngine
from support.manual_clock import ManualClock

SEALER = Sealer(b"0" * 32, PURPOSE)


def test_a_server_is_hinted_at_once_and_not_again_for_a_while() -> None:
    clock = ManualClock()
    bounds = Bounds(10, 1.0, clock)
    assert bounds.allow("shop/a")
    assert not bounds.allow("shop/a")
    assert bounds.allow("shop/b")
    clock.advance(QUIET)
    assert bounds.allow("shop/a")


def test_what_the_others_told_is_not_told_once_more() -> None:
    bounds = Bounds(10, 1.0, ManualClock())
    bounds.note("shop/a")
    assert not bounds.allow("shop/a")


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 5)), max_size=200))
def test_however_many_servers_fail_the_rate_is_bounded(events: list[tuple[int, float]]) -> None:
    clock = ManualClock()
    bounds = Bounds(10, 1.0, clock)
    begun, allowed = clock(), 0
    last: dict[int, float] = {}
    for server, pause in events:
        now = clock.advance(pause)
        if bounds.allow(str(server)):
            allowed += 1
            assert now - last.get(server, now - QUIET) >= QUIET
            last[server] = now
        assert allowed <= 10 + (now - begun) * 1.0 + 1e-6


def told(*hints: bytes) -> tuple[list[str], Hints]:
    """Return where a node named b looks when it is told these."""
    looked: list[str] = []

    def look(server: str) -> bool:
        looked.append(server)
        return True

    async def listen() -> Hints:
        node = Hints(SEALER, "b", look)
        for hint in hints:
            node.heard(hint)
        return node

    return looked, asyncio.run(listen())


def sealed(server: str, node: str = "a", age: float = 0.0, sealer: Sealer = SEALER) -> bytes:
    hint = Hint(node, server, "check", time.time() - age)
    return sealer.seal(msgspec.json.encode(hint), f"health-hints-{SEALER.group}")


def test_a_node_looks_where_another_one_found_a_failure() -> None:
    looked, node = told(sealed("shop/a"), sealed("shop/b"))
    assert looked == ["shop/a", "shop/b"]
    assert node.counts["heeded"] == 2


@pytest.mark.parametrize(
    "hint",
    [
        sealed("shop/a", node="b"),
        sealed("shop/a", age=10 * LIFE),
        sealed("shop/a", age=-100 * LIFE),
        sealed("shop/a", sealer=Sealer(b"1" * 32, PURPOSE)),
        b"",
        SEALER.seal(b"{}", f"health-hints-{SEALER.group}"),
    ],
    ids=["own", "old", "of the future", "another key", "empty", "of another release"],
)
def test_nothing_is_done_about_a_hint_that_is(hint: bytes) -> None:
    assert told(hint)[0] == []


def test_a_node_that_finds_everything_failing_makes_the_others_look_a_bounded_number_of_times() -> None:
    looked, node = told(*(sealed(f"shop/{number}") for number in range(500)))
    assert len(looked) <= 21
    assert node.counts["passed over"] >= 479


def test_hints_travel_between_nodes_and_their_echo_is_not_told() -> None:
    async def travel() -> None:
        engine = MemoryStateEngine()
        heard = asyncio.Event()

        def look(server: str) -> bool:
            second.found(server, "check")  # its own check fails, too
            heard.set()
            return True

        first, second = Hints(SEALER, "a", lambda server: False), Hints(SEALER, "b", look)
        tasks = [asyncio.ensure_future(one.run(engine)) for one in (first, second)]
        for _turn in range(100):  # both have subscribed
            await asyncio.sleep(0)
        first.found("shop/a", "ejection")
        await asyncio.wait_for(heard.wait(), 15)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (first.counts["told"], second.counts["told"], second.counts["withheld"]) == (1, 0, 1)

    asyncio.run(travel())
