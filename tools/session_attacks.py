"""Prints the table of attacks on sessions and what came of each. Exit code 1 where one succeeded.

python tools/session_attacks.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.jwt_attacks import JWT_ATTACKS, JWT_KINDS
from support.session_attacks import ATTACKS, run_attack, server_in, what_it_is


def main() -> int:
    """Run every attack on each kind of sessions that it concerns; the exit code."""
    runs = [(attack, ("stateful", "stateless", *JWT_KINDS)) for attack in ATTACKS]
    runs += [(attack, JWT_KINDS) for attack in JWT_ATTACKS]
    successes = 0
    with tempfile.TemporaryDirectory() as directory:
        server = server_in(Path(directory))
        try:
            for attack, kinds in runs:
                print(f"\n{attack.__name__.replace('_', ' ')}: {what_it_is(attack)}")
                for kind in kinds:
                    try:
                        outcome = run_attack(attack, kind, server)
                    except AssertionError as error:
                        successes += 1
                        outcome = f"SUCCEEDED  {error}"
                    print(f"  {kind:<10} {outcome}")
        finally:
            server.kill()
    total = sum(len(kinds) for _, kinds in runs)
    print(f"\n{len(runs)} attacks, {total} runs on the kinds of sessions that they concern, {successes} succeeded")
    return 1 if successes else 0


if __name__ == "__main__":
    sys.exit(main())
