"""The parent process: opens sockets, forks workers and the control process, keeps them alive, reloads, drains."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgewise.admin.purging import VARIABLE as ADMIN_VARIABLE
from edgewise.server import notify
from edgewise.server.apps import app_specs
from edgewise.server.cache_directory import CacheDirectory, CacheDirectoryError, cache_directory
from edgewise.server.cache_looks import CacheLooks
from edgewise.server.certificates import Certificates
from edgewise.server.children import Children, Crew
from edgewise.server.consumer_changes import ConsumerChanges
from edgewise.server.generation import first_generation
from edgewise.server.listeners import Listener, ListenerSet, open_listener, wanted
from edgewise.server.purging import Purging
from edgewise.server.reactor import Reactor
from edgewise.server.reloads import Reloads
from edgewise.server.state_writer import state_setup
from edgewise.state.opening import VARIABLE as STATE_VARIABLE
from edgewise.tls.errors import TlsError
from edgewise.tls.managed import build_contexts

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.server.generation import Generation, Shared
    from edgewise.server.instance import Instance
    from edgewise.server.processes import Child
    from edgewise.tls.contexts import ContextSet

log = logging.getLogger("edgewise")
_KILL_AFTER = 3.0
"""Seconds beyond the drain timeout after which what still runs is killed."""


class StartError(Exception):
    """edgewise cannot start; the text says why."""


class Supervisor:
    """Runs one instance from its configuration to its end.

    Memory shared by the processes, listening sockets and managed apps belong to this process and outlive its children.
    """

    def __init__(self, instance: Instance, crew: Crew, announce: Callable[[str], None] = print) -> None:
        self.instance = instance
        self.reactor = Reactor()
        self._announce = announce
        self._crew = crew
        self._draining = False
        self._serving = False
        self._failure = ""
        self._started = time.monotonic()

    def run(self) -> None:
        """Serve until told to stop.

        Raises ConfigError, ListenError, StartError or SecretError for what keeps edgewise from starting.
        """
        self._open()
        try:
            self.reactor.on_signals(
                {
                    signal.SIGTERM: self.drain,
                    signal.SIGINT: self._interrupted,
                    signal.SIGHUP: self._hung_up,
                    signal.SIGUSR1: self.children.reopen,
                    signal.SIGUSR2: self._restart_apps,
                    signal.SIGCHLD: self.children.reap,
                }
            )
            self._start_apps()
            while not self._finished():
                self.reactor.run_once()
        finally:
            self._close()
        if self._failure:
            raise StartError(self._failure)

    def _open(self) -> None:
        """Load the configuration and make what children inherit."""
        config = self.instance.load()
        self.apps = self.instance.apps(self.reactor)
        self.generation: Generation
        self.shared: Shared
        self.generation, self.shared = first_generation(config, self.instance.common.version)
        self.state_writer = state_setup(config)
        if config.state is not None:
            os.environ[STATE_VARIABLE] = config.state.url  # for the managed apps
        self.listeners = ListenerSet(config.server.workers)
        self.admin_socket: socket.socket | None = None
        self.cache_directory: CacheDirectory | None = None
        try:
            self.certificates = Certificates(self, _contexts(config))
            self.listeners.add(wanted(config))
            self.cache_directory = _cache_directory(config)
            if config.server.admin is not None:
                self._admin = open_listener(Listener("plain", config.server.admin), 1)
                self.admin_socket = self._admin.sockets[0]
                os.environ[ADMIN_VARIABLE] = bound_address(config.server.admin, self.admin_socket)
            else:
                os.environ.pop(ADMIN_VARIABLE, None)  # that of an edgewise which runs this one
        except BaseException:
            self.listeners.close()
            self.instance.close()
            if self.cache_directory is not None:
                self.cache_directory.close()
            raise
        self.children = Children(self, self._crew)
        self.reloads = Reloads(self)
        self.purging = Purging(self)
        self.cache_looks = CacheLooks(self)
        self.consumer_changes = ConsumerChanges(self)

    def _start_apps(self) -> None:
        try:
            self.apps.prepare(app_specs(self.generation.config), self._apps_ready)
        except OSError as error:
            self.fail(f"cannot start the managed apps: {error.strerror or error}")

    def _apps_ready(self, error: str) -> None:
        """Every managed app serves (or one cannot): start accepting."""
        if self._draining:
            return
        if error:
            self.fail(error)
            return
        self.apps.commit()
        self.children.start_all()

    def child_ready(self, child: Child, error: str) -> None:
        """Note that a child serves, or why it cannot start: at the first start that ends edgewise."""
        if error:
            if self._serving:
                log.error("%s cannot start: %s", child.name, error)
            else:
                self.fail(error)
        elif not self._serving and not self._draining and self.children.all_ready:
            self._serving = True
            with contextlib.suppress(OSError):  # whoever read our output may be gone
                for line in self._addresses():
                    self._announce(line)
            notify.notify("READY=1", f"STATUS=generation {self.generation.number}")
        self.children.tell_state()

    def fail(self, reason: str) -> None:
        """Give up the start: stop what runs, then have `run` raise StartError with the first reason."""
        self._failure = self._failure or reason
        self.drain()

    def _addresses(self) -> list[str]:
        schemes = {"plain": "http://", "tls": "https://", "tcp": "tcp://"}
        lines = []
        for listener, listening in self.listeners.open.items():
            lines.append(
                f"listening on {schemes[listener.kind]}{bound_address(listener.address, listening.sockets[0])}"
            )
        if self.admin_socket is not None:
            address = bound_address(self._admin.listener.address, self.admin_socket)
            lines.append(f"admin on http://{address}")
        return lines

    def state(self) -> dict[str, Any]:
        """Return what the control process shows of this process and its children; times are Unix times."""
        now = self.reactor.timers.clock()
        return {
            "pid": self.instance.pid,
            "config": self.instance.label,
            "started": time.time() - (now - self._started),
            "serving": self._serving and not self._draining,
            "listeners": self._addresses(),
            "processes": [child.state(now) for child in self.children],
            "apps": self.apps.states(now),
            "last_reload": self.reloads.last,
        }

    @property
    def draining(self) -> bool:
        """Is the instance on its way out?"""
        return self._draining

    @property
    def serving(self) -> bool:
        """Have all processes been ready once?"""
        return self._serving

    def _hung_up(self) -> None:
        self.reloads.request(lambda generation, problems: None)

    def _restart_apps(self) -> None:
        if self._serving and not self._draining:
            log.info("replacing the processes of the managed apps")
            self.apps.restart()

    def _interrupted(self) -> None:
        """Ctrl-C: drain; once more: stop now."""
        if self._draining:
            self._kill_all()
        else:
            self.drain()

    def drain(self) -> None:
        """Accept nothing more, let requests under way end, then stop; a second call changes nothing."""
        if self._draining:
            return
        self._draining = True
        seconds = self.generation.config.server.drain_timeout
        notify.notify("STOPPING=1")
        if self._serving:
            log.info("stopping: requests under way have %g s", seconds)
        self.reloads.cancel("edgewise is stopping")
        self.listeners.close()
        self.children.drain_workers(seconds)
        self.reactor.timers.after(seconds + _KILL_AFTER, self._kill_all)
        self.child_gone()

    def child_gone(self) -> None:
        """While draining: once no worker is left, nothing uses the apps and the control process any more."""
        if self._draining and not self.children.workers_running:
            self.children.stop_control()
            self.apps.stop()
            if not self.apps.running:
                self.children.stop_state()

    def _kill_all(self) -> None:
        self.children.kill_all()
        self.apps.kill()

    def _finished(self) -> bool:
        return self._draining and not self.children.running and not self.apps.running

    def forked(self, slot: int | None) -> None:
        """In a fork: close everything that is not the child's own. `slot`: its worker slot, None: control process."""
        self.reactor.close(forked=True)
        self.apps.forked()
        self.instance.forked()
        if self.cache_directory is not None:
            self.cache_directory.forked()
        self.listeners.keep_only(slot)
        self.children.forked()
        if slot is not None and self.admin_socket is not None:
            self.admin_socket.close()

    def _close(self) -> None:
        self.listeners.close()
        if self.admin_socket is not None:
            self._admin.close()
        if self.cache_directory is not None:
            self.cache_directory.close()
        self.reactor.close()
        self.instance.close()


def _cache_directory(config: Config) -> CacheDirectory | None:
    try:
        return cache_directory(config)
    except CacheDirectoryError as error:
        raise StartError(str(error)) from None


def _contexts(config: Config) -> ContextSet | None:
    """Make the TLS contexts before anything is forked, so that workers have the keys of sessions in common."""
    try:
        return build_contexts(config)
    except TlsError as error:
        raise StartError(str(error)) from None


def bound_address(configured: str, sock: socket.socket) -> str:
    """Return an address as configured, with the port the system chose in the place of 0."""
    if configured.startswith("unix:"):
        return configured
    host, _, port = configured.rpartition(":")
    return f"{host or '0.0.0.0'}:{port if port != '0' else sock.getsockname()[1]}"
