"""A worker process: one event loop, one engine, told by the supervisor what to serve."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import uvloop

from edgewise.contracts.shared import SuspicionReader
from edgewise.proxy.engine import Engine as ProxyEngine
from edgewise.router import build
from edgewise.router.caching import Caches, looked_at, purges, readings
from edgewise.router.discovery import Discovery
from edgewise.router.policies.building import Gateway
from edgewise.router.policies.consumers import stored_consumers
from edgewise.server import messages as m
from edgewise.server.child import ChildLink
from edgewise.server.collecting import LeavesSurvivors
from edgewise.server.consumer_changes import ConsumerTaking
from edgewise.server.generation import Generation
from edgewise.server.listeners import Kind, Listener
from edgewise.server.numbered_purges import NumberedPurges
from edgewise.server.observers import Observers
from edgewise.server.processes import FAILED_TO_START
from edgewise.server.resolution import Resolution
from edgewise.server.services import Services
from edgewise.telemetry.ids import IdSource
from edgewise.tls.errors import TlsError

if TYPE_CHECKING:
    from edgewise.cache.purges import Purge, Purges
    from edgewise.contracts.table import Table
    from edgewise.server.channel import Channel
    from edgewise.server.generation import Shared
    from edgewise.tls.contexts import ContextSet

log = logging.getLogger("edgewise.worker")
TICK = 0.25
"""Seconds between two ticks of observers, flags and outlier detectors."""
_LAST_WRITES = 2.0
"""Seconds for what waits to be written to the cache's disk at the end."""


class Engine(Protocol):
    """What a worker needs of `proxy.engine.Engine`."""

    def load(self, table: Table) -> None:
        """Use `table` for what begins from now on."""

    def listen(self, sock: socket.socket, kind: Listener) -> None:
        """Accept connections on `sock`."""

    def unlisten(self, sock: socket.socket) -> None:
        """Accept what is queued on `sock`, then close it; connections go on."""

    def drain(self, deadline_seconds: float) -> asyncio.Future[None]:
        """Accept nothing more; done when every exchange is."""

    def tick(self, now: float) -> None:
        """Check the deadlines; `now` in monotonic seconds."""

    def figures(self) -> tuple[int, int, int, int, int, int, int, int]:
        """Return open connections, active exchanges, memo bytes, accepted connections, memo hits, memo misses, HTTP/2
        connections refused, HTTP/2 requests never begun."""


Build = Callable[..., "Table"]
"""`router.build(config, previous_table, shared, worker_index, contexts)`."""


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker inherits from the supervisor."""

    slot: int
    generation: Generation
    shared: Shared
    sockets: list[tuple[Listener, socket.socket]]
    contexts: ContextSet | None
    """TLS contexts of this generation, shared with the other workers: a session of one resumes at any."""
    certificates: m.Certificates
    """Challenges to answer."""
    numbered: Purges | None
    """The purges that concern what is on disk, as they are at the fork."""
    caught_up: bool
    """Are other nodes' purges among them?"""


class Worker:
    """Carries out the supervisor's messages on an engine."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        channel: Channel[m.ToChild],
        setup: WorkerSetup,
        engine: Engine,
        build: Build,
    ) -> None:
        self._loop = loop
        self._setup = setup
        self._shared = setup.shared
        self._engine = engine
        self._build = build
        self._sockets: dict[Listener, socket.socket] = {}
        self._prepared: tuple[Generation, Table] | None = None
        self._certificates = setup.certificates
        self._draining = False
        self._flags_seen = -1
        self._suspicions = SuspicionReader(setup.shared.suspicions)
        self._observers = Observers(setup.shared.memory, setup.slot, engine.figures)
        self._discovery = Discovery(self._discovered)
        self._resolution: Resolution | None = None
        self._services = Services(loop)
        self._purge_requests = itertools.count(1)
        self._purging: dict[int, Callable[[], None]] = {}
        """Request -> what is called once the other workers have purged."""
        self._numbered = NumberedPurges(setup.numbered, caught_up=setup.caught_up)
        self._link = ChildLink(loop, channel, self._heard, self._supervisor_gone)
        self._consumers = ConsumerTaking(loop, self._link.send)

    def start(self) -> None:
        """Build the first table, then accept once its names are looked up.

        Raises what `build` raises, and OSError for a log that cannot be opened.
        """
        self._observers.prepare(self._setup.generation.config)
        table = self._table(self._setup.generation, None, self._setup.contexts)
        self._use(table)
        self._link.start()
        self._loop.add_signal_handler(signal.SIGTERM, self._terminated)
        self._loop.call_later(TICK, self._tick)
        self._resolve(table, self._accept)

    def _accept(self) -> None:
        for listener, sock in self._setup.sockets:
            self._listen(listener, sock)
        self._link.send(m.Ready())

    def _resolve(self, table: Table, done: Callable[[], None]) -> None:
        self._resolution = Resolution(self._loop, table, done)
        self._resolution.start()

    def _discovered(self) -> None:
        """A name got other addresses: count at their endpoints, and tell those what the checks say of the name."""
        self._observers.watch(self._current)
        self._flags_seen = -1

    def _table(self, generation: Generation, previous: Table | None, contexts: ContextSet | None = None) -> Table:
        shared = self._shared.of(generation)
        return self._build(generation.config, previous, shared, self._setup.slot, contexts)

    def _use(self, table: Table) -> None:
        """Swap the table; exchanges under way keep the route they began with."""
        self._current = table
        self._observers.commit(table)
        self._flags_seen = -1
        self._apply_flags()
        self._load()
        if isinstance(table.gateway, Gateway):
            self._services.follow(table.gateway.services)
        self._numbered.attach(table.caches)
        if isinstance(table.caches, Caches):
            table.caches.tell = self._tell_purges
        self._loop.call_soon(self._discovery.follow, table)

    def _load(self) -> None:
        """Have the engine run the current table, with the challenges under way answered."""
        table, told = self._current, self._certificates
        if table.contexts is not None:
            try:
                table.contexts.refresh(told.challenges)
            except TlsError as error:
                log.error("a challenge is not answered: %s", error)
        if table.match_plain is not None:
            table = replace(table, match_plain=table.match_plain.with_tokens(told.tokens))
        self._engine.load(table)

    def _take_certificates(self, told: m.Certificates) -> None:
        self._certificates = told
        self._load()
        self._link.send(m.CertificatesTaken(told.number))

    def _purge(self, specs: list[m.PurgeSpec], *, count: bool) -> int:
        """Purge what this worker stores, or count it."""
        caches = self._current.caches
        if not isinstance(caches, Caches):
            return 0
        reading = readings(self._current.routes)
        found: list[Purge] = []
        for spec in specs:
            try:
                found += purges(spec.kind, spec.value, soft=spec.soft, reading=reading)
            except ValueError as error:  # of another release, or of an engine that others can write to
                log.error("nothing to purge by: %s", error)
        return caches.purge(found, count=count)

    def _tell_purges(self, made: list[Purge], done: Callable[[], None] | None) -> None:
        """A request made something invalid: the other workers forget it too; then call `done`."""
        specs = [m.PurgeSpec(purge.kind, purge.value.decode("latin-1"), purge.soft) for purge in made]
        request = 0
        if done is not None:
            request = next(self._purge_requests)
            self._purging[request] = done
        self._numbered.told()
        self._link.send(m.PurgeWanted(request, specs))

    def _listen(self, listener: Listener, sock: socket.socket) -> None:
        self._sockets[listener] = sock
        self._engine.listen(sock, listener)

    def _heard(self, message: m.ToChild, descriptors: list[int]) -> None:
        match message:
            case m.Prepare(generation=number, plan=plan):
                self._prepare(number, plan)
            case m.Commit(generation=number, added=added, removed=removed):
                self._commit(added, removed, descriptors)
                self._link.send(m.Committed(number))
            case m.Abort():
                self._abort()
            case m.Drain(seconds=seconds):
                self._drain(seconds)
            case m.Reopen():
                self._observers.reopen()
            case m.Certificates():
                self._take_certificates(message)
            case m.Purge(number=number, purges=specs, count=count, numbered=numbered):
                self._numbered.take(numbered)
                self._link.send(m.Purged(number, self._purge(specs, count=count)))
            case m.PurgesNumbered(numbered=numbered):
                self._numbered.numbered(numbered)
            case m.PurgesForgotten(epoch=epoch):
                self._numbered.forget(epoch)
            case m.PurgesCaughtUp():
                self._numbered.caught_up()
            case m.CacheLook(number=number, url=url):
                self._link.send(m.CacheLooked(number, looked_at(url, self._current.routes)))
            case m.ConsumerChanged():
                gateway = self._current.gateway
                self._consumers.take(message, stored_consumers(gateway) if isinstance(gateway, Gateway) else None)
            case m.PurgeAnswer(request=request):
                self._purging.pop(request)()
            case _:
                log.error("unexpected message: %r", message)

    def _prepare(self, number: int, plan: bytes) -> None:
        """Build the table of a generation and answer when it could serve, or why it could not.

        User code is imported here (filters), so any exception is an answer, not a crash.
        """
        generation = Generation.load(plan)
        try:
            self._observers.prepare(generation.config)
            table = self._table(generation, self._current)
        except Exception as error:
            self._observers.abort()
            self._link.send(m.Prepared(number, describe(error)))
            return
        self._prepared = (generation, table)
        self._resolve(table, lambda: self._link.send(m.Prepared(number)))

    def _abort(self) -> None:
        self._prepared = None
        self._observers.abort()
        if self._resolution is not None:
            self._resolution.cancel()

    def _commit(self, added: list[tuple[Kind, str]], removed: list[tuple[Kind, str]], descriptors: list[int]) -> None:
        if self._prepared is not None:
            (generation, table), self._prepared = self._prepared, None
            self._shared = self._shared.of(generation)
            self._use(table)
            self._resize(table, generation.config.cache.memory)
        for listener, descriptor in zip(added, descriptors, strict=True):
            sock = socket.socket(fileno=descriptor)
            sock.setblocking(False)
            self._listen(Listener(*listener), sock)
        for listener in removed:
            self._engine.unlisten(self._sockets.pop(Listener(*listener)))

    def _resize(self, table: Table, memory: int) -> None:
        """Give the cache the room that a reload says, a step at a time."""
        caches = table.caches
        if self._current is table and isinstance(caches, Caches) and not caches.resize(memory):
            self._loop.call_soon(self._resize, table, memory)

    def _tick(self) -> None:
        now = time.monotonic()
        self._apply_flags()
        self._apply_suspicions()
        for upstream in self._current.upstreams.values():
            if upstream.outlier is not None:
                upstream.outlier.tick(now)
        self._engine.tick(now)
        self._observers.tick(now)
        self._loop.call_later(TICK, self._tick)

    def _apply_flags(self) -> None:
        """Take over the verdicts of health checks and the drain commands."""
        flags = self._shared.flags
        if flags.generation != self._flags_seen:
            self._flags_seen = flags.generation
            for upstream in self._current.upstreams.values():
                flags.apply(upstream)

    def _apply_suspicions(self) -> None:
        """Bear less with the servers that other nodes find failing."""
        slots = self._suspicions.slots()
        if slots:
            for upstream in self._current.upstreams.values():
                for endpoint in upstream.endpoints:
                    if endpoint.slot in slots and upstream.outlier is not None:
                        upstream.outlier.suspect(endpoint)

    def _terminated(self) -> None:
        self._drain(self._setup.generation.config.server.drain_timeout)

    def _supervisor_gone(self) -> None:
        """The supervisor died: nobody would replace or stop this process, so finish and end."""
        self._drain(self._setup.generation.config.server.drain_timeout)

    def _drain(self, seconds: float) -> None:
        if not self._draining:
            self._draining = True
            if self._resolution is not None:
                self._resolution.cancel()
            self._engine.drain(seconds).add_done_callback(lambda _: self._loop.stop())

    def close(self) -> None:
        """Flush what the observers hold."""
        self._services.close()
        self._discovery.close()
        caches = self._current.caches
        if isinstance(caches, Caches) and caches.disk is not None:
            caches.disk.flush(_LAST_WRITES)
        self._observers.close()


def describe(error: BaseException) -> str:
    """Return an exception in one line, fit for an operator."""
    text = " ".join(str(error).split())
    if isinstance(error, (OSError, ValueError, ImportError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def run_worker(channel: Channel[m.ToChild], setup: WorkerSetup) -> int:
    """Run a worker to its end; return its exit status."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    return serve(loop, channel, setup, ProxyEngine(loop, IdSource()), build)


def serve(
    loop: asyncio.AbstractEventLoop, channel: Channel[m.ToChild], setup: WorkerSetup, engine: Engine, build: Build
) -> int:
    """Run `engine` until drained; the exit status is FAILED_TO_START where there is nothing to serve."""
    worker = Worker(loop, channel, setup, engine, build)
    try:
        worker.start()
    except Exception as error:
        log.debug("start failed", exc_info=True)
        channel.send(m.Ready(describe(error)))
        return FAILED_TO_START
    gc.collect()
    gc.freeze()
    gc.callbacks.append(LeavesSurvivors())
    try:
        loop.run_forever()
    finally:
        worker.close()
        with contextlib.suppress(Exception):
            loop.run_until_complete(loop.shutdown_asyncgens())
    return 0
