"""The supervisor's forks: N workers and the control process, replaced when they die."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from edgewise.server import messages as m
from edgewise.server import processes
from edgewise.server.processes import Child
from edgewise.server.reactor import READ, WRITE

if TYPE_CHECKING:
    from edgewise.server.channel import Channel
    from edgewise.server.control import ControlSetup
    from edgewise.server.state_writer import StateSetup
    from edgewise.server.supervisor import Supervisor
    from edgewise.server.worker import WorkerSetup

log = logging.getLogger("edgewise")


@dataclass(frozen=True)
class Crew:
    """What the kinds of children run, each to its end; the result is the exit status."""

    worker: Callable[[Channel[m.ToChild], WorkerSetup], int]
    control: Callable[[Channel[m.ToChild], ControlSetup], int]
    state: Callable[[Channel[m.ToChild], StateSetup], int]


class Children:
    """Starts, watches, replaces and stops the forks of one supervisor."""

    def __init__(self, supervisor: Supervisor, crew: Crew) -> None:
        self._supervisor = supervisor
        self._reactor = supervisor.reactor
        self._crew = crew
        workers = supervisor.generation.config.server.workers
        self._workers = [Child(f"worker {slot}", slot, self._run_worker(slot)) for slot in range(workers)]
        self._control = Child("control", None, self._run_control)
        self._state: Child | None = None
        if supervisor.state_writer is not None:
            self._state = Child("state", None, self._run_state)

    def __iter__(self) -> Iterator[Child]:
        state = [] if self._state is None else [self._state]
        return iter([*state, *self._workers, self._control])

    def _run_worker(self, slot: int) -> Callable[[Channel[m.ToChild]], int]:
        def run(channel: Channel[m.ToChild]) -> int:
            from edgewise.server.worker import WorkerSetup

            supervisor = self._supervisor
            sockets = supervisor.listeners.of_slot(slot)
            certificates, purging = supervisor.certificates, supervisor.purging
            setup = WorkerSetup(
                slot,
                supervisor.generation,
                supervisor.shared,
                sockets,
                certificates.contexts,
                certificates.current,
                purging.numbered,
                purging.caught_up,
            )
            return self._crew.worker(channel, setup)

        return run

    def _run_control(self, channel: Channel[m.ToChild]) -> int:
        from edgewise.server.control import ControlSetup

        supervisor = self._supervisor
        label = supervisor.instance.label
        purging = supervisor.purging
        setup = ControlSetup(
            supervisor.generation, supervisor.shared, supervisor.admin_socket, label, purging.ledger, purging.numbered
        )
        return self._crew.control(channel, setup)

    def _run_state(self, channel: Channel[m.ToChild]) -> int:
        supervisor = self._supervisor
        assert supervisor.state_writer is not None
        if supervisor.admin_socket is not None:
            supervisor.admin_socket.close()
        return self._crew.state(channel, supervisor.state_writer)

    def start_all(self) -> None:
        """Fork every child for the first time."""
        for child in self:
            self._start(child)

    def _start(self, child: Child) -> None:
        if self._supervisor.draining or child.pid:
            return
        try:
            processes.start(child, self._reactor.timers, lambda: self._supervisor.forked(child.slot))
        except OSError as error:
            log.error("cannot start %s: %s", child.name, error)
            self._reactor.timers.after(child.backoff.died(0.0), lambda: self._start(child))
            return
        self._watch(child)

    def _event(self, child: Child) -> None:
        channel = child.channel
        if channel is None:
            return
        channel.flush()
        try:
            received = channel.receive()
        except EOFError:
            self._disconnect(child)
            return
        except msgspec.DecodeError as error:
            log.error("%s sent what is no message, so it is killed: %s", child.name, error)
            self._disconnect(child)
            processes.kill(child.pid)
            return
        for message, _descriptors in received:
            self._heard(child, message)
        self._watch(child)

    def _disconnect(self, child: Child) -> None:
        if child.channel is not None:
            self._reactor.unwatch(child.channel.fileno())
            child.channel.close()
            child.channel = None

    def _watch(self, child: Child) -> None:
        if child.channel is not None:
            events = READ | WRITE if child.channel.pending else READ
            self._reactor.watch(child.channel.fileno(), lambda: self._event(child), events)

    def _heard(self, child: Child, message: m.ToSupervisor) -> None:
        reloads = self._supervisor.reloads
        match message:
            case m.Ready(error=error):
                child.ready = not error
                child.error = error
                self._supervisor.child_ready(child, error)
            case m.Prepared(generation=generation, error=error):
                reloads.prepared(child.name, generation, error)
            case m.Committed(generation=generation):
                reloads.committed(child.name, generation)
            case m.CertificatesTaken(number=number):
                self._supervisor.certificates.taken(child.name, number)
            case m.CertificatesWanted(request=request, tokens=tokens, challenges=challenges):
                self._supervisor.certificates.publish(
                    tokens, challenges, lambda: self.send(child, m.CertificatesAnswer(request))
                )
            case m.Purged(number=number, counted=counted):
                self._supervisor.purging.answered(child.name, number, counted)
            case m.PurgeWanted():
                self._supervisor.purging.publish(message, child)
            case m.CacheLookWanted():
                self._supervisor.cache_looks.publish(message, child)
            case m.CacheLooked():
                self._supervisor.cache_looks.answered(child, message)
            case m.ConsumerWanted():
                self._supervisor.consumer_changes.publish(message, child)
            case m.ConsumerTaken(number=number):
                self._supervisor.consumer_changes.answered(child.name, number)
            case m.PurgesPublished(numbers=numbers):
                self._supervisor.purging.published(numbers)
            case m.PurgesHeard():
                self._supervisor.purging.heard(message)
            case m.EntriesCompared(epoch=epoch):
                self._supervisor.purging.forget(epoch)
            case m.ReloadWanted(request=request, candidate=candidate):
                reloads.request(
                    lambda generation, problems: self.send(child, m.ReloadAnswer(request, generation, problems)),
                    candidate,
                )

    def send(self, child: Child, message: m.ToChild, descriptors: list[int] | None = None) -> None:
        """Send to one child; to one that is gone, nothing."""
        if child.channel is not None:
            child.channel.send(message, descriptors)
            self._watch(child)

    def tell_state(self) -> None:
        """Tell the control process how every process is doing."""
        if self._control.channel is not None:
            self.send(self._control, m.State(self._supervisor.state()))

    def tell_control(self, message: m.ToChild) -> None:
        """Send to the control process; while there is none, nothing."""
        self.send(self._control, message)

    def reap(self) -> None:
        """Take note of every process that ended, and start its replacement."""
        for pid, status in processes.reap():
            child = next((child for child in self if child.pid == pid), None)
            if child is not None:
                self._ended(child, status)
            elif self._supervisor.apps.exited(pid, status) and self._supervisor.draining:
                self._supervisor.child_gone()
        self.tell_state()

    def _ended(self, child: Child, status: int) -> None:
        self._event(child)
        self._disconnect(child)
        pid, child.pid, child.ready = child.pid, 0, False
        self._supervisor.reloads.lost(child.name)
        self._supervisor.certificates.lost(child.name)
        self._supervisor.purging.lost(child.name)
        self._supervisor.cache_looks.lost(child.name)
        self._supervisor.consumer_changes.lost(child.name)
        if child.slot is not None:
            self._supervisor.shared.memory.worker_gone(child.slot)
            self._supervisor.shared.limits.worker_gone(child.slot)
        if self._supervisor.draining:
            self._supervisor.child_gone()
            return
        lived = self._reactor.timers.clock() - child.started
        delay = child.backoff.died(lived)
        child.restarts += 1
        log.error("%s (pid %d) ended: %s; next start in %g s", child.name, pid, processes.describe(status), delay)
        self._reactor.timers.after(delay, lambda: self._start(child))

    @property
    def all_ready(self) -> bool:
        """Do all children serve?"""
        return all(child.ready for child in self)

    @property
    def running(self) -> bool:
        """Does any child still run?"""
        return any(child.pid for child in self)

    @property
    def workers_running(self) -> bool:
        """Does any worker still run?"""
        return any(child.pid for child in self._workers)

    @property
    def workers(self) -> list[Child]:
        """The worker slots, whether or not a process runs in them."""
        return self._workers

    def connected(self) -> list[Child]:
        """Return the children that can be sent to."""
        return [child for child in self if child.channel is not None]

    def reopen(self) -> None:
        """Have every child open its log files anew."""
        for child in self.connected():
            self.send(child, m.Reopen())

    def drain_workers(self, seconds: float) -> None:
        """Have every worker finish."""
        for child in self._workers:
            self.send(child, m.Drain(seconds))

    def stop_control(self) -> None:
        """Have the control process finish."""
        self.send(self._control, m.Drain(1.0))

    def stop_state(self) -> None:
        """Have the state's writer finish, once nobody is left who could need it."""
        if self._state is not None and not self._control.pid:
            self.send(self._state, m.Drain(1.0))

    def kill_all(self) -> None:
        """End every child now."""
        for child in self:
            processes.kill(child.pid, signal.SIGKILL)

    def forked(self) -> None:
        """In a fork: close the supervisor's ends of every channel."""
        for child in self.connected():
            assert child.channel is not None
            child.channel.close()
