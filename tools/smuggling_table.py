"""Prints the smuggling table: each class, the answer, and the bytes the origin received. Exit code 1 on a surprise.

python tools/smuggling_table.py [--all]     # --all: every case, else one line for the refused of each class
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.edgewise_process import EdgewiseProcess
from support.origin import Origin
from support.smuggling import ANSWER, CASES, TOML, Case, Outcome, run_case, whole_request, without_own_fields


def surprising(case: Case, outcome: Outcome) -> bool:
    """Did something else happen than the table promises?"""
    if outcome.status not in case.statuses:
        return True
    if case.refuse:
        leaked = any(whole_request(data) or b"/smuggled" in data for data in outcome.received)
        return leaked or not outcome.closed
    expected = [] if case.forwarded is None else [case.forwarded]
    return [without_own_fields(data) for data in outcome.received] != expected


def short(data: bytes, limit: int = 110) -> str:
    """Return bytes for reading, cut in the middle."""
    text = repr(data)[2:-1]
    return text if len(text) <= limit else f"{text[: limit // 2]}...{text[-limit // 3 :]}"


def show(case: Case, outcome: Outcome) -> None:
    """Print one row."""
    end = "and close" if outcome.closed else ""
    mark = "  <-- SURPRISE" if surprising(case, outcome) else ""
    print(f"  {case.name:<45} {outcome.status} {end}{mark}")
    print(f"      sent      {short(case.request)}")
    for data in outcome.received or [b""]:
        print(f"      received  {short(without_own_fields(data)) if data else '(nothing)'}")


def main(everything: bool) -> int:
    """Run all cases against a fresh edgewise; the exit code."""
    origin = Origin(ANSWER)
    surprises = 0
    with tempfile.TemporaryDirectory() as directory:
        edgewise = EdgewiseProcess(TOML.format(origin=origin.address), Path(directory))
        try:
            family = ""
            for case in sorted(CASES, key=lambda case: case.family):
                outcome = run_case(edgewise, origin, case)
                surprises += surprising(case, outcome)
                if case.family != family:
                    family = case.family
                    of_family = [other for other in CASES if other.family == family]
                    refused = sum(other.refuse for other in of_family)
                    print(f"\n{family}: {refused} refused, {len(of_family) - refused} repaired and forwarded")
                    show(case, outcome)
                elif everything or not case.refuse or surprising(case, outcome):
                    show(case, outcome)
        finally:
            edgewise.stop()
            origin.stop()
    print(f"\n{len(CASES)} cases, {surprises} surprises")
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main("--all" in sys.argv))
