"""Runs the Autobahn WebSocket cases (those of PyPI's kosoku) against an echo server: directly, then through edgewise.

python tools/websocket_conformance.py [--exclude CASE ...] [CASE ...]

Cases are numbers or patterns such as "1.*"; by default all 517 run, which takes minutes. Printed are the counts of both
runs and each case whose outcome differs. The exit code is 1 when a case passed directly and failed through edgewise:
what the echo server (PyPI's websockets) itself gets wrong is no fault of the relay's.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.autobahn import Outcomes, compare, worse


def show(title: str, outcomes: Outcomes) -> None:
    """Print the counts of a run, and its failures."""
    passed = sum(outcome.passed for outcome in outcomes.values())
    print(f"{title}: {passed}/{len(outcomes)} passed (messages / closing)")
    for words, count in Counter(outcome.words for outcome in outcomes.values()).most_common():
        print(f"  {count:4} {words}")
    for case, outcome in outcomes.items():
        if not outcome.passed:
            print(f"  {case} failed: {outcome.reason}")


def main() -> int:
    """Run what the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(description="Autobahn WebSocket cases, directly and through edgewise")
    parser.add_argument("cases", nargs="*", metavar="CASE", help='such as "1.1.1", "12.*"; default: all')
    parser.add_argument("--exclude", action="append", metavar="CASE", help="cases to leave out")
    arguments = parser.parse_args()
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    direct, proxied = asyncio.run(compare(arguments.cases or None, arguments.exclude))
    show("direct", direct)
    show("through edgewise", proxied)
    for case, outcome in direct.items():
        if outcome.words != proxied[case].words:
            print(f"{case} differs: {outcome.words}, through edgewise {proxied[case].words}")
    return 1 if worse(direct, proxied) else 0


if __name__ == "__main__":
    sys.exit(main())
