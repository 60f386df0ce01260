"""Every state engine, on a real server, keeps the contract."""

from __future__ import annotations

import asyncio

import pytest

from edgewise.contracts.state import StateEngine
from edgewise.testing.state import MemoryStateEngine
from edgewise.testing.state_suite import CHECKS, Check, run_check
from support.manual_clock import ManualClock
from support.state_servers import StateServer


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_engine_keeps_the_contract(server: StateServer, check: Check) -> None:
    asyncio.run(run_check(check, server.make))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_engine_of_edgewise_testing_keeps_it_too(check: Check) -> None:
    clock = ManualClock()
    engine = MemoryStateEngine(clock)

    async def make() -> StateEngine:
        return engine

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    asyncio.run(run_check(check, make, sleep))
