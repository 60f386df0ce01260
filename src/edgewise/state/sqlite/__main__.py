"""`python -m edgewise.state.sqlite DIRECTORY`: a writer without a supervisor, until its standard input ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgewise.state.sqlite.writer import Writer, WriterError


def main() -> int:
    """Serve; print one line once ready. Return the exit status."""
    try:
        writer = Writer(Path(sys.argv[1]), full="--full" in sys.argv[2:])
    except WriterError as error:
        print(error, file=sys.stderr)
        return 1
    writer.watch(0, lambda: None if os.read(0, 4096) else writer.stop())
    print("ready", flush=True)
    writer.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
