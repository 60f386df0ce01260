"""Real engines for tests: the embedded writer as a process, and servers from wheels, each on a directory it keeps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgewise.contracts.state import StateEngine
from edgewise.state.sqlite.engine import SqliteEngine


class SqliteServer:
    """The embedded engine's writer, as the supervisor would run it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "s"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What `state.url` would be."""
        return f"sqlite:{self.directory}"

    def start(self) -> None:
        """Start, and wait until it serves."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgewise.state.sqlite", str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    async def make(self) -> StateEngine:
        """Return a new client."""
        return SqliteEngine(self.directory)
