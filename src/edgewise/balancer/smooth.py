"""Smooth weighted turns: every prefix of the sequence holds each participant's share to within one turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import cycle, islice, repeat

from edgewise.balancer.options import reduced
from edgewise.contracts.endpoint import Endpoint

LONGEST_CYCLE = 4096
"""Turns precomputed at most; a longer cycle is generated turn by turn in O(log n)."""


def smooth_turns(weights: Sequence[int]) -> Iterator[int]:
    """Yield indexes for ever, so that after t turns index i came floor or ceil of t * weight / total times.

    Each turn of a participant is a unit of work with a window of time slots; the earliest deadline goes first
    (proportionate fairness: Baruah, Cohen, Plaxton and Varvel, 1996; the windows of one resource always fit).
    """
    total = sum(weights)
    released = [(0, index, 0) for index in range(len(weights))]
    due: list[tuple[int, int, int]] = []
    slot = 0
    while True:
        while released and released[0][0] <= slot:
            _, index, turn = heappop(released)
            heappush(due, (-((turn + 1) * total // -weights[index]), index, turn))
        _, index, turn = heappop(due)
        yield index
        slot += 1
        heappush(released, ((turn + 1) * total // weights[index], index, turn + 1))


def take_turns(
    endpoints: Sequence[Endpoint], weights: Sequence[int], start: float = 0.0
) -> Callable[[], Endpoint | None]:
    """Return a function whose calls go round `endpoints` smoothly; it returns None where there are none.

    `start`, in [0, 1), is where in the cycle the calls begin.
    """
    if not endpoints:
        return repeat(None).__next__
    weights = reduced(weights)
    total = sum(weights)
    turns = smooth_turns(weights)
    if total > LONGEST_CYCLE:
        return map(endpoints.__getitem__, turns).__next__
    once = [endpoints[index] for index in islice(turns, total)]
    first = int(start * total)
    return cycle(once[first:] + once[:first]).__next__
