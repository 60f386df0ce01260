"""Nothing ambiguous is forwarded: each class of request smuggling, down to the bytes the origin received."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.edgewise_process import EdgewiseProcess
from support.origin import Origin
from support.smuggling import ANSWER, REFUSED, REPAIRED, TOML, Case, run_case, whole_request, without_own_fields

Pair = tuple[EdgewiseProcess, Origin]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    origin = Origin(ANSWER)
    edgewise = EdgewiseProcess(TOML.format(origin=origin.address), tmp_path_factory.mktemp("smuggling"))
    yield edgewise, origin
    edgewise.stop()
    origin.stop()


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_an_ambiguous_request_is_refused_and_ends_the_connection(pair: Pair, case: Case) -> None:
    outcome = run_case(*pair, case)
    assert outcome.status in case.statuses
    assert outcome.closed
    assert [data for data in outcome.received if whole_request(data)] == []
    assert all(b"/smuggled" not in data for data in outcome.received)


@pytest.mark.parametrize("case", REPAIRED, ids=lambda case: case.id)
def test_what_is_forwarded_is_framed_anew_and_unambiguous(pair: Pair, case: Case) -> None:
    outcome = run_case(*pair, case)
    assert outcome.status in case.statuses
    received = [without_own_fields(data) for data in outcome.received]
    assert received == ([] if case.forwarded is None else [case.forwarded])
