"""Purges that race with fills which began before them: prints how many answers were stale, and how long purges took.

    python tools/purge_race.py [--tries 10000] [--at-once 32] [--disk]

What a try is, is told in tests/support/purge_race.py. The exit code is 1 when an answer was stale.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.purge_race import race


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--disk", action="store_true", help="answers are kept on disk too, for both workers")
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        outcome = asyncio.run(race(Path(name), arguments.tries, arguments.at_once, disk=arguments.disk))
    found = sorted(1000 * seconds for seconds in outcome.purges)
    p99 = found[int(len(found) * 0.99)]
    print(f"{outcome.tries} tries, {arguments.at_once} at once, in {time.perf_counter() - began:.0f} s")
    print(f"stale answers after the acknowledgement: {outcome.stale} of {outcome.answers}")
    print(f"acknowledged by both workers in {statistics.median(found):.1f} ms (median), {p99:.1f} ms (p99)")
    return bool(outcome.stale)


if __name__ == "__main__":
    sys.exit(main())
