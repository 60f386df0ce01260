"""Starts a real `edgewise run` (supervisor, workers, control process) on free loopback ports from a TOML text."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

from support import preloaded
from support.raw_http import PATIENCE, RawClient

COMMAND = str(Path(sys.executable).with_name("edgewise"))

SERVER = """[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
"""
ACCESS_LOG = """
[access_log]
path = "$DIR/access.log"
format = "json"
"""


# Below the ports that the kernel gives to clients, and for each of pytest's parallel processes others.
_FIRST_PORT, _PORTS = 10_000, 2_500
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_ports = itertools.cycle(range(_FIRST_PORT + _process * _PORTS, _FIRST_PORT + (_process + 1) * _PORTS))


def free_port() -> int:
    """Return a TCP port that nothing listens on, and not the same one again soon."""
    for port in itertools.islice(_ports, _PORTS):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


def wait_until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Return the first true value of `condition`; fail with `what` when none comes."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited in vain until {what}")


def wait_settled(value: Callable[[], Any], what: str, seconds: float = 0.5) -> Any:
    """Return a value once it has stayed the same for so long."""
    last, since = value(), time.monotonic()

    def settled() -> bool:
        nonlocal last, since
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > seconds

    wait_until(settled, f"{what} stays the same")
    return last


def wait_for_port(port: int, alive: Callable[[], bool] = lambda: True) -> bool:
    """Wait until something accepts connections on `port`; False when `alive` says it never will."""

    def connects() -> bool:
        if not alive():
            return True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        return False

    wait_until(connects, f"port {port} accepts connections")
    return alive()


class EdgewiseProcess:
    """A running edgewise.

    The text may use $PORT, $TLS_PORT, $ADMIN_PORT and $DIR (the test's directory); a `[server]` table with one worker
    and an `[access_log]` table are added where the text has none.
    """

    def __init__(
        self,
        toml: str,
        directory: Path,
        *,
        env: dict[str, str] | None = None,
        ports: tuple[int, int, int] | None = None,
    ) -> None:
        """`ports` are plain, TLS and admin where they must be known before; else free ones are taken."""
        self.directory = directory
        self.port, self.tls_port, self.admin_port = ports or (free_port(), free_port(), free_port())
        self.config = directory / "edgewise.toml"
        self._stderr = directory / "edgewise.stderr"
        self.write_config(toml)
        arguments = ["run", "-c", str(self.config)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(directory), *filter(None, sys.path)])}
        self.process: subprocess.Popen[bytes] | preloaded.Started
        with self._stderr.open("wb") as stderr:
            if env is None:
                self.process = preloaded.start(arguments, stderr, directory, environment)
            else:  # what is imported may read them
                self.process = subprocess.Popen(
                    [COMMAND, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    cwd=directory,
                    env=environment | env,
                )
        try:
            for port in (self.port, self.tls_port, self.admin_port):
                if f":{port}" in self.config.read_text() and not wait_for_port(port, self.alive):
                    raise AssertionError(f"edgewise ended with {self.process.returncode}:\n{self.log}")
        except AssertionError:
            self.stop()
            print(self.log, file=sys.stderr)
            raise

    def write_config(self, toml: str) -> None:
        """Replace the configuration file (does not reload)."""
        if "[access_log]" not in toml:
            toml = ACCESS_LOG + toml
        if "[server]" not in toml:
            toml = SERVER + toml
        ports = {"PORT": self.port, "TLS_PORT": self.tls_port, "ADMIN_PORT": self.admin_port}
        self.config.write_text(Template(toml).safe_substitute(ports, DIR=str(self.directory)))

    def alive(self) -> bool:
        """Is the supervisor still running?"""
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """What edgewise wrote to its standard streams."""
        return self._stderr.read_text(errors="replace")

    @property
    def access_log(self) -> list[dict[str, Any]]:
        """The JSON access log so far; lines may come up to a second after their answer."""
        path = self.directory / "access.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def wait_access_log(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the access log has `count` lines and return all it has."""
        wait_until(lambda: len(self.access_log) >= count, f"the access log has {count} lines")
        return self.access_log

    def client(self, **options: Any) -> RawClient:
        """Open a raw connection to the first plain listener."""
        return RawClient(("127.0.0.1", self.port), **options)

    def admin(self, path: str, method: str = "GET") -> bytes:
        """Return the content of an answer of the admin address."""
        with RawClient(("127.0.0.1", self.admin_port)) as client:
            request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.admin_port}\r\nContent-Length: 0\r\n"
            answer = client.ask(request.encode() + b"Connection: close\r\n\r\n")
        assert answer.status < 400, (answer.status, answer.body)
        return answer.body

    def tree(self) -> list[int]:
        """Return the process ids of edgewise's processes, the supervisor first."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop(0)
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    todo += [int(child) for child in (task / "children").read_text().split()]
        return found

    def resident(self) -> int:
        """Return the resident bytes of the process tree."""
        page = os.sysconf("SC_PAGE_SIZE")
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in self.tree())

    def reload(self) -> None:
        """Ask for a reload (SIGHUP)."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """Stop edgewise with SIGTERM, with SIGKILL for the whole tree when that does not end it; the exit code."""
        pids = self.tree() if self.alive() else []
        if self.alive():
            self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"edgewise did not stop on SIGTERM:\n{self.log}") from None
