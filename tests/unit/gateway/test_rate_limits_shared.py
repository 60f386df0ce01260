"""Limits of several workers in one memory, and of several nodes that share their counts through one engine."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edgewise.contracts.identity import Identity
from edgewise.contracts.limits import LimitMemory
from edgewise.contracts.policies import POLICIES, Denial
from edgewise.contracts.state import Count, Entry, StateEngine, StateUnavailable
from edgewise.gateway import sharing as sharing_module
from edgewise.gateway.limit_keys import mark_of, network
from edgewise.gateway.meters import Meter, Quota, SlidingWindow, TokenBucket
from edgewise.gateway.rate_limit import RateLimit, RateLimits, Rates, RateSettings
from edgewise.gateway.sharing import Sharing
from edgewise.http.head import Field, plain_head


class Counters:
    """The counters and keys of a state engine, in memory, which can be lost."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.entries: dict[str, tuple[bytes, int]] = {}
        self.lost = False

    async def add(self, name: str, amount: int = 1, window: float | None = None) -> Count:
        self._check()
        self.values[name] = self.values.get(name, 0) + amount
        return Count(self.values[name], window)

    async def count(self, name: str, window: float | None = None) -> int:
        self._check()
        return self.values.get(name, 0)

    async def get(self, key: str) -> Entry | None:
        self._check()
        value, revision = self.entries.get(key, (b"", 0))
        return Entry(key, value, revision, None) if revision else None

    async def compare_and_set(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int | None:
        self._check()
        if self.entries.get(key, (b"", 0))[1] != revision:
            return None
        self.entries[key] = value, revision + 1
        return revision + 1

    def _check(self) -> None:
        if self.lost:
            raise StateUnavailable("cut off")


class Node:
    """A machine: its memory, and what tells the engine."""

    def __init__(self, counters: Counters | None = None, workers: int = 1) -> None:
        async def opening() -> StateEngine:
            return cast("StateEngine", counters)

        self.counters = counters
        memory = LimitMemory(workers, rows=1024)
        self.workers = [
            Sharing(memory.of_worker(number), opening if counters else None, nodes=True, speaks=number == 0)
            for number in range(workers)
        ]

    def limit(self, meter: Meter, *, worker: int = 0, **settings: Any) -> RateLimit:
        groups = settings.pop("groups", ())
        consumers = settings.pop("consumers", ())
        made = RateSettings(**{"name": "api", "told": "", **settings})
        return RateLimit(made, Rates(meter, groups, consumers), self.workers[worker])

    def exchange(self, *, everything: bool = True) -> None:
        asyncio.run(self.workers[0].exchange(cast("StateEngine", self.counters), everything=everything))


def exchange(
    ip: str = "192.0.2.1",
    *fields: tuple[bytes, bytes],
    at: float = 1000.0,
    identity: Identity | None = None,
    method: bytes = b"GET",
) -> Any:
    lines = tuple(Field(name, value, name + b": " + value + b"\r\n") for name, value in fields)
    return SimpleNamespace(
        client=SimpleNamespace(peer_ip=ip),
        plan=SimpleNamespace(request=plain_head(method=method, fields=lines)),
        route=SimpleNamespace(name="shop"),
        identity=identity,
        started=at,
        answer_lines=b"",
        refused=0,
    )


def passes(limit: RateLimit | RateLimits, request: Any) -> bool:
    """Is the request let through? What has to wait is waited for."""
    outcome = limit.check(request)
    if asyncio.iscoroutine(outcome):
        outcome = asyncio.run(outcome)
    assert outcome is None or isinstance(outcome, Denial)
    return outcome is None


# ---- several nodes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (0.8, 0.15, 0.05), (0.34, 0.33, 0.33), (0.7, 0.3)])
@pytest.mark.parametrize(("meter", "off"), [(TokenBucket(1000, 100), 0.02), (SlidingWindow(1000, 1.0), 0.05)])
def test_nodes_admit_the_rate_however_the_load_is_spread(
    shares: tuple[float, ...], meter: Meter, off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = Counters()
    nodes = [Node(counters) for _ in shares]
    limits = [node.limit(meter, by=("all",)) for node in nodes]
    now = [0.0]
    monkeypatch.setattr(sharing_module, "monotonic", lambda: now[0])
    offered, admitted, rounds = 3000, 0, 0
    next_exchange, credit = 1000.05, [0.0] * len(shares)
    for step in range(7_000):
        now[0] = 1000.0 + step / 1000
        for number, share in enumerate(shares):
            credit[number] += offered * share / 1000
            while credit[number] >= 1:
                credit[number] -= 1
                passed = passes(limits[number], exchange(at=now[0]))
                admitted += passed and step >= 2000  # the first burst is over, and each knows of the others
        if now[0] >= next_exchange:
            next_exchange += 0.05
            rounds += 1
            for node in nodes:
                node.exchange(everything=rounds % 20 == 0)
    assert admitted == pytest.approx(5_000, rel=off)


def test_what_could_not_be_told_is_told_when_the_engine_is_back() -> None:
    counters = Counters()
    node = Node(counters)
    limit = node.limit(TokenBucket(10, 5))
    counters.lost = True
    assert [passes(limit, exchange()) for _ in range(6)] == [True] * 5 + [False]
    with pytest.raises(StateUnavailable):
        node.exchange()
    counters.lost = False
    node.exchange()
    node.exchange()
    assert list(counters.values.values()) == [5]


def test_small_counts_wait_for_the_next_full_exchange() -> None:
    counters = Counters()
    node = Node(counters)
    limit = node.limit(TokenBucket(1000, 1000))
    assert passes(limit, exchange())
    node.exchange(everything=False)
    assert counters.values == {}
    node.exchange(everything=True)
    assert list(counters.values.values()) == [1]


def test_no_secret_is_in_the_name_of_a_counter() -> None:
    counters = Counters()
    node = Node(counters)
    assert passes(node.limit(TokenBucket(1, 1), by=("header:X-Api-Key",)), exchange("a", (b"x-api-key", b"hush")))
    node.exchange()
    assert len(counters.values) == 1
    assert not any("hush" in name or b"hush".hex() in name for name in counters.values)


# ---- several workers -------------------------------------------------------------------------------------------------


def test_workers_of_a_machine_count_together_at_once() -> None:
    node = Node(workers=2)
    limits = [node.limit(TokenBucket(1, 4), worker=number) for number in range(2)]
    assert [passes(limits[number % 2], exchange()) for number in range(6)] == [True] * 4 + [False] * 2


def test_the_engine_is_told_once_what_all_workers_admitted() -> None:
    counters = Counters()
    node = Node(counters, workers=2)
    limits = [node.limit(TokenBucket(1, 10), worker=number) for number in range(2)]
    assert all(passes(limits[number % 2], exchange()) for number in range(6))
    node.exchange()
    node.exchange()
    assert list(counters.values.values()) == [6]


# ---- quotas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["d", "month"])
def test_a_quota_goes_on_where_it_was_after_a_restart(unit: str) -> None:
    counters = Counters()
    node = Node(counters)
    limit = node.limit(Quota(5, unit))
    assert [passes(limit, exchange()) for _ in range(3)] == [True] * 3
    node.exchange()
    restarted = Node(counters)
    again = restarted.limit(Quota(5, unit))
    assert [passes(again, exchange()) for _ in range(3)] == [True, True, False]
    restarted.exchange()
    assert [*counters.values.values(), *(int(value) for value, _ in counters.entries.values())] == [5]


def test_a_quota_begins_alone_while_the_engine_is_lost() -> None:
    counters = Counters()
    counters.lost = True
    limit = Node(counters).limit(Quota(1, "d"))
    assert [passes(limit, exchange()) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("meter", [TokenBucket(2, 2), Quota(2, "month")], ids=["bucket", "month"])
def test_a_strict_limit_counts_with_all_others_and_falls_back_to_its_machine(meter: Meter) -> None:
    counters = Counters()
    limits = [Node(counters).limit(meter, strict=True) for _ in range(2)]
    assert [passes(limits[number % 2], exchange()) for number in range(3)] == [True, True, False]
    counters.lost = True
    assert [passes(limits[0], exchange()) for _ in range(3)] == [True, True, False]


# ---- whose requests --------------------------------------------------------------------------------------------------


def test_requests_are_told_apart_by_header_cookie_or_query_and_else_by_address() -> None:
    node = Node()
    for number, (by, fields) in enumerate(
        [("header:X-Api-Key", (b"x-api-key", b"%b")), ("cookie:sid", (b"cookie", b"a=b; sid=%b"))]
    ):
        limit = node.limit(TokenBucket(1, 1), by=(by,), name=f"limit {number}")
        one, two = ((fields[0], fields[1] % value) for value in (b"1", b"2"))
        assert passes(limit, exchange("192.0.2.1", one))
        assert passes(limit, exchange("192.0.2.1", two))
        assert not passes(limit, exchange("192.0.2.9", one))
        assert passes(limit, exchange("192.0.2.1"))
        assert not passes(limit, exchange("192.0.2.1"))


def test_a_value_is_no_address_and_a_long_one_is_kept_as_its_digest() -> None:
    limit = Node().limit(TokenBucket(1, 1), by=("header:X-Api-Key",))
    assert passes(limit, exchange("192.0.2.1"))
    assert passes(limit, exchange("192.0.2.2", (b"x-api-key", b"192.0.2.1")))
    assert passes(limit, exchange("192.0.2.2", (b"x-api-key", b"k" * 5000)))
    assert not passes(limit, exchange("192.0.2.2", (b"x-api-key", b"k" * 5000)))


def test_of_several_keys_all_must_agree() -> None:
    limit = Node().limit(TokenBucket(1, 1), by=("method", "client_ip"))
    assert passes(limit, exchange("192.0.2.1"))
    assert passes(limit, exchange("192.0.2.1", method=b"POST"))
    assert not passes(limit, exchange("192.0.2.1"))
    assert passes(limit, exchange("192.0.2.2"))


def test_marks_do_not_depend_on_where_one_part_of_a_key_ends() -> None:
    marks = {mark_of("a", "b", key) for key in (("x", "yz"), ("xy", "z"), "xyz", b"xyz", ("xyz",), ("xyz", ""))}
    assert len(marks) == 5  # one part alone is the same as a tuple of it


def test_consumers_have_their_own_rate_or_that_of_their_first_group() -> None:
    limit = Node().limit(
        TokenBucket(1, 1),
        by=("consumer",),
        groups=(("gold", TokenBucket(1, 3)), ("silver", TokenBucket(1, 2))),
        consumers=(("boss", TokenBucket(1, 4)),),
    )

    def admitted(name: str, *groups: str) -> int:
        one = Identity(name, "api_keys", consumer=name, groups=frozenset(groups))
        return sum(passes(limit, exchange(identity=one)) for _ in range(6))

    assert admitted("ann", "silver", "gold") == 3
    assert admitted("ben", "silver") == 2
    assert admitted("boss", "silver") == 4
    assert admitted("cid", "bronze") == 1
    assert sum(passes(limit, exchange()) for _ in range(3)) == 1  # nobody: by address


def test_an_ipv6_client_counts_with_its_network() -> None:
    assert network("2001:db8:1:2:3:4:5:6", 64) == network("2001:db8:1:2::1", 64) == "2001:db8:1:2::/64"
    assert network("2001:db8:1:2::1", 48) == "2001:db8:1::/48"
    limit = Node().limit(TokenBucket(1, 1), ipv6_prefix=48)
    assert passes(limit, exchange("2001:db8:1:2::1"))
    assert not passes(limit, exchange("2001:db8:1:9::1"))


# ---- several limits, methods, cost, dry run --------------------------------------------------------------------------


def test_a_request_that_one_limit_refuses_costs_the_others_nothing() -> None:
    node = Node()
    wide = node.limit(TokenBucket(0.001, 3), name="wide")
    narrow = node.limit(TokenBucket(0.001, 1), name="narrow", by=("header:X-Api-Key",))
    both = RateLimits((wide, narrow))
    assert passes(both, exchange("192.0.2.1", (b"x-api-key", b"1")))
    assert not any(passes(both, exchange("192.0.2.1", (b"x-api-key", b"1"))) for _ in range(5))
    assert passes(both, exchange("192.0.2.1", (b"x-api-key", b"2")))
    assert passes(both, exchange("192.0.2.1", (b"x-api-key", b"3")))
    assert not passes(both, exchange("192.0.2.1", (b"x-api-key", b"4")))


def test_a_limit_of_some_methods_lets_the_others_through_uncounted() -> None:
    limit = Node().limit(TokenBucket(0.001, 1), methods=frozenset((b"POST",)))
    assert all(passes(limit, exchange()) for _ in range(3))
    assert passes(limit, exchange(method=b"POST"))
    assert not passes(limit, exchange(method=b"POST"))


def test_a_dry_run_refuses_nobody_and_counts_whom_it_would() -> None:
    limit = Node().limit(TokenBucket(0.001, 1), dry_run=True)
    requests = [exchange() for _ in range(3)]
    assert all(passes(limit, request) for request in requests)
    counted = POLICIES.index("rate-limit-dry-run") + 1
    assert [request.refused for request in requests] == [0, counted, counted]


def test_clients_are_told_what_is_left_and_when_to_come_again() -> None:
    limit = Node().limit(
        TokenBucket(10, 20),
        told="ours",
    )
    requests = [exchange() for _ in range(22)]
    outcomes = [limit.check(request) for request in requests]
    assert requests[0].answer_lines == b'RateLimit-Policy: "ours";q=20;w=2\r\nRateLimit: "ours";r=19;t=1\r\n'
    assert requests[19].answer_lines.endswith(b'RateLimit: "ours";r=0;t=2\r\n')
    refused = outcomes[20]
    assert isinstance(refused, Denial)
    assert (refused.status, refused.policy, refused.fields) == (429, "rate-limit", ((b"Retry-After", b"1"),))
    assert requests[20].answer_lines.endswith(b'RateLimit: "ours";r=0;t=1\r\n')


def test_a_large_quota_is_told_in_few_steps_and_never_more_than_there_is() -> None:
    limit = Node().limit(SlidingWindow(10_000, 3600.0), told="ours")
    requests = [exchange() for _ in range(2000)]
    for request in requests:
        limit.check(request)
    left = [int(request.answer_lines.split(b";r=")[1].split(b";")[0]) for request in requests]
    assert all(told <= 9999 - index for index, told in enumerate(left))
    assert len(set(left)) < 20
