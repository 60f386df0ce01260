"""Memory in which all workers of a machine count requests for limits: made before the fork, a row a key.

No lock is needed: what a worker admitted stands in a cell of its own, and what all of them write to is either the same
whoever writes it, or off by what two of them admit within the same microsecond, once.
"""

from __future__ import annotations

import mmap
import struct

from edgewise.contracts.shared import SharedCounters

STATE, TOLD, TOTAL, ADMITTED = 2, 5, 6, 7
"""Cells of a row, after the marks of its key and its meter: three of the meter's own, of which the first says when the
row is no different from a new one; the requests that other nodes were told of; the count of all nodes when it was last
seen, -1 for never; what each worker admitted."""
WAYS = 8
"""Rows that a key may have."""


class _Maps:
    """What the processes share."""

    __slots__ = ("changed", "holders", "rows", "under_way")

    def __init__(self, workers: int, rows: int, size: int, under_way: int) -> None:
        self.rows = mmap.mmap(-1, rows * size)
        self.changed = mmap.mmap(-1, rows)
        self.holders = mmap.mmap(-1, under_way * 8)
        self.under_way = SharedCounters(workers, under_way)


class LimitMemory:
    """Rows of keys, in sets of WAYS: a key is in the set that its mark says, or nowhere."""

    __slots__ = (
        "_maps", "_sizes", "alone", "cells", "changed", "counted", "held_sets", "holders", "marks", "own", "row",
        "rows", "sets", "under_way", "worker",
    )  # fmt: skip

    def __init__(
        self, workers: int, rows: int = 131072, under_way: int = 32768, worker: int = 0, maps: _Maps | None = None
    ) -> None:
        """`rows`: keys of rates that are remembered at once; `under_way`: the same of limits of concurrency.

        Both are multiples of WAYS. Memory is taken as it is used.
        """
        self._sizes = workers, rows, under_way
        self.alone = workers == 1
        self.worker = worker
        self.own = ADMITTED + worker
        """The cell of this worker in rows."""
        self.row = struct.Struct(f"QQ{ADMITTED - STATE + workers}d")
        """To read a row at once. It is no way to write: `struct` clears first what it will write, and others see it."""
        self.counted = struct.Struct(f"Q8x3d16x{workers}d")
        """To read of a row what meters need: the mark, the meter's cells, and what each worker admitted."""
        self._maps = maps = maps or _Maps(workers, rows, self.row.size, under_way)
        self.sets = rows // WAYS
        self.rows = maps.rows
        self.cells = memoryview(maps.rows).cast("d")
        """The same to write to: a cell in one instruction."""
        self.marks = memoryview(maps.rows).cast("Q")
        self.changed = maps.changed
        """A byte a row: 1 where requests came of which other nodes may have to be told, or admit some themselves."""
        self.held_sets = under_way // WAYS
        self.holders = memoryview(maps.holders).cast("Q")
        """Marks of the keys that have requests under way."""
        self.under_way = maps.under_way
        """How many, in each worker."""

    def of_worker(self, worker: int) -> LimitMemory:
        """Return the same memory for one of the workers to count in."""
        workers, rows, under_way = self._sizes
        return LimitMemory(workers, rows, under_way, worker, self._maps)

    def find(self, mark: int, meter: int) -> tuple[int, bool]:
        """Return where the row of a key begins, in bytes, and whether it is new: then in place of that which is full
        first."""
        size, cells, marks = self.row.size, self.cells, self.marks
        best, least = 0, float("inf")
        start = mark % self.sets * WAYS * size
        for offset in range(start, start + WAYS * size, size):
            cell = offset // 8
            found = marks[cell]
            if found == mark:
                marks[cell + 1] = meter
                return offset, False
            until = cells[cell + STATE] if found else -1.0
            if until < least:
                best, least = offset, until
        self._begin(best // 8, mark, meter)
        return best, True

    def _begin(self, cell: int, mark: int, meter: int) -> None:
        """Make a row a key's; whoever still takes it for another's sees by the mark that it is not."""
        self.marks[cell] = 0
        self.marks[cell + 1] = meter
        for place in range(cell + STATE, cell + self.row.size // 8):
            self.cells[place] = 0.0
        self.cells[cell + TOTAL] = -1.0
        self.marks[cell] = mark

    def find_held(self, mark: int) -> int:
        """Return the cell of a key's requests under way; -1 where all it could have are in use."""
        start = mark % self.held_sets * WAYS
        free = -1
        for cell in range(start, start + WAYS):
            if self.holders[cell] == mark:
                return cell
            if free < 0 and not self.under_way.sum(cell):
                free = cell
        if free >= 0:
            self.holders[free] = mark
        return free

    def worker_gone(self, worker: int) -> None:
        """Forget what a dead worker had under way. Run before it is replaced."""
        self.under_way.zero(worker)
