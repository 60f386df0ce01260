"""A real PostgreSQL for tests, from the binaries of this machine."""

from __future__ import annotations

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from support.edgewise_process import free_port

_DEBIAN = Path("/usr/lib/postgresql")
_PATIENCE = 60.0
"""Seconds for the server to start or to stop."""
_PR_SET_PDEATHSIG = 1
_USERS = ("postgres", "nobody")
"""Of the system; the server refuses to run as root."""


def binaries() -> Path | None:
    """Return the directory of initdb and postgres: that of the path, or Debian's newest; None where there is none."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = [path for path in _DEBIAN.glob("*/bin") if (path / "initdb").exists()]
    return max(versions, key=lambda path: float(path.parent.name), default=None)


class PostgresServer:
    """A server on a free port and a directory of its own; it trusts whoever comes."""

    def __init__(self, *options: str) -> None:
        """`options` are those of the server; by default it does not sync, which is for crashes of the machine."""
        programs = binaries()
        assert programs is not None
        self._programs = programs
        self._options = options or ("-c", "fsync=off")
        # Not in pytest's directory, which no other user may enter.
        self.directory = Path(tempfile.mkdtemp(prefix="edgewise-postgres-"))
        self.port = free_port()
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._user = next(user for user in _USERS if _exists(user)) if os.getuid() == 0 else None
        if self._user is not None:
            shutil.chown(self.directory, self._user)
        self._run("initdb", "-D", str(self.data), "-A", "trust", "-U", "edgewise", "-E", "UTF8", "--no-sync")

    @property
    def data(self) -> Path:
        """The directory of the cluster."""
        return self.directory / "data"

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://edgewise@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=self.directory, timeout=_PATIENCE)

    def start(self) -> None:
        """Start, and wait until it serves."""
        command = [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1"]
        command += ["-c", f"unix_socket_directories={self.directory}", *self._options]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self._user, cwd=self.directory, preexec_fn=_end_with_its_parent
            )
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.directory / "log").read_text()
                assert time.monotonic() < deadline, (self.directory / "log").read_text()
                time.sleep(0.05)

    def database(self) -> str:
        """Make a database; return its URL."""
        name = f"shop_{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def stop(self) -> None:
        """Stop at once, as after a failure of power: the next start recovers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_PATIENCE)
            self._process = None

    def remove(self) -> None:
        """Stop, and remove what it kept."""
        self.stop()
        shutil.rmtree(self.directory)


def _end_with_its_parent() -> None:
    """Have the kernel end the server where the tests are killed: nobody else would."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
