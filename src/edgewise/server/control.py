"""The control process: admin address, health checks and certificates, on one event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewise.server import messages as m
from edgewise.server.child import ChildLink
from edgewise.server.generation import Generation
from edgewise.server.processes import FAILED_TO_START

if TYPE_CHECKING:
    from edgewise.cache.purges import Purges
    from edgewise.server.channel import Channel
    from edgewise.server.cluster import ClusterTasks
    from edgewise.server.controller import Controller
    from edgewise.server.generation import Shared
    from edgewise.server.health import HealthChecks
    from edgewise.server.keeping import Keeping
    from edgewise.server.membership import Membership
    from edgewise.server.purge_ledger import PurgeLedger
    from edgewise.server.shared_purges import SharedPurges

log = logging.getLogger("edgewise.control")


@dataclass(frozen=True)
class ControlSetup:
    """What the control process inherits from the supervisor."""

    generation: Generation
    shared: Shared
    admin_socket: socket.socket | None
    label: str
    """Names the configuration; see `Instance`."""
    purges: PurgeLedger | None
    """As it is at the fork; None where no other node is to hear of purges."""
    numbered: Purges | None
    """The purges that concern what is on disk, as they are at the fork; None where nothing is."""


class ControlProcess:
    """Carries out the supervisor's messages on the controller, the health checks and the keeping of certificates."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        channel: Channel[m.ToChild],
        setup: ControlSetup,
        controller: Controller,
        health: HealthChecks,
        keeping: Keeping,
        membership: Membership,
        cluster: ClusterTasks,
        purges: SharedPurges | None,
    ) -> None:
        self._setup = setup
        self._controller = controller
        self._health = health
        self._keeping = keeping
        self._membership = membership
        self._cluster = cluster
        self._purges = purges
        self._database = controller.database
        self._stop = asyncio.Event()
        self._prepared: Generation | None = None
        self._link = ChildLink(loop, channel, self._heard, self._stop.set)
        controller.send = keeping.send = self._link.send

    async def run(self) -> None:
        """Serve until told to stop. Raises what keeps the admin address from starting."""
        from edgewise.admin.app import make_app
        from edgewise.admin.server import AdminServer

        self._health.prepare(self._setup.generation)
        self._health.commit()
        if error := self._keeping.prepare(self._setup.generation):
            log.error("certificates are not renewed: %s", error)
        else:
            self._keeping.commit()
        self._link.start()
        self._membership.start()
        self._cluster.start(self._controller.reload, self._membership.acknowledge)
        if self._controller.disk is not None:
            self._controller.disk.start()
        if self._purges is not None:
            self._purges.start()
        if error := self._database.prepare(self._setup.generation):
            log.error("writes to the database are not heard: %s", error)
        else:
            self._database.commit()
        server = None
        if self._setup.admin_socket is not None:
            app = make_app(self._controller, host_names(self._setup.generation.config.server.admin))
            server = AdminServer(app, [self._setup.admin_socket])
            await server.start()
        self._link.send(m.Ready())
        await self._stop.wait()
        self._health.close()
        await self._keeping.close()
        await self._database.close()
        await self._cluster.close()
        if self._purges is not None:
            await self._purges.close()
        if self._controller.disk is not None:
            self._controller.disk.close()
        await self._membership.close()
        if server is not None:
            await server.stop()

    def _heard(self, message: m.ToChild, descriptors: list[int]) -> None:
        match message:
            case m.Prepare(generation=number, plan=plan):
                self._prepared = Generation.load(plan)
                parts = (self._health, self._keeping, self._database)
                error = next(filter(None, (part.prepare(self._prepared) for part in parts)), "")
                self._link.send(m.Prepared(number, error))
            case m.Commit(generation=number):
                if self._prepared is not None:
                    self._controller.load(self._prepared)
                    self._health.commit()
                    self._keeping.commit()
                    self._database.commit()
                    self._membership.load(self._prepared)
                    self._cluster.load(self._prepared)
                    self._prepared = None
                self._link.send(m.Committed(number))
            case m.Abort():
                self._prepared = None
            case m.State(state=state):
                self._controller.state = state
                self._cluster.serve(bool(state.get("serving")))
                if state.get("serving"):
                    self._keeping.start()
            case m.CertificatesAnswer(request=request):
                self._keeping.answered(request)
            case m.ReloadAnswer(request=request, generation=generation, problems=problems):
                self._controller.reloaded(request, generation, problems)
            case m.PurgeAnswer():
                self._controller.purges.answered(message)
            case m.PurgesNumbered(numbered=numbered):
                if self._controller.disk is not None:
                    self._controller.disk.numbered(numbered)
            case m.PurgesForgotten(epoch=epoch):
                if self._controller.disk is not None:
                    self._controller.disk.forget(epoch)
            case m.CacheLookAnswer(request=request, workers=workers):
                self._controller.looks.answered(request, workers)
            case m.ConsumerAnswer(request=request):
                self._controller.consumer_orders.answered(request)
            case m.PurgeTold():
                if self._purges is not None:
                    self._purges.tell(message)
            case m.Drain():
                self._stop.set()
            case m.Reopen():
                pass
            case _:
                log.error("unexpected message: %r", message)


def host_names(admin: str | None) -> list[str]:
    """Return the host name in the admin address, by which browsers may ask for it; none for a Unix socket."""
    if admin is None or admin.startswith("unix:"):
        return []
    return [admin.rpartition(":")[0].strip("[]")]


def run_control(channel: Channel[m.ToChild], setup: ControlSetup) -> int:
    """Run the control process to its end; return its exit status."""
    import uvloop

    from edgewise.server.cache_keeping import CacheKeeping
    from edgewise.server.cluster import ClusterTasks
    from edgewise.server.controller import Controller
    from edgewise.server.health import HealthChecks
    from edgewise.server.keeping import Keeping
    from edgewise.server.membership import Membership
    from edgewise.server.shared_purges import SharedPurges

    async def serve() -> int:
        health = HealthChecks(setup.shared.flags)
        membership = Membership(setup.generation)
        keeping = Keeping(membership.id, setup.generation.config)
        controller = Controller(setup.generation, setup.shared, health, keeping)
        cluster = ClusterTasks(setup.generation, setup.shared, health, membership.id, setup.label)
        controller.cluster = cluster
        state, purges = setup.generation.config.state, None
        if setup.purges is not None and state is not None:
            here = controller.purges.here
            purges = SharedPurges(state, membership.id, setup.purges, here, lambda message: controller.send(message))
            controller.purges.shared = purges
        if setup.numbered is not None:
            config, memory = setup.generation.config, setup.shared.memory
            controller.disk = CacheKeeping(config, memory, setup.numbered, lambda message: controller.send(message))
        process = ControlProcess(
            asyncio.get_running_loop(), channel, setup, controller, health, keeping, membership, cluster, purges
        )
        try:
            await process.run()
        except Exception as error:
            log.exception("the control process failed")
            channel.send(m.Ready(f"{type(error).__name__}: {error}"))
            return FAILED_TO_START
        return 0

    return uvloop.run(serve())
