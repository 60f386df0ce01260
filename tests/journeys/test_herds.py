"""Many clients that ask for one slow object at once: the origin gets one request. tools/herd.py shows it as a table."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.herd import SCRIPTS, Outcome, Wire, herd, pasture

CLIENTS = {Wire.PLAIN: 300, Wire.TLS: 100, Wire.HTTP2: 500}
"""The tool has a thousand of each."""


async def outcomes(directory: Path, wire: Wire) -> dict[str, Outcome]:
    """Return what came of a herd for each of the origin's ways to answer."""
    async with pasture(directory) as (edgewise, origin):
        return {script.__name__: await herd(edgewise, origin, wire, script, CLIENTS[wire]) for script in SCRIPTS}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("wire", Wire)
def test_clients_that_ask_at_once_are_one_request_unless_the_answer_is_for_one_of_them(
    wire: Wire, tmp_path: Path
) -> None:
    clients = CLIENTS[wire]
    found = asyncio.run(outcomes(tmp_path, wire))
    for script in ("slow", "streaming", "dripping"):
        assert (found[script].requests.all, dict(found[script].answers)) == (1, {"whole": clients}), script
    left = found["slow_without_the_first"]
    assert (left.requests.all, dict(left.answers)) == (1, {"whole": clients - 1})
    private = found["private"]
    assert (private.requests.all, dict(private.answers)) == (clients, {"whole": clients})
    assert private.requests.most > 20, "the others do not wait for one another"
    assert dict(found["failing"].answers) == {"502": clients}
    assert found["failing"].requests.most == 1, "all wait for one try after the other"
    assert (found["breaking_off"].requests.all, dict(found["breaking_off"].answers)) == (1, {"cut off": clients})
