"""docs/life-of-a-request.md tells what happens, in the order it happens."""

from __future__ import annotations

import re
from pathlib import Path

from support.in_process import InProcessEngine, place
from support.origin import OK, Origin
from support.raw_http import get

DOCUMENT = Path(__file__).parents[2] / "docs" / "life-of-a-request.md"


def told() -> list[str]:
    """Return the `file:function` of each step of the document, in order."""
    return re.findall(r"^\d+\. .+ -> (\S+\.py:\S+)$", DOCUMENT.read_text(), flags=re.MULTILINE)


def test_the_document_numbers_its_steps_without_gaps() -> None:
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", DOCUMENT.read_text(), flags=re.MULTILINE)]
    assert numbers == list(range(1, len(told()) + 1))


def test_a_real_request_goes_through_the_told_steps_in_order(tmp_path: Path) -> None:
    origin = Origin(OK)
    engine = InProcessEngine(f'[upstreams.app]\nservers = ["{origin.address}"]\n', tmp_path / "access.log")

    def one_request() -> None:
        with engine.client() as client:
            assert client.ask(get("/life")).body == b"ok"

    try:
        happened = [place(code) for code, _ in engine.follow(one_request)]
    finally:
        engine.stop()
        origin.stop()
    after = 0
    for step in told():
        assert step in happened[after:], f"{step} did not follow; from there on ran {happened[after:]}"
        after += happened[after:].index(step) + 1
