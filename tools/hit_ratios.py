"""Prints the hit ratios of the memory store's eviction (SIEVE, and with `second_hit`) beside LRU on traces of requests.

python tools/hit_ratios.py TRACE...     # text, or .xz: a line a request, `key`, or `time key bytes`
"""

from __future__ import annotations

import lzma
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from edgewise.cache.admission import Probation
from edgewise.cache.sieve import Sieve

SHARES = (0.01, 0.1)
"""Sizes of the cache, as parts of the trace's footprint."""

Trace = list[tuple[str, int]]
"""Key and bytes of each request."""


class Entry:
    """An object that was only counted."""

    __slots__ = ("key", "newer", "older", "size", "trial", "visited")

    def __init__(self, key: str, size: int) -> None:
        self.key = key.encode()
        self.size = size
        self.visited = False
        self.trial = 0
        self.newer: Entry | None = None
        self.older: Entry | None = None


def read(path: Path) -> Iterator[tuple[str, int]]:
    """Yield key and size of each request; one where the trace has no sizes."""
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as lines:
        for line in lines:
            parts = line.split()
            yield (parts[1], int(parts[2])) if len(parts) == 3 else (parts[0], 1)


def footprint(trace: Trace) -> int:
    """Return the bytes of all objects together, each as large as it last was."""
    return sum(dict(trace).values())


def sieve(trace: Trace, bound: int, *, second_hit: bool = False) -> float:
    """Return the hit ratio of SIEVE bounded by bytes."""
    order: Sieve[Entry] = Probation(bound) if second_hit else Sieve()
    there: dict[bytes, Entry] = {}
    used = hits = 0
    for key, size in trace:
        entry = there.get(key.encode())
        if entry is not None:
            entry.visited = True
            hits += 1
            continue
        if size > bound:
            continue
        while used + size > bound:
            victim = order.victim()
            order.remove(victim)
            used -= there.pop(victim.key).size
        entry = Entry(key, size)
        there[entry.key] = entry
        order.add(entry)
        used += size
    return hits / len(trace)


def lru(trace: Trace, bound: int) -> float:
    """Return the hit ratio of least recently used, bounded by bytes."""
    there: OrderedDict[str, int] = OrderedDict()
    used = hits = 0
    for key, size in trace:
        if key in there:
            there.move_to_end(key)
            hits += 1
            continue
        if size > bound:
            continue
        while used + size > bound:
            used -= there.popitem(last=False)[1]
        there[key] = size
        used += size
    return hits / len(trace)


def main(paths: list[str]) -> int:
    """Print the table; the exit code is 1 where LRU is better than either."""
    worse = 0
    print(f"{'trace':<24} {'requests':>8} {'footprint':>14} {'cache':>6} {'LRU':>7} {'SIEVE':>7} {'2nd hit':>8}")
    for path in map(Path, paths):
        trace = list(read(path))
        whole = footprint(trace)
        for share in SHARES:
            bound = int(whole * share)
            ours, theirs, admitted = sieve(trace, bound), lru(trace, bound), sieve(trace, bound, second_hit=True)
            worse += min(ours, admitted) <= theirs
            ratios = f"{theirs:>7.2%} {ours:>7.2%} {admitted:>8.2%}"
            print(f"{path.name:<24} {len(trace):>8} {whole:>14} {share:>6.0%} {ratios}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
