"""Starts `edgewise run` by forking a process that has imported it: most of the time of a start is imports.

Tests start it a thousand times. What is forked runs the same command as one that is executed, in an environment, a
directory and with streams of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from select import select
from types import FrameType
from typing import IO, Any

_MOST = 65536
_IMPORTED = (
    "edgewise.cli.serving",
    "edgewise.server.supervisor",
    "edgewise.server.worker",
    "edgewise.server.controller",
)


class Started:
    """A process, told about as `subprocess.Popen` does."""

    def __init__(self, pid: int, status: IO[bytes]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it ended. Raises TimeoutExpired."""
        if self.returncode is None:
            if not select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("edgewise", timeout or 0.0)
            with self._status:
                self.returncode = int(self._status.read())
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Preloaded:
    """The process that forks; ends with this one."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            command = [sys.executable, str(Path(__file__)), str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)

    def alive(self) -> bool:
        """Is it still there to be asked?"""
        return self._process.poll() is None

    def start(self, arguments: list[str], streams: IO[bytes], directory: Path, environment: dict[str, str]) -> Started:
        """Run edgewise with these arguments."""
        reading, writing = os.pipe()
        wanted = json.dumps([arguments, str(directory), environment]).encode()
        assert len(wanted) <= _MOST
        socket.send_fds(self._socket, [wanted], [streams.fileno(), writing])
        os.close(writing)
        return Started(int(self._socket.recv(32)), open(reading, "rb"))


_preloaded: list[Preloaded] = []


def start(arguments: list[str], streams: IO[bytes], directory: Path, environment: dict[str, str]) -> Started:
    """Run edgewise by this process's preloaded one."""
    if not _preloaded or not _preloaded[0].alive():
        _preloaded[:] = [Preloaded()]
    return _preloaded[0].start(arguments, streams, directory, environment)


def _serve(channel: socket.socket) -> Callable[[], Any]:
    """Fork on request until there is nobody to ask; in a fork, return what it is to run."""
    main: Callable[[], Any] = import_module("edgewise.cli.main").main
    for name in _IMPORTED:
        import_module(name)
    running: dict[int, int] = {}

    def reap(_number: int, _frame: FrameType | None) -> None:
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                out = running.pop(pid)
                os.write(out, b"%d" % os.waitstatus_to_exitcode(status))
                os.close(out)

    signal.signal(signal.SIGCHLD, reap)
    while True:
        wanted, fds, _, _ = socket.recv_fds(channel, _MOST, 2)
        if not wanted:
            sys.exit()
        streams, status = fds
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            channel.close()
            for out in [status, *running.values()]:
                os.close(out)
            arguments, directory, environment = json.loads(wanted)
            _become(arguments, directory, environment, streams)
            return main
        running[pid] = status
        os.close(streams)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        channel.send(b"%d" % pid)


def _become(arguments: list[str], directory: str, environment: dict[str, str], streams: int) -> None:
    """Be as if this process had been executed."""
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["edgewise", *arguments]
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(streams, 1)
    os.dup2(streams, 2)
    os.close(streams)
    if "TZ" in environment:
        time.tzset()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        command = _serve(asked)
    command()
