"""The results as a table for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Results
from bench.peers import PEERS
from bench.scenarios import BYTES, SCENARIOS, Sample, Scenario

DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results: written by python -m bench --write-docs -->", "<!-- end of results -->"
SUBJECT = "edgewise"
PURE = "edgewise-pure"
OTHERS = "/ cheapest of Envoy, Traefik, Caddy (goal ≤ 0.5)"


def markdown(results: Results) -> str:
    """One row a scenario: medians, the ratio to the baseline and the goal; a second table with p99."""
    peers = [name for name in PEERS if name in results.versions and not PEERS[name].variant]
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in results.samples]
    subject = SUBJECT if SUBJECT in peers else peers[0] if peers else SUBJECT
    compared = [name for name in (subject, PURE) if name in peers]
    titles = [f"{PEERS[name].program} {results.versions[name]}" for name in peers]
    ratios = [f"{'not compiled' if name == PURE else name} / nginx" for name in compared]
    lines = [
        _row(["work", "unit", *titles, *ratios, "goal", OTHERS]),
        _row(["---", "---", *("---:" for _ in (*peers, *compared)), "---", "---:"]),
    ]
    for scenario in scenarios:
        lines.append(_row(_figures(results, scenario, peers, compared)))
    timed = [scenario for scenario in scenarios if not scenario.fresh]
    lines += ["", _row(["p99, ms", *titles]), _row(["---", *("---:" for _ in peers)])]
    for scenario in timed:
        cells = (results.median(scenario.name, name) for name in peers)
        lines.append(_row([scenario.title, *(f"{cell.p99_ms:.1f}" if cell else "" for cell in cells)]))
    lines += ["", *_flood(results), *_failures(results)]
    return "\n".join(lines).rstrip() + "\n"


def write(results: Results, taken: str) -> None:
    """Replaces the results between the markers of docs/benchmarks.md; raises ValueError when it has none."""
    text = DOCUMENT.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{DOCUMENT.name} has no place for results")
    block = f"{BEGIN}\n{taken}\n\n{markdown(results)}{END}"
    DOCUMENT.write_text(re.sub(re.escape(BEGIN) + r".*" + re.escape(END), lambda _: block, text, flags=re.S))


def plain(results: Results) -> str:
    """The same tables with columns aligned."""
    rows = [line.strip("|").split("|") if line.startswith("|") else [line] for line in markdown(results).splitlines()]
    aligned: list[str] = []
    for begin, end in _blocks(rows):
        block = [[cell.strip() for cell in row] for row in rows[begin:end]]
        widths = [max(len(row[i]) for row in block if len(row) > i) for i in range(len(block[0]))]
        for row in block:
            if set("".join(row)) <= set("-:"):
                aligned.append("  ".join("-" * width for width in widths))
            else:
                aligned.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return "\n".join(aligned)


def _figures(results: Results, scenario: Scenario, peers: Sequence[str], compared: Sequence[str]) -> list[str]:
    cells = []
    for name in peers:
        sample = results.median(scenario.name, name)
        cells.append(_value(scenario, sample) if sample else "")
    ratios = [results.ratio(scenario, name, "nginx") for name in compared]
    others = [results.ratio(scenario, compared[0], name) for name in peers if compared and not PEERS[name].main]
    highest = max((other for other in others if other is not None), default=None)
    against = f"{highest:.2f}" if highest is not None else ""
    shown = (f"{ratio:.2f}" if ratio is not None else "" for ratio in ratios)
    return [scenario.title, scenario.unit, *cells, *shown, _goal(results, scenario), against]


def _goal(results: Results, scenario: Scenario) -> str:
    own = results.median(scenario.name, SUBJECT)
    if scenario.goal_value is not None:
        reached = own is not None and own.value <= scenario.goal_value
        return f"≤ {scenario.goal_value:.0f} {scenario.unit.split()[0]}" + _verdict(own, reached)
    if scenario.goal is None or PEERS[scenario.baseline].variant:
        return ""
    ratio = results.ratio(scenario, SUBJECT)
    to = "" if scenario.baseline == "nginx" else f" of {scenario.baseline} ({ratio:.2f})" if ratio else ""
    return f"≤ {scenario.goal}{to}" + _verdict(own, ratio is not None and round(ratio, 2) <= scenario.goal)


def _verdict(own: Sample | None, reached: bool) -> str:
    return "" if own is None else ", reached" if reached else ", missed"


def _value(scenario: Scenario, sample: Sample) -> str:
    errors = f" ({sample.errors} errors)" if sample.errors else ""
    if scenario.name == "rest":
        return f"{sample.value / 1e6:.1f} M{errors}"
    digits = 0 if scenario.unit == BYTES else 3 if sample.value < 3 else 1
    return f"{sample.value:.{digits}f}{errors}"


def _flood(results: Results) -> list[str]:
    """The row that shows what a flood of unique heads costs with the memo, against none."""
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "flood")
    ratio = results.ratio(scenario, SUBJECT)
    if ratio is None:
        return []
    own, other = results.median("flood", SUBJECT), results.median("flood", scenario.baseline)
    assert own is not None
    assert other is not None
    return [
        f"A flood of heads with nothing in common costs edgewise {own.value:.1f} µs a request with its memo and "
        f"{other.value:.1f} µs with `memo_entries = 0`: {ratio:.2f} of it.",
        "",
    ]


def _failures(results: Results) -> list[str]:
    return [f"- not measured: {failure.splitlines()[0]}" for failure in results.failures]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _blocks(rows: list[list[str]]) -> list[tuple[int, int]]:
    """Spans of consecutive rows with the same number of cells."""
    spans: list[tuple[int, int]] = []
    begin = 0
    for at in range(1, len(rows) + 1):
        if at == len(rows) or len(rows[at]) != len(rows[begin]):
            spans.append((begin, at))
            begin = at
    return spans
