"""What the admin address can see and do: `admin.control.Control` over shared memory and the supervisor."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgewise import __version__
from edgewise.admin.control import (
    CertificateStatus,
    HeldSession,
    PurgeOrder,
    PurgeResult,
    ReloadProblem,
    ReloadResult,
    RouteStatus,
    ServerStatus,
    Status,
    UpstreamStatus,
    WorkerStatus,
    server_state,
)
from edgewise.config.state import without_password
from edgewise.contracts.shared import DRAINED
from edgewise.router import route_names
from edgewise.server import messages as m
from edgewise.server.answers import Answers
from edgewise.server.app_caches import AppCaches
from edgewise.server.cache_looks import CacheLookOrders
from edgewise.server.consumer_changes import ConsumerOrders
from edgewise.server.consumers import ConsumerAdmin
from edgewise.server.database import DatabaseListener
from edgewise.server.held_sessions import HeldSessionAdmin
from edgewise.server.purge_orders import PurgeOrders, checked
from edgewise.telemetry.layout import (
    CACHE_RESULTS,
    CACHED,
    HISTOGRAM,
    REFUSED,
    REQUEST_BYTES,
    REQUESTS,
    ROUTE,
    SUM,
    MetricsMemory,
    WorkerSample,
)
from edgewise.telemetry.prometheus import render

if TYPE_CHECKING:
    from edgewise.balancer.health import CheckStatus
    from edgewise.config.schema import Route, UpstreamServer
    from edgewise.server.cache_keeping import CacheKeeping
    from edgewise.server.cluster import ClusterTasks
    from edgewise.server.generation import Generation, Shared
    from edgewise.server.health import HealthChecks
    from edgewise.server.keeping import Keeping


class Controller:
    """Reads the counters of all workers; passes reloads on to the supervisor."""

    def __init__(self, generation: Generation, shared: Shared, health: HealthChecks, keeping: Keeping) -> None:
        self._generation = generation
        self._shared = shared
        self._health = health
        self._keeping = keeping
        self._reloads: Answers[ReloadResult] = Answers()
        self._sessions = HeldSessionAdmin(generation.config.state)
        self.purges = PurgeOrders(lambda message: self.send(message), AppCaches(generation.config.state))
        self.looks = CacheLookOrders(lambda message: self.send(message))
        self.consumer_orders = ConsumerOrders(lambda message: self.send(message))
        self.consumers = ConsumerAdmin(
            generation.config.state, lambda: self._generation.config.consumers, self.consumer_orders.changed
        )
        self.database = DatabaseListener(self.purges.written)
        self.cluster: ClusterTasks | None = None
        self.disk: CacheKeeping | None = None
        """What is stored on disk, where something is."""
        self.state: dict[str, Any] = {}
        """What the supervisor last told of the processes."""
        self.send: Callable[[m.ToSupervisor], None] = lambda message: None
        """Sends to the supervisor."""

    def load(self, generation: Generation) -> None:
        """Show another generation from now on."""
        self._generation = generation

    def status(self) -> Status:
        """Return how the instance is doing."""
        now = time.time()
        processes = self.state.get("processes", [])
        return Status(
            version=__version__,
            generation=self._generation.number,
            ready=self._ready(processes),
            uptime=round(now - self.state.get("started", now), 1),
            workers=tuple(self._worker(process, now) for process in processes if process["slot"] is not None),
            routes=tuple(self._route(spec, name) for spec, name in self._named_routes()),
            cache_disk=None if self.disk is None else self.disk.status(),
        )

    def _ready(self, processes: list[dict[str, Any]]) -> bool:
        serving = bool(self.state.get("serving")) and all(process["ready"] for process in processes)
        return serving and (self.cluster is None or self.cluster.settled)

    def _worker(self, process: dict[str, Any], now: float) -> WorkerStatus:
        row = self._shared.memory.workers.row(process["slot"])
        uptime = round(now - process["started"], 1) if process["started"] else 0.0
        sample = WorkerSample(*row[:REQUESTS])
        return WorkerStatus(
            process["slot"],
            process["pid"],
            uptime,
            sample.connections,
            row[REQUESTS],
            sample.cache_objects,
            sample.cache_bytes,
        )

    def _named_routes(self) -> list[tuple[Route, str]]:
        config = self._generation.config
        return list(zip(config.routes, route_names(config), strict=False))

    def _route(self, spec: Route, name: str) -> RouteStatus:
        kinds = ("split", "redirect", "respond", "static")
        target = spec.upstream or next(kind for kind in kinds if getattr(spec, kind))
        memory, slot = self._shared.memory, self._generation.routes[name]
        cached = memory.routes.sums(slot * ROUTE + CACHED, slot * ROUTE + REFUSED)
        done = {result: count for result, count in zip(CACHE_RESULTS, cached, strict=True) if count}
        return RouteStatus(name, target, route_requests(memory, slot), done)

    def upstreams(self) -> tuple[UpstreamStatus, ...]:
        """Return the state of every server."""
        checks = self._health.status()
        return tuple(
            UpstreamStatus(name, spec.balance, tuple(self._server(name, server, checks) for server in spec.servers))
            for name, spec in self._generation.config.upstreams.items()
        )

    def _server(self, upstream: str, server: UpstreamServer, checks: dict[str, CheckStatus]) -> ServerStatus:
        key = f"{upstream}/{server.address}"
        slot = self._generation.endpoints[key]
        figures = self._shared.memory.endpoints.read(slot)
        check = checks.get(key)
        workers = self._shared.memory.workers.workers
        state, reason = server_state(self._shared.flags.get(slot), figures, workers, check.result if check else "")
        return ServerStatus(
            server.address,
            state,
            reason,
            weight=server.weight,
            backup=server.backup,
            active=figures.active,
            connections=figures.connections,
            waiting=figures.waiting,
            requests=figures.requests,
            failures=figures.failures,
            ejections=figures.ejections,
            moved=figures.moved,
            last_check=_moment(check.checked_at) if check and check.checked_at else None,
        )

    def drain(self, key: str, on: bool) -> None:
        """Take the server `upstream/name` out of new requests, or back in. Raises KeyError where there is none."""
        self._shared.flags.set(self._generation.endpoints.present[key], DRAINED, on)

    def certificates(self) -> tuple[CertificateStatus, ...]:
        """Return how each certificate is doing."""
        return tuple(
            CertificateStatus(
                kept.name,
                kept.names,
                _moment(kept.not_after),
                _moment(kept.next_attempt),
                kept.failures,
                kept.error,
            )
            for kept in self._keeping.kept()
        )

    def renew(self, name: str, *, revoke: bool) -> None:
        """Renew a certificate that edgewise keeps. Raises KeyError where there is none of that name."""
        self._keeping.renew(name, revoke=revoke)

    async def sessions_of(self, user: str, namespaces: Sequence[str]) -> tuple[HeldSession, ...]:
        """Return a user's sessions."""
        return await self._sessions.sessions_of(user, namespaces)

    async def revoke_sessions(self, user: str, namespaces: Sequence[str]) -> int:
        """End every session of a user on all nodes."""
        return await self._sessions.revoke(user, namespaces)

    async def revoke_session(self, handle: str, namespaces: Sequence[str]) -> str | None:
        """End one session on all nodes."""
        return await self._sessions.revoke_one(handle, namespaces)

    async def purge(self, orders: Sequence[PurgeOrder], *, soft: bool, dry_run: bool) -> PurgeResult:
        """Have every worker of every node purge, and wait until all have; or count what this node stores."""
        if dry_run:
            return await self._counted(orders)
        return await self.purges.purge(orders, soft=soft)

    async def _counted(self, orders: Sequence[PurgeOrder]) -> PurgeResult:
        objects = await self.purges.count(orders)
        if self.disk is None:
            return PurgeResult(objects)
        on_disk = await self.disk.count(checked(orders, soft=False), self._generation.config)
        return PurgeResult(objects, on_disk=on_disk.objects, estimated=not on_disk.exact)

    async def cached(self, url: str) -> dict[int, list[dict[str, Any]]]:
        """Return what each worker stores of a URL."""
        return await self.looks.look(url)

    async def reload(self, candidate: str = "") -> ReloadResult:
        """Have the supervisor read its configuration again, and wait for what comes of it.

        `candidate` is the id of a published version to try.
        """
        request = self._reloads.number()
        return await self._reloads.ask(request, lambda: self.send(m.ReloadWanted(request, candidate)))

    def reloaded(self, request: int, generation: int, problems: list[m.Problem]) -> None:
        """Take the supervisor's answer."""
        found = [
            ReloadProblem(each.message, each.file, each.line or None, each.key, each.expected, each.nearest)
            for each in problems
        ]
        self._reloads.take(request, ReloadResult(generation, tuple(found)))

    def metrics_text(self) -> str:
        """Return every metric in Prometheus text format."""
        return render(
            self._shared.memory,
            self._generation.routes.present,
            self._generation.endpoints.present,
            self._shared.flags,
            version=__version__,
            generation=self._generation.number,
            certificates=[(kept.name, kept.not_after, kept.failures) for kept in self._keeping.kept()],
            cluster=self.cluster.figures() if self.cluster is not None else {},
            cache_disk={} if self.disk is None else asdict(self.disk.status()),
            database=self.database.figures(),
        )

    def effective_config(self) -> dict[str, Any]:
        """Return the configuration in force as plain values, defaults filled in, secrets left out."""
        values = self._generation.config.model_dump(mode="json")
        for upstream in values["upstreams"].values():
            if upstream["sticky"] is not None:
                upstream["sticky"].pop("secret")
        if values["state"] is not None:
            values["state"]["url"] = without_password(values["state"]["url"])
        if values["database"] is not None:
            values["database"]["url"] = without_password(values["database"]["url"])
        if values["cluster"] is not None:
            values["cluster"].pop("key")
        values["sessions"].pop("secrets")
        for consumer in values["consumers"].values():
            consumer.pop("api_keys")
            consumer.pop("passwords")
        acme = values["tls"]["acme"]
        if acme is not None and acme["external_account"] is not None:
            acme["external_account"].pop("hmac_key")
        return values


def _moment(seconds: float | None) -> str | None:
    """Return a Unix time in the form of RFC 3339."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def route_requests(memory: MetricsMemory, slot: int) -> int:
    """Return the exchanges counted for a route: what is in the buckets of its histograms, their sums left out."""
    cells = memory.routes.sums(slot * ROUTE, slot * ROUTE + REQUEST_BYTES)
    return sum(value for index, value in enumerate(cells) if index % HISTOGRAM != SUM)
