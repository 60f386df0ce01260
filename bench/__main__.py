"""`python -m bench`: races edgewise against the proxies found on this machine."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench import report
from bench.arena import Arena, open_arena
from bench.measure import Plan, Results, race
from bench.peers import COMPILED, PEERS, SOURCE
from bench.scenarios import SCENARIOS

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Exit status 0 when every proxy that was asked for was measured in everything, else 1."""
    arguments = parse()
    plan = make_plan(arguments)
    if stale():
        say("! build/compiled is older than the source: what is called compiled below is not this state. make compiled")
    with open_arena() as arena:
        say(describe(arena, plan))
        results = race(plan, arena, say)
    print("\n" + report.plain(results))
    save(results, arguments.json)
    if arguments.write_docs:
        report.write(results, taken(plan, results))
        say(f"wrote {report.DOCUMENT.name}")
    return 1 if results.failures else 0


def parse() -> argparse.Namespace:
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", metavar="SCENARIO,…", help=f"some of: {names}")
    known = ", ".join(name for name, peer in PEERS.items() if not peer.variant)
    parser.add_argument("--peers", metavar="PEER,…", help=f"some of: {known} (default: those found)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of load for one sample (default: 5)")
    parser.add_argument("--minutes", type=float, default=20, help="no sample begins after this time (default: 20)")
    parser.add_argument("--quick", action="store_true", help="one round of 2 seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go (default: bench/results/)")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    return parser.parse_args()


def make_plan(arguments: argparse.Namespace) -> Plan:
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}
    chosen = pick(arguments.only, scenarios, list(scenarios), "scenario")
    found = [name for name, peer in PEERS.items() if peer.find() is not None]
    peers = pick(arguments.peers, PEERS, found, "peer")
    wanted = {name for scenario in chosen for name in scenarios[scenario].peers if "edgewise" in peers}
    return Plan(
        scenarios=[scenarios[name] for name in chosen],
        peers=[peer for name, peer in PEERS.items() if (name in wanted if peer.variant else name in peers)],
        rounds=1 if arguments.quick else arguments.rounds,
        seconds=2 if arguments.quick else arguments.seconds,
        minutes=arguments.minutes,
    )


def stale() -> bool:
    """Has the source changed since `make compiled`?"""
    stamp = COMPILED / ".built"
    return stamp.exists() and any(path.stat().st_mtime > stamp.stat().st_mtime for path in SOURCE.rglob("*.py"))


def pick(asked: str | None, known: Mapping[str, object], default: list[str], what: str) -> list[str]:
    """The names asked for, in the order of `known`; ends the program on an unknown one."""
    if asked is None:
        return default
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in known:
            raise SystemExit(f"no {what} {name!r}; there are: {', '.join(known)}")
    return [name for name in known if name in names]


def describe(arena: Arena, plan: Plan) -> str:
    peers = ", ".join(peer.name for peer in plan.peers)
    return (
        f"proxies on core {arena.proxy_core}, load and origins on core {arena.load_core}; {plan.rounds} rounds of "
        f"{plan.seconds:g} s; {peers}"
    )


def taken(plan: Plan, results: Results) -> str:
    """One sentence on when and on what the results were taken."""
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    return (
        f"Taken on {day}: samples of {plan.seconds:g} s in {results.rounds} round(s), {processor()}, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}."
    )


def processor() -> str:
    """The processor's model name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def save(results: Results, path: Path | None) -> None:
    if path is None:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / datetime.now(UTC).strftime("%Y%m%d-%H%M%S.json")
    path.write_text(json.dumps(results.as_json(), indent=1))
    say(f"results: {path}")


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
