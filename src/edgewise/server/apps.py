"""Apps that edgewise runs itself: which there are, and how they change with the configuration."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgewise.server.app_server import AppServer

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.server.reactor import Reactor

log = logging.getLogger("edgewise.apps")
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


class AppSpec(NamedTuple):
    """One managed app."""

    upstream: str
    target: str
    """`module:attribute`."""
    processes: int
    interface: str
    """asgi | wsgi | auto."""
    stop_seconds: float
    """What a process gets to finish its requests in."""

    def same_code(self, other: AppSpec) -> bool:
        """Can a process of `other` go on serving this?"""
        return (self.target, self.interface) == (other.target, other.interface)


def app_specs(config: Config) -> dict[str, AppSpec]:
    """Return the managed apps of a configuration, by the name of their upstream."""
    return {
        name: AppSpec(name, spec.app, spec.processes, spec.app_interface, config.server.drain_timeout)
        for name, spec in config.upstreams.items()
        if spec.app is not None
    }


def socket_path(directory: Path, upstream: str, index: int) -> Path:
    """Return where process `index` of an app listens; the same at every start, so sticky cookies hold."""
    name = upstream if _FILE_NAME.fullmatch(upstream) else hashlib.sha256(upstream.encode()).hexdigest()[:16]
    return directory / f"{name}.{index}.sock"


class Apps:
    """Every managed app. A change is prepared first (new processes only), then committed or aborted."""

    def __init__(self, path_of: Callable[[str, int], Path], reactor: Reactor) -> None:
        self._path_of = path_of
        """Where process number ... of upstream ... listens."""
        self._reactor = reactor
        self._specs: dict[str, AppSpec] = {}
        self._servers: dict[tuple[str, int], AppServer] = {}
        self._leaving: list[AppServer] = []
        """Told to stop, but not ended yet."""
        self._added: list[tuple[str, int]] = []
        self._preparing: dict[str, AppSpec] = {}

    def prepare(self, specs: dict[str, AppSpec], ready: Callable[[str], None]) -> None:
        """Start the processes that `specs` adds; `ready` is called once, with "" or why one cannot start.

        Raises OSError when a socket cannot be made. Processes that run already are left alone until `commit`.
        """
        self._preparing = specs
        self._added = []
        waiting = _Countdown(ready)
        for name, spec in specs.items():
            for index in range(spec.processes):
                if (name, index) not in self._servers:
                    server = AppServer(f"{name}.{index}", self._path_of(name, index), self._reactor)
                    self._servers[name, index] = server
                    self._added.append((name, index))
                    waiting.expect()
        for key in list(self._added):
            server = self._servers[key]
            server.start(specs[key[0]], waiting.arrived)
        waiting.arrived()

    def commit(self) -> None:
        """Stop the processes that are no longer wanted, and replace, one after another, those whose app changed."""
        before, self._specs = self._specs, self._preparing
        for name, index in list(self._servers):
            if name not in self._specs or index >= self._specs[name].processes:
                self._leave((name, index))
        for name, spec in self._specs.items():
            if name in before and not spec.same_code(before[name]):
                self._roll(spec, 0)
        self._added = []

    def restart(self) -> None:
        """Replace every process, one of an app after another: how changed code comes into service."""
        for spec in self._specs.values():
            self._roll(spec, 0)

    def _roll(self, spec: AppSpec, index: int) -> None:
        """Replace process `index` and, once the new one serves, go on with the next."""
        if index >= spec.processes or self._specs.get(spec.upstream) != spec:
            return
        key = (spec.upstream, index)
        if key in self._added:
            self._roll(spec, index + 1)
            return

        def replaced(error: str) -> None:
            if error:
                log.error("%s: the new version does not start, the old one goes on: %s", spec.upstream, error)
            else:
                self._roll(spec, index + 1)

        self._servers[key].replace(spec, replaced)

    def abort(self) -> None:
        """Stop what `prepare` started."""
        for key in self._added:
            self._leave(key)
        self._added = []

    def _leave(self, key: tuple[str, int]) -> None:
        server = self._servers.pop(key)
        server.stop()
        self._leaving.append(server)

    def exited(self, pid: int, status: int) -> bool:
        """Note the end of a process; False when it is none of ours."""
        known = any(server.exited(pid, status) for server in self._all())
        self._leaving = [server for server in self._leaving if server.pids()]
        return known

    def _all(self) -> list[AppServer]:
        return [*self._servers.values(), *self._leaving]

    def stop(self) -> None:
        """Ask every process to finish."""
        for server in self._servers.values():
            server.stop()

    def kill(self) -> None:
        """End every process at once."""
        for server in self._all():
            server.kill()

    def forked(self) -> None:
        """In a fork: close what belongs to the supervisor."""
        for server in self._all():
            server.forked()

    @property
    def running(self) -> bool:
        """Does any process still run?"""
        return any(server.pids() for server in self._all())

    def states(self, now: float) -> list[dict[str, Any]]:
        """Return what the control process is told of each process."""
        return [server.state(now) for server in self._servers.values()]


class _Countdown:
    """Reports once: when all that were expected have arrived, or at the first that failed."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report: Callable[[str], None] | None = report
        self._missing = 1

    def expect(self) -> None:
        """Wait for one more."""
        self._missing += 1

    def arrived(self, error: str = "") -> None:
        """One arrived, or failed with `error`."""
        self._missing -= 1
        if self._report is not None and (error or self._missing == 0):
            report, self._report = self._report, None
            report(error)
