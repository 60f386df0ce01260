"""Keeps the endpoints of upstreams whose servers are names (DNS addresses, SRV) in step with what the names mean."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewise.balancer.discovery import Discovered, HostName, Resolver, ServiceName, Watch
from edgewise.config.addresses import SERVER_HOST, parse_address
from edgewise.contracts.endpoint import Endpoint

if TYPE_CHECKING:
    from edgewise.config.schema import UpstreamServer
    from edgewise.contracts.endpoint import Upstream
    from edgewise.contracts.table import Table


def host_name(server: UpstreamServer) -> HostName | None:
    """Return the name to resolve of a configured server; None for an IP address or a Unix socket."""
    address = parse_address(server.address, SERVER_HOST)
    if isinstance(address, str):
        return None
    try:
        ipaddress.ip_address(address[0])
    except ValueError:
        return HostName(*address)
    return None


class Discovery:
    """Follows the names of one table at a time, in a worker, on the running loop.

    The set of a name is swapped whole; a name that stops resolving keeps its last servers.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        """`on_change` is told after any upstream got other endpoints."""
        self._resolver = Resolver()
        self._on_change = on_change
        self._followed: dict[str, tuple[Upstream, list[Watch]]] = {}

    def follow(self, table: Table) -> None:
        """Watch the names of `table`; those of upstreams that were kept are watched already."""
        for name, (upstream, watches) in list(self._followed.items()):
            if table.upstreams.get(name) is not upstream:
                del self._followed[name]
                for watch in watches:
                    self._resolver.stop(watch)
        for name, upstream in table.upstreams.items():
            if name not in self._followed:
                self._followed[name] = (upstream, self._watches(upstream))

    def _watches(self, upstream: Upstream) -> list[Watch]:
        spec = upstream.spec
        watches = []
        for server in spec.servers:
            name = host_name(server)
            if name is not None:
                watches.append(self._resolver.watch(name, self._renew(upstream, f"{upstream.name}/{server.address}")))
        if spec.srv is not None:
            watches.append(
                self._resolver.watch(ServiceName(spec.srv), self._renew(upstream, f"{upstream.name}/{spec.srv}"))
            )
        return watches

    def _renew(self, upstream: Upstream, origin: str) -> Callable[[tuple[Discovered, ...]], None]:
        """Return what swaps the endpoints that come from one name."""
        before = upstream.names[origin]

        def renew(found: tuple[Discovered, ...]) -> None:
            kept = {endpoint.key: endpoint for endpoint in upstream.endpoints if endpoint.origin == origin}
            fresh = [self._endpoint(before, one) for one in found]
            others = [endpoint for endpoint in upstream.endpoints if endpoint.origin != origin]
            upstream.endpoints = others + [kept.get(endpoint.key, endpoint) for endpoint in fresh]
            upstream.changed()
            for endpoint in kept.values():
                if endpoint not in upstream.endpoints:
                    endpoint.drained = True
                    while endpoint.idle:
                        endpoint.idle.pop().retire()
            self._on_change()

        return renew

    def _endpoint(self, pattern: Endpoint, found: Discovered) -> Endpoint:
        """Return an endpoint for one address, with the settings of the configured name."""
        endpoint = Endpoint(
            f"{pattern.key}@{found.ip}:{found.port}",
            (found.ip, found.port),
            pattern.weight * max(1, found.weight),
            backup=pattern.backup or found.backup,
            max_connections=pattern.max_connections,
        )
        endpoint.slot = pattern.slot
        endpoint.origin = pattern.key
        endpoint.health, endpoint.drained = pattern.health, False
        return endpoint

    def close(self) -> None:
        """Stop every watch."""
        self._resolver.close()
