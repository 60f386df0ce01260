"""Active health checks in the control process: from the configuration to flags in shared memory."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewise.balancer.health import CheckStatus, HealthMonitor, Target
from edgewise.balancer.probe import HealthCheck
from edgewise.config.addresses import SERVER_HOST, parse_address
from edgewise.contracts.shared import UNHEALTHY, EndpointFlags
from edgewise.tls.upstream import upstream_context

if TYPE_CHECKING:
    from edgewise.config.schema import Health, Upstream, UpstreamTls
    from edgewise.server.generation import Generation

log = logging.getLogger("edgewise.health")


class HealthChecks:
    """Checks the servers of a generation. A change is prepared, then committed."""

    def __init__(self, flags: EndpointFlags) -> None:
        self._flags = flags
        self._monitor = HealthMonitor(self._verdict)
        self.on_failure: Callable[[str], None] = lambda key: None
        """Told the key of each server that turns out unhealthy."""
        self._slots: dict[str, int] = {}
        self._contexts: dict[str, tuple[tuple[UpstreamTls, bool], ssl.SSLContext]] = {}
        self._next: tuple[dict[str, int], dict[str, Target]] = ({}, {})

    def prepare(self, generation: Generation) -> str:
        """Make the targets of a generation; return why that is impossible, or ""."""
        targets: dict[str, Target] = {}
        try:
            for name, spec in generation.config.upstreams.items():
                if spec.health is not None:
                    targets.update(self._targets(name, spec, spec.health))
        except (ValueError, OSError) as error:
            return str(error)
        self._next = (dict(generation.endpoints.slots), targets)
        return ""

    def _targets(self, name: str, spec: Upstream, health: Health) -> dict[str, Target]:
        settings = HealthCheck(
            path=health.path,
            type=health.type,
            grpc=health.grpc,
            http2=spec.protocol != "http1",
            interval=health.interval,
            timeout=health.timeout,
            status=tuple(health.status),
            body=health.body,
            healthy=health.healthy,
            unhealthy=health.unhealthy,
            host=health.host,
        )
        tls = self._context(name, spec.tls, http2=settings.http2) if spec.tls else None
        server_name = spec.tls.server_name if spec.tls else None
        return {
            f"{name}/{server.address}": Target(parse_address(server.address, SERVER_HOST), settings, tls, server_name)
            for server in spec.servers
        }

    def _context(self, name: str, spec: UpstreamTls, *, http2: bool) -> ssl.SSLContext:
        """Return the same context for the same settings, so that a reload leaves the checks' state alone."""
        known = self._contexts.get(name)
        if known is None or known[0] != (spec, http2):
            known = self._contexts[name] = ((spec, http2), upstream_context(spec, http2=http2))
        return known[1]

    def commit(self) -> None:
        """Check the prepared targets from now on; servers that are not checked any more count as healthy."""
        slots, targets = self._next
        for key, slot in slots.items():
            if key not in targets:
                self._flags.set(slot, UNHEALTHY, False)
        self._slots = slots
        self._monitor.update(targets)

    def _verdict(self, key: str, healthy: bool, result: str) -> None:
        slot = self._slots.get(key)
        if slot is not None and self._flags.set(slot, UNHEALTHY, not healthy):
            log.warning("%s is %s: %s", key, "healthy again" if healthy else "unhealthy", result)
            if not healthy:
                self.on_failure(key)

    def doubt(self, key: str) -> bool:
        """Check a server at once; False where it is not checked."""
        return self._monitor.doubt(key)

    def status(self) -> dict[str, CheckStatus]:
        """Return the state of each server that is checked."""
        return self._monitor.status()

    def close(self) -> None:
        """Stop checking."""
        self._monitor.close()
