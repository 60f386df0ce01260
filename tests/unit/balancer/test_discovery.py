"""Names under watch: what is told, when it is asked again, and that a set never becomes empty."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from ipaddress import ip_address
from typing import Any

import pytest

from edgewise.balancer.discovery import RETRY, Discovered, HostName, Resolver, ServiceName, Watch
from edgewise.balancer.dns_client import LookupFailedError
from edgewise.protocols import dns

HOST = HostName("shop.internal", 8080)
SERVICE = ServiceName("_http._tcp.shop.internal")
Servers = tuple[Discovered, ...]


class _Script:
    """Answers each look-up with the next step, and ends the watch after the last one."""

    def __init__(self, *steps: list[str] | Exception) -> None:
        self.steps = list(steps)
        self.slept: list[float] = []
        self.told: list[Servers] = []
        self.over = asyncio.Event()

    async def get_addresses(self, host: str, port: int) -> list[str]:
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if not self.steps:
            self.over.set()
            await asyncio.Event().wait()


async def _watch(script: _Script, interval: float = 30.0) -> Watch:
    resolver = Resolver(interval=interval, get_addresses=script.get_addresses, sleep=script.sleep)
    watch = resolver.watch(HOST, script.told.append)
    await script.over.wait()
    resolver.close()
    return watch


def _servers(*ips: str) -> Servers:
    return tuple(Discovered(ip, 8080) for ip in ips)


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def test_the_first_servers_and_each_change_are_told() -> None:
    async def scenario() -> None:
        script = _Script(["192.0.2.1"], ["192.0.2.1"], ["192.0.2.1", "192.0.2.2"])
        await _watch(script)
        assert script.told == [_servers("192.0.2.1"), _servers("192.0.2.1", "192.0.2.2")]
        assert script.slept == [30.0, 30.0, 30.0]

    _run(scenario())


def test_another_order_is_no_change() -> None:
    async def scenario() -> None:
        script = _Script(["192.0.2.1", "192.0.2.2"], ["192.0.2.2", "192.0.2.1", "192.0.2.2"])
        await _watch(script)
        assert len(script.told) == 1

    _run(scenario())


def test_a_failed_or_empty_look_up_keeps_the_last_good_servers() -> None:
    async def scenario() -> None:
        script = _Script(["192.0.2.1"], OSError("no route"), [])
        watch = await _watch(script)
        assert script.told == [_servers("192.0.2.1")]
        assert watch.servers == _servers("192.0.2.1")
        assert watch.error == "shop.internal:8080: no addresses"
        assert watch.failures == 2

    _run(scenario())


def test_after_failures_it_asks_sooner_and_then_less_and_less_often() -> None:
    async def scenario() -> None:
        script = _Script(*[OSError("down")] * 5, ["192.0.2.1"])
        watch = await _watch(script, interval=10.0)
        assert script.slept == [RETRY, 2 * RETRY, 4 * RETRY, 10.0, 10.0, 10.0]
        assert (watch.failures, watch.error) == (0, "")

    _run(scenario())


def test_an_error_of_the_listener_does_not_end_the_watch() -> None:
    async def scenario() -> None:
        script = _Script(["192.0.2.1"], ["192.0.2.2"])
        resolver = Resolver(get_addresses=script.get_addresses, sleep=script.sleep)
        told: list[Servers] = []

        def listen(servers: Servers) -> None:
            told.append(servers)
            raise RuntimeError("listener")

        resolver.watch(HOST, listen)
        await script.over.wait()
        resolver.close()
        assert told == [_servers("192.0.2.1"), _servers("192.0.2.2")]

    _run(scenario())


def test_of_both_families_the_ipv4_addresses_are_taken() -> None:
    async def scenario() -> None:
        script = _Script(["2001:db8::1", "192.0.2.1"], ["2001:db8::1"])
        await _watch(script)
        assert script.told == [_servers("192.0.2.1"), _servers("2001:db8::1")]

    _run(scenario())


def _address(name: str, ip: str, ttl: int = 60) -> dns.Record:
    address = ip_address(ip)
    return dns.Record(name, dns.A if address.version == 4 else dns.AAAA, ttl, address)


class _Zone:
    """A name server as a dictionary; a name that is not in it does not exist, an OSError in it fails."""

    def __init__(self, records: dict[tuple[str, int], list[dns.Record] | OSError]) -> None:
        self.records = records

    async def query(self, name: str, kind: int) -> dns.Answer:
        found = self.records.get((name, kind), [])
        if isinstance(found, OSError):
            raise found
        ttl = min((record.ttl for record in found), default=0)
        return dns.Answer(dns.NO_ERROR if found else dns.NO_SUCH_NAME, False, tuple(found), ttl)


def _services(*services: tuple[int, int, int, str], ttl: int = 60) -> list[dns.Record]:
    return [dns.Record(SERVICE.name, dns.SRV, ttl, dns.Service(*service)) for service in services]


def _look_up(records: dict[tuple[str, int], list[dns.Record] | OSError]) -> tuple[set[Discovered], float]:
    return asyncio.run(Resolver(query=_Zone(records).query).look_up(SERVICE))


def test_a_service_gives_ports_weights_and_backups() -> None:
    servers, _ = _look_up(
        {
            (SERVICE.name, dns.SRV): _services(
                (10, 5, 8001, "a.internal"), (10, 0, 8002, "b.internal"), (20, 1, 8003, "c.internal")
            ),
            ("a.internal", dns.A): [_address("a.internal", "192.0.2.1"), _address("a.internal", "192.0.2.2")],
            ("b.internal", dns.AAAA): [_address("b.internal", "2001:db8::1")],
            ("c.internal", dns.A): [_address("c.internal", "192.0.2.3")],
        }
    )
    assert servers == {
        Discovered("192.0.2.1", 8001, 5),
        Discovered("192.0.2.2", 8001, 5),
        Discovered("2001:db8::1", 8002, 1),
        Discovered("192.0.2.3", 8003, 1, backup=True),
    }


@pytest.mark.parametrize(
    ("service_ttl", "address_ttl", "seconds"), [(20, 60, 20), (60, 5, 5), (900, 900, 30), (0, 0, 1)]
)
def test_a_service_holds_for_its_least_ttl_within_bounds(service_ttl: int, address_ttl: int, seconds: float) -> None:
    _, holds = _look_up(
        {
            (SERVICE.name, dns.SRV): _services((0, 0, 80, "a.internal"), ttl=service_ttl),
            ("a.internal", dns.A): [_address("a.internal", "192.0.2.1", address_ttl)],
        }
    )
    assert holds == seconds


def test_a_server_under_two_names_counts_once_with_its_better_priority() -> None:
    servers, _ = _look_up(
        {
            (SERVICE.name, dns.SRV): _services((20, 9, 80, "b.internal"), (10, 1, 80, "a.internal")),
            ("a.internal", dns.A): [_address("a.internal", "192.0.2.1")],
            ("b.internal", dns.A): [_address("b.internal", "192.0.2.1")],
        }
    )
    assert servers == {Discovered("192.0.2.1", 80, 1)}


def test_a_target_that_does_not_exist_is_left_out() -> None:
    servers, _ = _look_up(
        {
            (SERVICE.name, dns.SRV): _services((0, 0, 80, "a.internal"), (0, 0, 80, "gone.internal")),
            ("a.internal", dns.A): [_address("a.internal", "192.0.2.1")],
        }
    )
    assert servers == {Discovered("192.0.2.1", 80)}


def test_a_target_that_cannot_be_looked_up_fails_the_whole_so_that_no_server_is_lost() -> None:
    with pytest.raises(OSError, match="b is down"):
        _look_up(
            {
                (SERVICE.name, dns.SRV): _services((0, 0, 80, "a.internal"), (0, 0, 80, "b.internal")),
                ("a.internal", dns.A): [_address("a.internal", "192.0.2.1")],
                ("b.internal", dns.A): LookupFailedError("b is down"),
            }
        )


@pytest.mark.parametrize("records", [[], _services((0, 0, 0, ""))])
def test_a_service_that_is_not_offered_is_a_failed_look_up(records: list[dns.Record]) -> None:
    with pytest.raises(LookupFailedError, match="no addresses"):
        _look_up({(SERVICE.name, dns.SRV): records})
