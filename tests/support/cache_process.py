"""A process that calls a cached function once told to. `python cache_process.py URL FILE SECONDS LEASE`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from edgewise.contrib.cache import AppCache, cached
from edgewise.sessions import StateSettings


class CacheProcess:
    """One such process, seen from a test."""

    def __init__(self, url: str, file: Path, seconds: float, lease: float) -> None:
        """Its function notes each call in `file` and takes `seconds`."""
        command = [sys.executable, str(Path(__file__)), url, str(file), str(seconds), str(lease)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def call(self) -> None:
        """Have it call."""
        assert self._process.stdin is not None
        self._process.stdin.write("call\n")
        self._process.stdin.flush()

    def result(self) -> str:
        """Return what its call returned."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.communicate()


def _serve(url: str, file: str, seconds: float, lease: float) -> None:
    cache = AppCache(state=StateSettings(url=url, patience=15.0))

    @cached(600, lease=lease, cache=cache, name="made")
    def made(number: int) -> str:
        with open(file, "a") as calls:
            calls.write(f"{number}\n")
        time.sleep(seconds)
        return f"made of {number}"

    cache.get("connected")
    print("ready", flush=True)
    for _line in sys.stdin:
        print(made(1), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
