"""A thousand clients that ask for one slow object at once: how many requests its origin gets, and what the clients get.

    python tools/herd.py [--clients 1000]

One worker of a real edgewise; HTTP/1.1, the same over TLS, HTTP/2. What the origin does in each row is told in
tests/support/herd.py.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.herd import SCRIPTS, Wire, herd, pasture


async def show(count: int) -> None:
    """Print a row a wire and script."""
    print(f"{'clients':<20} {'origin':<24} {'requests':>8} {'at once':>8} {'seconds':>8}  answers")
    with tempfile.TemporaryDirectory() as name:
        async with pasture(Path(name)) as (edgewise, origin):
            for wire in Wire:
                for script in SCRIPTS:
                    found = await herd(edgewise, origin, wire, script, count)
                    answers = ", ".join(f"{number} {what}" for what, number in sorted(found.answers.items()))
                    numbers = f"{found.requests.all:>8} {found.requests.most:>8} {found.seconds:>8.2f}"
                    print(f"{wire:<20} {script.__name__.replace('_', ' '):<24} {numbers}  {answers}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(show(parser.parse_args().clients))
    return 0


if __name__ == "__main__":
    sys.exit(main())
