"""Limits of several workers that share their counts through one engine."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edgewise.contracts.state import Count, StateEngine, StateUnavailable
from edgewise.gateway.rate_limit import RateLimit, RateSettings, client_key
from edgewise.gateway.sharing import Sharing
from edgewise.http.head import Field, plain_head


class Counters:
    """The counters of a state engine, in memory, which can be lost."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.lost = False

    async def add(self, name: str, amount: int = 1, window: float | None = None) -> Count:
        if self.lost:
            raise StateUnavailable("cut off")
        self.values[name] = self.values.get(name, 0) + amount
        return Count(self.values[name], window)

    async def close(self) -> None:
        pass


def exchange(ip: str = "192.0.2.1", *fields: tuple[bytes, bytes]) -> Any:
    lines = tuple(Field(name, value, name + b": " + value + b"\r\n") for name, value in fields)
    return SimpleNamespace(client=SimpleNamespace(peer_ip=ip), plan=SimpleNamespace(request=plain_head(fields=lines)))


def sharing(counters: Counters, limit: RateLimit) -> Sharing:
    async def open_engine() -> StateEngine:
        return cast("StateEngine", counters)

    one = Sharing(open_engine)
    one.follow([limit])
    asyncio.run(one._connect())
    return one


@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (0.8, 0.15, 0.05), (0.34, 0.33, 0.33)])
def test_three_nodes_admit_the_rate_within_five_percent_however_the_load_is_spread(shares: tuple[float, ...]) -> None:
    counters = Counters()
    limits = [RateLimit("api", RateSettings(rate=1000, burst=100, by="route")) for _ in shares]
    nodes = [sharing(counters, limit) for limit in limits]
    offered, seconds, admitted = 3000, 10, 0
    now, next_exchange, credit = 1000.0, 1000.1, [0.0] * 3
    for step in range(seconds * 1000):
        now = 1000.0 + step / 1000
        for number, share in enumerate(shares):
            credit[number] += offered * share / 1000
            while credit[number] >= 1:
                credit[number] -= 1
                admitted += limits[number].take(exchange(), now) == 0.0
        if now >= next_exchange:
            next_exchange += 0.1
            for number, node in enumerate(nodes):
                share_counts(node, limits[number], counters, now)
    assert admitted == pytest.approx(1000 * seconds, rel=0.05)


def share_counts(node: Sharing, limit: RateLimit, counters: Counters, now: float) -> None:
    """As `Sharing.exchange`, at a time of our own."""
    for key, amount in limit.due(everything=False):
        count = asyncio.run(counters.add(limit.counter(key), amount))
        limit.shared(key, amount, count.value, now)


def test_without_the_engine_a_limit_goes_on_alone_and_nothing_is_forgotten() -> None:
    counters = Counters()
    limit = RateLimit("api", RateSettings(rate=10, burst=5))
    node = sharing(counters, limit)
    counters.lost = True
    assert [limit.take(exchange(), 5.0) for _ in range(5)] == [0.0] * 5
    assert limit.take(exchange(), 5.0) > 0
    asyncio.run(node.exchange(everything=True))
    counters.lost = False
    asyncio.run(node.exchange(everything=True))
    assert list(counters.values.values()) == [5]


def test_a_strict_limit_counts_with_all_others_and_falls_back_to_itself() -> None:
    counters = Counters()
    limits = [RateLimit("api", RateSettings(rate=2, burst=2, strict=True)) for _ in range(2)]
    for limit in limits:
        sharing(counters, limit)
    waits = [asyncio.run(limits[number % 2].ask(exchange(), 1.0)) for number in range(3)]
    assert waits[:2] == [0.0, 0.0]
    assert waits[2] > 0
    counters.lost = True
    assert asyncio.run(limits[0].ask(exchange(), 1.0)) == 0.0


def test_requests_are_told_apart_by_header_or_cookie_and_else_by_address() -> None:
    by_key = RateLimit("api", RateSettings(rate=1, burst=1, by="header:X-Api-Key"))
    assert by_key.take(exchange("192.0.2.1", (b"x-api-key", b"a")), 0.0) == 0.0
    assert by_key.take(exchange("192.0.2.1", (b"x-api-key", b"b")), 0.0) == 0.0
    assert by_key.take(exchange("192.0.2.9", (b"x-api-key", b"a")), 0.0) > 0
    assert by_key.take(exchange("192.0.2.1"), 0.0) == 0.0
    assert by_key.take(exchange("192.0.2.1"), 0.0) > 0
    by_cookie = RateLimit("api", RateSettings(rate=1, burst=1, by="cookie:sid"))
    assert by_cookie.take(exchange("192.0.2.1", (b"cookie", b"a=b; sid=1")), 0.0) == 0.0
    assert by_cookie.take(exchange("192.0.2.2", (b"cookie", b"sid=1; a=c")), 0.0) > 0


def test_no_secret_is_in_the_name_of_a_counter() -> None:
    counters = Counters()
    limit = RateLimit("api", RateSettings(rate=1, burst=1, by="header:X-Api-Key"))
    node = sharing(counters, limit)
    limit.take(exchange("192.0.2.1", (b"x-api-key", b"hush")), 0.0)
    asyncio.run(node.exchange(everything=True))
    assert len(counters.values) == 1
    assert not any("hush" in name or b"hush".hex() in name for name in counters.values)


def test_an_ipv6_client_counts_with_its_network() -> None:
    assert client_key("2001:db8:1:2:3:4:5:6") == client_key("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert client_key("192.0.2.1") == "192.0.2.1"
