"""Process trees: started on a chosen core, their CPU time and memory read from /proc, always ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def cores() -> tuple[int, int]:
    """The core for the proxy and the core for everything else (the same one on a single-core machine)."""
    available = sorted(os.sched_getaffinity(0))
    return available[-1], available[0]


class Tree:
    """A started command with all its descendants, in a session of its own.

    Ending the harness, even by SIGKILL, ends the command: the kernel signals it when its parent dies.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int,
        cwd: Path,
        output: Path,
        name: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name or Path(command[0]).name
        self.output = output
        with output.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=_on_core(core),
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def pids(self) -> list[int]:
        """The root, its descendants, and whatever else lives in the root's session."""
        parents: dict[int, int] = {}
        members = {self.pid}
        for pid, fields in _all_stats():
            parents[pid] = int(fields[1])
            if int(fields[3]) == self.pid:
                members.add(pid)
        found = True
        while found:
            children = {pid for pid, parent in parents.items() if parent in members} - members
            members |= children
            found = bool(children)
        return sorted(pid for pid in members if pid in parents)

    def cpu_seconds(self) -> float:
        """User and system time of the whole tree so far, children that have ended and been waited for included."""
        ticks = 0
        for pid in self.pids():
            fields = _stat(pid)
            if fields is not None:
                ticks += sum(int(field) for field in fields[11:15])
        return ticks / TICKS

    def memory(self) -> dict[int, Memory]:
        """Bytes held by each process of the tree."""
        return {pid: memory for pid in self.pids() if (memory := Memory.of(pid)) is not None}

    def pss(self) -> int:
        """Proportional set size of the whole tree, bytes: shared pages count once in the sum."""
        return sum(memory.pss for memory in self.memory().values())

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, patience: float = 3.0) -> None:
        """SIGTERM to the root, then SIGKILL to whatever of the tree is still there after `patience` seconds."""
        members = {pid: _started(pid) for pid in self.pids()}
        if self.alive():
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        members |= {pid: _started(pid) for pid in self.pids()}
        for pid, started in members.items():
            # The start time tells a process of ours from a later one that was given the same id.
            if started is not None and _started(pid) == started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)


class Memory:
    """Resident, proportional and unique set size of one process, bytes, with its command line."""

    def __init__(self, rss: int, pss: int, uss: int, command: str) -> None:
        self.rss, self.pss, self.uss, self.command = rss, pss, uss, command

    @classmethod
    def of(cls, pid: int) -> Memory | None:
        """None when the process is gone or has no memory of its own."""
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return None
        sizes: dict[str, int] = {}
        for line in rollup.splitlines()[1:]:
            key, _, value = line.partition(":")
            sizes[key] = int(value.split()[0]) * 1024
        private = sizes.get("Private_Clean", 0) + sizes.get("Private_Dirty", 0)
        return cls(sizes.get("Rss", 0), sizes.get("Pss", 0), private, command)


@contextlib.contextmanager
def stopping(trees: list[Tree]) -> Iterator[list[Tree]]:
    """Ends every tree of the list when the block is left, also when it is left by a signal."""
    previous = {number: signal.signal(number, _exit) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield trees
    finally:
        for tree in reversed(trees):
            tree.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)


def wait_until(condition: Callable[[], bool], seconds: float, what: str, tree: Tree | None = None) -> None:
    """Polls until the condition holds; raises RuntimeError after `seconds` or when the tree's root has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        if tree is not None and not tree.alive():
            raise RuntimeError(f"{tree.name} ended while waiting for {what}:\n{tail(tree.output)}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"gave up waiting for {what}" + (f":\n{tail(tree.output)}" if tree else ""))
        time.sleep(0.02)


def tail(path: Path, size: int = 2000) -> str:
    """The end of a text file, for error messages."""
    return path.read_bytes()[-size:].decode(errors="replace") if path.exists() else ""


def _on_core(core: int) -> Callable[[], None]:
    def prepare() -> None:
        os.sched_setaffinity(0, {core})
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return prepare


def _exit(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (the state) on; proc(5) has their list."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _all_stats() -> Iterator[tuple[int, list[str]]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields is not None and fields[0] != "Z":
                yield int(entry), fields


def _started(pid: int) -> int | None:
    """When the process was started, in clock ticks since boot; None when it is gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields is not None else None
