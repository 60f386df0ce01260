"""Forking and running children of the supervisor."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgewise.server.channel import Channel
from edgewise.server.messages import ToChild, ToSupervisor
from edgewise.server.timers import Backoff

if TYPE_CHECKING:
    from edgewise.server.timers import Timers

FAILED_TO_START = 3
"""Exit status of a child that told its `Ready` message's error."""
_CHILD_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Sent to the whole process group by a terminal or an operator; only the supervisor acts on them."""

ChildMain = Callable[[Channel[ToChild]], int]
"""Runs a child to its end; returns its exit status."""


@dataclass
class Child:
    """A forked process and its channel. The record outlives the process: a replacement takes it over."""

    name: str
    slot: int | None
    """The worker's index; None for the control process."""
    main: ChildMain
    backoff: Backoff = field(default_factory=Backoff)
    pid: int = 0
    """0 while no process runs."""
    channel: Channel[ToSupervisor] | None = None
    started: float = 0.0
    """Monotonic seconds."""
    ready: bool = False
    restarts: int = 0
    error: str = ""
    """Why the process could not start."""

    def state(self, now: float) -> dict[str, Any]:
        """Return what the control process is told; `now` is monotonic, `started` in the answer is Unix time."""
        return {
            "name": self.name,
            "slot": self.slot,
            "pid": self.pid,
            "ready": self.ready,
            "restarts": self.restarts,
            "started": time.time() - (now - self.started) if self.pid else 0.0,
        }


def start(child: Child, timers: Timers, in_child: Callable[[], None]) -> None:
    """Fork `child.main`; `in_child` first closes there what belongs to the supervisor alone. Raises OSError.

    The fork holds no other process's end of a channel, so a supervisor that dies, however it dies, is an end of file
    on every child's channel, upon which the child drains and exits.
    """
    parent_end, child_end = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # keeps the pages of what is there now shared: a collection in the child would write to them all
    pid = os.fork()
    if pid == 0:
        os._exit(_run(child, parent_end, child_end, in_child))
    gc.unfreeze()
    child_end.close()
    child.pid = pid
    child.started = timers.clock()
    child.ready = False
    child.error = ""
    child.channel = Channel(parent_end, ToSupervisor)  # type: ignore[arg-type]


def _run(child: Child, parent_end: socket.socket, child_end: socket.socket, in_child: Callable[[], None]) -> int:
    """Run the child's own part; never raises, never returns to the supervisor's code."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in _CHILD_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        parent_end.close()
        in_child()
        channel: Channel[ToChild] = Channel(child_end, ToChild)  # type: ignore[arg-type]
        status = child.main(channel)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return status


def reap() -> list[tuple[int, int]]:
    """Return (pid, exit status; negative for a signal) of each child process that ended, waiting for none."""
    ended = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            break
        ended.append((pid, os.waitstatus_to_exitcode(status)))
    return ended


def describe(status: int) -> str:
    """Say how a process ended: "exit status 1" or "signal SIGKILL"."""
    if status < 0:
        try:
            return f"signal {signal.Signals(-status).name}"
        except ValueError:
            return f"signal {-status}"
    return f"exit status {status}"


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to one process; a process that is gone is no error."""
    if pid <= 0:
        return
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
