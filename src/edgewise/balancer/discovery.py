"""Names to addresses, again and again: host names at intervals, services (SRV) when their records' TTL is over.

Of a name with addresses of both families the IPv4 ones are taken, so that one server does not count twice.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address

from edgewise.balancer.dns_client import DnsClient, LookupFailedError
from edgewise.protocols import dns

INTERVAL = 30.0
"""Seconds between two look-ups of a host name; the longest time, too, for which SRV records are trusted."""
SHORTEST = 1.0
"""Seconds between two look-ups at least, whatever the TTL."""
RETRY = 2.0
"""Seconds to the look-up after one that failed; doubles with each further failure, up to the interval."""

_log = logging.getLogger("edgewise.discovery")


@dataclass(frozen=True, slots=True)
class HostName:
    """A host to look up with the system's resolver, and the port to use."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServiceName:
    """An SRV name such as `_http._tcp.shop.internal` (RFC 2782)."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class Discovered:
    """One server found."""

    ip: str
    port: int
    weight: int = 1
    backup: bool = False
    """Its SRV priority is not the best."""


OnChange = Callable[[tuple[Discovered, ...]], None]
Query = Callable[[str, int], Awaitable[dns.Answer]]
GetAddresses = Callable[[str, int], Awaitable[list[str]]]


async def system_addresses(host: str, port: int) -> list[str]:
    """Return the addresses of `host` that getaddrinfo(3) gives; raises OSError where there are none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Watch:
    """A name under watch. `servers` is the last set found and never becomes empty again."""

    def __init__(self, name: HostName | ServiceName, on_change: OnChange) -> None:
        self.name = name
        self.servers: tuple[Discovered, ...] = ()
        self.error = ""
        """Why the last look-up failed; "" when it did not."""
        self.failures = 0
        """Failed look-ups in a row."""
        self._on_change = on_change

    def found(self, servers: set[Discovered]) -> None:
        """Take the result of a look-up that is not empty; tell of it where it differs from the last."""
        self.error = ""
        self.failures = 0
        ordered = tuple(sorted(servers))
        if ordered != self.servers:
            self.servers = ordered
            self._on_change(ordered)

    def failed(self, reason: str) -> None:
        """Note a failed look-up; the last good servers stay."""
        self.failures += 1
        self.error = reason
        if self.failures == 1:
            _log.warning("look-up of %s failed (%s); %d known servers stay", self.name, reason, len(self.servers))


class Resolver:
    """Watches names on the running loop."""

    def __init__(
        self,
        *,
        interval: float = INTERVAL,
        query: Query | None = None,
        get_addresses: GetAddresses = system_addresses,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`query`, `get_addresses` and `sleep` stand in for DNS, the system's resolver and time where given."""
        self._interval = interval
        self._query = query or DnsClient().query
        self._get_addresses = get_addresses
        self._sleep = sleep
        self._tasks: dict[Watch, asyncio.Task[None]] = {}

    def watch(self, name: HostName | ServiceName, on_change: OnChange) -> Watch:
        """Look `name` up now and from now on; `on_change` is told the first servers found and each other set."""
        watch = Watch(name, on_change)
        self._tasks[watch] = asyncio.get_running_loop().create_task(self._follow(watch), name=f"resolve {name}")
        return watch

    def stop(self, watch: Watch) -> None:
        """Look the name up no more."""
        task = self._tasks.pop(watch, None)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """Stop every watch."""
        for watch in list(self._tasks):
            self.stop(watch)

    async def look_up(self, name: HostName | ServiceName) -> tuple[set[Discovered], float]:
        """Return the servers of a name, at least one, and for how many seconds they hold.

        Raises OSError when the look-up fails or finds none, ValueError for a name that cannot be one.
        """
        if isinstance(name, ServiceName):
            servers, ttl = await self._look_up_service(name.name)
        else:
            addresses = _one_family(await self._get_addresses(name.host, name.port))
            servers, ttl = {Discovered(ip, name.port) for ip in addresses}, self._interval
        if not servers:
            raise LookupFailedError(f"{name}: no addresses")
        return servers, min(max(ttl, SHORTEST), self._interval)

    async def _follow(self, watch: Watch) -> None:
        while True:
            try:
                servers, wait = await self.look_up(watch.name)
                watch.found(servers)
            except (OSError, ValueError) as error:
                watch.failed(str(error))
                wait = min(RETRY * 2 ** min(watch.failures - 1, 16), self._interval)
            except Exception:  # one broken callback must not end the watch
                _log.exception("the servers of %s could not be taken over", watch.name)
                wait = self._interval
            await self._sleep(wait)

    async def _look_up_service(self, name: str) -> tuple[set[Discovered], float]:
        answer = await self._query(name, dns.SRV)
        services = [record.data for record in answer.records if isinstance(record.data, dns.Service)]
        # The root as target says that the service is decidedly not offered (RFC 2782).
        services = [service for service in services if service.target]
        best = min((service.priority for service in services), default=0)
        targets = sorted({service.target for service in services})
        found = await asyncio.gather(*(self._look_up_target(target) for target in targets))
        addresses = {target: ips for target, (ips, _) in zip(targets, found, strict=True)}
        servers: dict[tuple[str, int], Discovered] = {}
        # Two names may lead to one server: it counts once, with the first choice of RFC 2782.
        for service in sorted(services, key=lambda service: (service.priority, -service.weight)):
            for ip in addresses[service.target]:
                server = Discovered(ip, service.port, max(1, service.weight), service.priority != best)
                servers.setdefault((ip, service.port), server)
        return set(servers.values()), float(min([answer.ttl, *(ttl for ips, ttl in found if ips)]))

    async def _look_up_target(self, host: str) -> tuple[list[str], int]:
        """Return the addresses of an SRV record's target, perhaps none, and their TTL in seconds."""
        answer = await self._query(host, dns.A)
        if not answer.records:
            answer = await self._query(host, dns.AAAA)
        return [str(record.data) for record in answer.records], answer.ttl


def _one_family(addresses: list[str]) -> list[str]:
    old = [ip for ip in addresses if ip_address(ip).version == 4]
    return old or addresses
