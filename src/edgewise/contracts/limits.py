"""Memory in which all workers of a machine count requests for limits: made before the fork, a row a key.

A row of a rate is read and written by every worker, without a lock: what two workers count of the same key within the
same microsecond may be counted once. A cell of what is under way belongs to one worker and is exact.
"""

from __future__ import annotations

import mmap
import struct

from edgewise.contracts.shared import SharedCounters

ROW = 64
"""Bytes of a row: the mark of its key, the mark of its meter, three cells of the meter's own, requests admitted, those
that other nodes were told of, and the count of all nodes when it was last seen (-1: never)."""
WHOLE = struct.Struct("QQdddddd")
COUNTED = struct.Struct("QQdddd")
"""The row up to the requests admitted."""
CELLS = struct.Struct("dddd")
"""A meter's cells and the requests admitted."""
CELLS_AT = 16
TOLD = struct.Struct("ddd")
"""Requests admitted, told, and the count of all nodes."""
TOLD_AT = 40
SHARED_AT = 48
"""Where the last two of them stand."""
WAYS = 8
"""Rows that a key may have."""


class LimitMemory:
    """Rows of keys, in sets of WAYS: a key is in the set that its mark says, or nowhere."""

    __slots__ = ("changed", "held", "marks", "rows", "sets", "under_way", "workers")

    def __init__(self, workers: int, rows: int = 131072, under_way: int = 32768) -> None:
        """`rows`: keys of rates that are remembered at once; `under_way`: the same of limits of concurrency.

        Both are multiples of WAYS. Memory is taken as it is used.
        """
        self.workers = workers
        self.sets = rows // WAYS
        self.rows = mmap.mmap(-1, rows * ROW)
        self.changed = mmap.mmap(-1, rows)
        """A byte a row: 1 where requests were admitted of which other nodes may have to be told."""
        self.held = under_way // WAYS
        """Sets of keys that have requests under way."""
        self.marks = memoryview(mmap.mmap(-1, under_way * 8)).cast("Q")
        self.under_way = SharedCounters(workers, under_way)
        """Requests under way of each key in each worker."""

    def find(self, mark: int, meter: int) -> tuple[int, bool]:
        """Return where the row of a key is, and whether it is new: then in place of the one that is full first."""
        rows, best, least = self.rows, 0, float("inf")
        start = mark % self.sets * WAYS * ROW
        for offset in range(start, start + WAYS * ROW, ROW):
            found, its_meter, until, _, _, _ = COUNTED.unpack_from(rows, offset)
            if found == mark:
                if its_meter != meter:
                    struct.pack_into("Q", rows, offset + 8, meter)
                return offset, False
            if until < least:  # 0.0 where the row was never used
                best, least = offset, until
        WHOLE.pack_into(rows, best, mark, meter, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0)
        return best, True

    def find_held(self, mark: int) -> int:
        """Return the cell of a key's requests under way; -1 where all it could have are in use."""
        start = mark % self.held * WAYS
        free = -1
        for cell in range(start, start + WAYS):
            if self.marks[cell] == mark:
                return cell
            if free < 0 and not self.under_way.sum(cell):
                free = cell
        if free >= 0:
            self.marks[free] = mark
        return free

    def worker_gone(self, worker: int) -> None:
        """Forget what a dead worker had under way. Run before it is replaced."""
        self.under_way.zero(worker)
