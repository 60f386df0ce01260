"""A proxied keep-alive GET stays within its budget of our own calls, their depth, and the files they are in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from support.in_process import InProcessEngine, place
from support.origin import Origin
from support.raw_http import get

MOST_CALLS = 40
DEEPEST = 8
MOST_FILES = 10
"""The budget of a request whose head was seen before. Raising it needs a written reason in docs/architecture.md."""
CALLS_TO_MAKE_A_PLAN = 35
"""What the first sight of a head may cost on top: parsing, matching, preparing the upstream head."""

ANSWER = b"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[InProcessEngine]:
    origin = Origin(ANSWER)
    engine = InProcessEngine(f'[upstreams.app]\nservers = ["{origin.address}"]\n', tmp_path / "access.log")
    yield engine
    engine.stop()
    origin.stop()


def calls_of_one_request(engine: InProcessEngine, heads: list[bytes]) -> list[tuple[CodeType, int]]:
    """Return the calls of a GET on warm connections: the fewest of several runs, since a tick may fall into one."""
    with engine.client() as client:
        client.ask(get("/warm"))
        runs = [engine.follow(lambda head=head: client.ask(head)) for head in heads]
    return min(runs, key=len)


def report(calls: list[tuple[CodeType, int]]) -> str:
    return "\n".join("  " * depth + place(code) for code, depth in calls)


def test_a_proxied_get_stays_within_the_call_budget(engine: InProcessEngine) -> None:
    calls = calls_of_one_request(engine, [get("/warm")] * 8)
    assert 0 < len(calls) <= MOST_CALLS, report(calls)
    assert max(depth for _, depth in calls) <= DEEPEST, report(calls)


def test_a_proxied_get_stays_within_few_files(engine: InProcessEngine) -> None:
    calls = calls_of_one_request(engine, [get("/warm")] * 8)
    files = sorted({place(code).partition(":")[0] for code, _ in calls})
    assert len(files) <= MOST_FILES, "\n".join(files)


def test_the_first_sight_of_a_head_stays_within_its_budget(engine: InProcessEngine) -> None:
    calls = calls_of_one_request(engine, [get(f"/{number}?q={number}") for number in range(8)])
    assert 0 < len(calls) <= MOST_CALLS + CALLS_TO_MAKE_A_PLAN, report(calls)
