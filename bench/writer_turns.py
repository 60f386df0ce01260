"""A writer of the embedded state that tells how long its turns took. `python -m bench.writer_turns DIRECTORY`.

As `python -m edgewise.state.sqlite`, but for each line that it reads it prints a JSON list of milliseconds: the times
since the last line from each wake-up to the next wait, in which it answers nobody else. What it spent waiting for a
processor that others had is taken off.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from edgewise.state.sqlite.writer import Writer


class TimedWriter(Writer):
    """Times its turns."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.turns: list[float] = []
        self._woken = 0.0
        self._schedule = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._select, self._selector.select = self._selector.select, self._timed  # type: ignore[method-assign]

    def _now(self) -> float:
        """Return milliseconds, without those in which this thread could have run and did not."""
        waited = int(os.pread(self._schedule, 100, 0).split()[1])
        return (time.perf_counter_ns() - waited) / 1e6

    def _timed(self, timeout: float | None = None):  # type: ignore[no-untyped-def]
        if self._woken:
            self.turns.append(self._now() - self._woken)
        events = self._select(timeout)
        self._woken = self._now()
        return events


def main() -> None:
    """Serve until standard input ends."""
    writer = TimedWriter(Path(sys.argv[1]))

    def heard() -> None:
        if os.read(0, 4096):
            print(json.dumps([round(turn, 3) for turn in writer.turns]), flush=True)
            writer.turns.clear()
        else:
            writer.stop()

    writer.watch(0, heard)
    print("ready", flush=True)
    writer.run()


if __name__ == "__main__":
    main()
