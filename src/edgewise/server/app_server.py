"""One socket of a managed app and the process that serves it: started, watched, replaced."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.server.app_protocol import FAILED
from edgewise.server.listeners import open_unix
from edgewise.server.processes import describe, kill
from edgewise.server.timers import Backoff

if TYPE_CHECKING:
    from edgewise.server.apps import AppSpec
    from edgewise.server.reactor import Reactor

log = logging.getLogger("edgewise.apps")
START_SECONDS = 60.0
"""What an app gets to import itself and to run its startup code."""
_STOP_EXTRA = 2.0
_LINE = 65536
_SOCKET_MODE = 0o600


@dataclass(eq=False)
class AppProcess:
    """A running process of an app."""

    pid: int
    spec: AppSpec
    lifeline: socket.socket
    """Its other end is in the process: a byte comes up when it serves; closing this end stops it."""
    output: int
    """Descriptor of the pipe that its standard streams go to."""
    started: float
    waiting: Callable[[str], None] | None
    """Told once: "" when the process serves, or why it never will."""
    ready: bool = False
    stopping: bool = False
    text: bytes = b""
    """Output not yet ended by a newline."""
    last_line: str = ""


class AppServer:
    """Owns the socket, which outlives its processes: while a process is replaced, requests wait instead of failing.

    The supervisor only binds; the process listens once its startup is done. Until then, connecting is refused, and
    the balancer goes elsewhere.
    """

    def __init__(self, label: str, path: Path, reactor: Reactor) -> None:
        self.label = label
        self._path = path
        self._reactor = reactor
        self._socket: socket.socket | None = None
        self._processes: dict[int, AppProcess] = {}
        self._current: AppProcess | None = None
        self._spec: AppSpec | None = None
        self._backoff = Backoff()
        self._stopped = False
        self._restarts = 0

    def start(self, spec: AppSpec, ready: Callable[[str], None] | None = None) -> None:
        """Start the first process; `ready` is told "" once it serves, or why it does not. Raises OSError."""
        self._spec = spec
        if self._socket is None:
            self._socket = open_unix(str(self._path), _SOCKET_MODE, listen=False)
        self._current = self._spawn(spec, ready)

    def replace(self, spec: AppSpec, ready: Callable[[str], None]) -> None:
        """Start a process for the new `spec` beside the old one; when it serves, the old one finishes and ends."""

        def arrived(error: str) -> None:
            if not error and not self._stopped:
                self._spec, self._current = spec, started
                for process in self._processes.values():
                    if process is not started:
                        self._finish(process)
            ready(error)

        started = self._spawn(spec, arrived)

    def _spawn(self, spec: AppSpec, waiting: Callable[[str], None] | None) -> AppProcess:
        assert self._socket is not None
        ours, theirs = socket.socketpair()
        output, output_end = os.pipe()
        inherited = (self._socket.fileno(), theirs.fileno())
        arguments = [str(number) for number in inherited] + [spec.interface, spec.target, str(spec.stop_seconds)]
        try:
            for descriptor in inherited:
                os.set_inheritable(descriptor, True)
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-m", "edgewise.server.app_process", *arguments],
                {**os.environ, "PYTHONUNBUFFERED": "1", "EDGEWISE_APP_PROCESS": self.label},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output_end, 1),
                    (os.POSIX_SPAWN_DUP2, output_end, 2),
                ],
                setpgroup=0,  # a terminal's Ctrl-C must not reach the app before its requests are done
                setsigdef=[signal.SIGPIPE],
            )
        finally:
            for descriptor in inherited:
                os.set_inheritable(descriptor, False)
            theirs.close()
            os.close(output_end)
        ours.setblocking(False)
        os.set_blocking(output, False)
        process = AppProcess(pid, spec, ours, output, self._reactor.timers.clock(), waiting)
        self._processes[pid] = process
        self._reactor.watch(ours.fileno(), lambda: self._heard(process))
        self._reactor.watch(output, lambda: self._printed(process))
        self._reactor.timers.after(START_SECONDS, lambda: self._too_slow(process))
        return process

    def _heard(self, process: AppProcess) -> None:
        """Take what the process says of its start, or its end of file."""
        try:
            data = process.lifeline.recv(4096)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._reactor.unwatch(process.lifeline.fileno())
        elif data.startswith(FAILED):
            process.last_line = data[len(FAILED) :].decode(errors="replace")
        elif not process.ready:
            process.ready = True
            self._tell(process, "")

    def _tell(self, process: AppProcess, error: str) -> None:
        if process.waiting is not None:
            waiting, process.waiting = process.waiting, None
            waiting(error)

    def _too_slow(self, process: AppProcess) -> None:
        if process.pid in self._processes and not process.ready and not process.stopping:
            process.last_line = f"did not start within {START_SECONDS:.0f} seconds"
            kill(process.pid)

    def _printed(self, process: AppProcess) -> None:
        """Pass on whole lines of the process's output, each with the app's name before it."""
        try:
            data = os.read(process.output, _LINE)
        except BlockingIOError:
            return
        if not data:
            self._reactor.unwatch(process.output)
        *lines, process.text = (process.text + data).split(b"\n")
        if len(process.text) >= _LINE or not data:
            lines, process.text = [*lines, process.text], b""
        for line in lines:
            if line.strip():
                process.last_line = line.decode(errors="replace").rstrip()
                with contextlib.suppress(OSError):  # nobody may be reading any more
                    print(f"[{self.label}] {process.last_line}", file=sys.stderr, flush=True)

    def exited(self, pid: int, status: int) -> bool:
        """Note the end of a process and start another if it was not told to end; False when it is not ours."""
        process = self._processes.pop(pid, None)
        if process is None:
            return False
        self._release(process)
        if process.stopping:
            self._tell(process, "stopped")
        else:
            self._died(process, status)
        if self._stopped and not self._processes:
            self._close()
        return True

    def _died(self, process: AppProcess, status: int) -> None:
        expected = process.waiting is not None
        if expected:
            self._tell(process, f"{process.spec.target} does not start: {process.last_line or describe(status)}")
        else:
            log.error("%s: process %d ended by itself: %s", self.label, process.pid, describe(status))
        if process is not self._current or self._stopped:
            return
        self._current = None
        if not process.ready:
            self._close()  # requests queued here would wait for an app that does not start
            if expected:
                return
        delay = self._backoff.died(self._reactor.timers.clock() - process.started)
        self._reactor.timers.after(delay, self._restart)

    def _restart(self) -> None:
        if self._stopped or self._spec is None or self._current is not None:
            return
        self._restarts += 1
        try:
            self.start(self._spec)
        except OSError as error:
            log.error("%s: cannot start: %s", self.label, error)
            self._reactor.timers.after(self._backoff.died(0.0), self._restart)

    def _release(self, process: AppProcess) -> None:
        self._printed_rest(process)
        self._heard(process)
        self._reactor.unwatch(process.lifeline.fileno())
        self._reactor.unwatch(process.output)
        process.lifeline.close()
        os.close(process.output)

    def _printed_rest(self, process: AppProcess) -> None:
        before = None
        while process.text != before:
            before = process.text
            self._printed(process)

    def _finish(self, process: AppProcess) -> None:
        """Let a process answer what it has, then end."""
        process.stopping = True
        kill(process.pid, signal.SIGTERM)
        self._reactor.timers.after(process.spec.stop_seconds + _STOP_EXTRA, lambda: self._overdue(process))

    def _overdue(self, process: AppProcess) -> None:
        if process.pid in self._processes:
            log.warning("%s: process %d did not stop in time: killed", self.label, process.pid)
            kill(process.pid)

    def stop(self) -> None:
        """Let every process finish, start no more."""
        self._stopped = True
        for process in self._processes.values():
            self._finish(process)
        if not self._processes:
            self._close()

    def kill(self) -> None:
        """End every process now."""
        self._stopped = True
        for process in self._processes.values():
            process.stopping = True
            kill(process.pid)

    def forked(self) -> None:
        """In a fork: close what belongs to the supervisor."""
        for process in self._processes.values():
            process.lifeline.close()
            os.close(process.output)
        if self._socket is not None:
            self._socket.close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    def pids(self) -> list[int]:
        """Return the processes that run."""
        return list(self._processes)

    def state(self, now: float) -> dict[str, Any]:
        """Return what the control process is told; `now` is monotonic, `started` in the answer is Unix time."""
        current = self._current
        return {
            "name": self.label,
            "pid": current.pid if current else 0,
            "ready": current.ready if current else False,
            "restarts": self._restarts,
            "started": time.time() - (now - current.started) if current else 0.0,
        }
