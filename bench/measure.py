"""Rounds: every scenario with every proxy, in an order that changes from round to round, and their medians."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.arena import Arena
from bench.checks import check
from bench.load import wrk
from bench.peers import Peer, Running
from bench.processes import tail
from bench.scenarios import Sample, Scenario

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a run does. Proxies outside the goals to nginx and HAProxy are timed for `minor` of the seconds."""

    scenarios: Sequence[Scenario]
    peers: Sequence[Peer]
    rounds: int = 3
    seconds: float = 5
    minor: float = 0.4
    minutes: float = 20


@dataclass
class Results:
    """Samples by scenario and peer, with versions and what failed."""

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    rounds: int = 0
    seconds: float = 0

    def median(self, scenario: str, peer: str) -> Sample | None:
        """The median of each figure; errors are summed. None without samples."""
        samples = self.samples.get(scenario, {}).get(peer)
        if not samples:
            return None
        middle = {
            name: statistics.median(getattr(sample, name) for sample in samples)
            for name in ("value", "p99_ms", "rate", "busy")
        }
        return Sample(**middle, errors=sum(sample.errors for sample in samples))

    def ratio(self, scenario: Scenario, peer: str, baseline: str | None = None) -> float | None:
        """The peer's median to the baseline's; None when either is missing."""
        own = self.median(scenario.name, peer)
        other = self.median(scenario.name, baseline or scenario.baseline)
        return own.value / other.value if own and other and other.value else None

    def as_json(self) -> dict[str, Any]:
        """Plain values for a results file."""
        return {
            "versions": self.versions,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "failures": self.failures,
            "samples": {
                scenario: {peer: [asdict(sample) for sample in samples] for peer, samples in peers.items()}
                for scenario, peers in self.samples.items()
            },
        }


def race(plan: Plan, arena: Arena, say: Say) -> Results:
    """Starts and checks the proxies, then measures until the rounds are done or the minutes are over."""
    results = Results(seconds=plan.seconds)
    deadline = time.monotonic() + plan.minutes * 60
    entrants = _start_all(plan.peers, arena, results, say)
    for number in range(plan.rounds):
        for scenario in plan.scenarios:
            if scenario.fresh and number:
                continue
            for peer in _order(_taking_part(scenario, plan.peers), number):
                if time.monotonic() > deadline:
                    say(f"stopped after {plan.minutes:g} minutes, in round {number + 1}")
                    return results
                if peer.name in entrants:
                    _measure(scenario, peer, entrants, plan, arena, results, say)
        results.rounds = number + 1
    return results


def _start_all(peers: Iterable[Peer], arena: Arena, results: Results, say: Say) -> dict[str, Running]:
    entrants: dict[str, Running] = {}
    for peer in peers:
        try:
            running = arena.proxy(peer)
            check(running, arena)
            ports = [("http", running.http_port), ("https", running.https_port)]
            for scheme, port in ports[:1] if peer.cache_only else ports:
                wrk(f"{scheme}://127.0.0.1:{port}/hello", seconds=1, directory=arena.directory)
        except Exception as error:
            _failed(results, say, f"{peer.name} left out: {error}")
            continue
        entrants[peer.name] = running
        results.versions[peer.name] = peer.describe()
        say(f"{peer.name} {results.versions[peer.name]}: checked")
    return entrants


def _measure(
    scenario: Scenario,
    peer: Peer,
    entrants: dict[str, Running],
    plan: Plan,
    arena: Arena,
    results: Results,
    say: Say,
) -> None:
    """One sample. A failure is noted and does not end the run."""
    seconds = plan.seconds if peer.main or peer.variant else plan.seconds * plan.minor
    try:
        if scenario.fresh:
            running = arena.proxy(peer)
            try:
                sample = scenario.measure(running, arena, seconds)
            finally:
                arena.stop(running)
        else:
            running = entrants[peer.name] = _still_running(entrants[peer.name], arena, results, say)
            sample = scenario.measure(running, arena, seconds)
            if running.log.exists():  # Varnish keeps its log in memory
                os.truncate(running.log, 0)
    except Exception as error:
        _failed(results, say, f"{scenario.name}, {peer.name}: {error}")
        return
    results.samples.setdefault(scenario.name, {}).setdefault(peer.name, []).append(sample)
    noted = f", {sample.errors} errors" if sample.errors else ""
    say(
        f"  {scenario.name:<11} {peer.name:<21} {sample.value:9.2f} {scenario.unit}, "
        f"p99 {sample.p99_ms:.1f} ms, {sample.rate:.0f}/s, busy {sample.busy:.0%}{noted}"
    )


def _still_running(running: Running, arena: Arena, results: Results, say: Say) -> Running:
    """The proxy, started again when it has ended on its own."""
    if running.tree.alive():
        return running
    _failed(results, say, f"{running.name} had ended by itself and was started again\n{tail(running.tree.output)}")
    arena.stop(running)
    return arena.proxy(running.peer)


def _failed(results: Results, say: Say, message: str) -> None:
    results.failures.append(message)
    say(f"! {message}")


def _taking_part(scenario: Scenario, peers: Sequence[Peer]) -> list[Peer]:
    if scenario.peers:
        return [peer for peer in peers if peer.name in scenario.peers]
    return [peer for peer in peers if not (peer.variant or peer.cache_only)]


def _order(peers: list[Peer], number: int) -> list[Peer]:
    """Each round begins with another proxy and every second one runs backwards."""
    if not peers:
        return peers
    shift = number % len(peers)
    turned = peers[shift:] + peers[:shift]
    return turned[::-1] if number % 2 else turned
