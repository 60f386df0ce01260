"""The conformance suite for balancing policies, and exchanges to try them on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace

from edgewise.contracts.balancing import BalancingPolicy
from edgewise.contracts.endpoint import Endpoint
from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import Plan, Route
from edgewise.http.head import Field, plain_head

CLIENTS = 2000
"""Clients that the suite sends at a policy; each endpoint must serve at least one of them."""


def make_endpoints(count: int, *, weights: Iterable[int] = (), upstream: str = "test") -> tuple[Endpoint, ...]:
    """Return endpoints `upstream/server-0` ... at loopback addresses, of weight 1 where `weights` ends."""
    given = [*weights][:count]
    padded = given + [1] * (count - len(given))
    return tuple(
        Endpoint(f"{upstream}/server-{index}", ("127.0.0.1", 9000 + index), weight)
        for index, weight in enumerate(padded)
    )


def make_exchange(
    ip: str = "192.0.2.1",
    path: str = "/",
    headers: Iterable[tuple[str, str]] = (),
    tried: tuple[Endpoint, ...] = (),
) -> Exchange:
    """Return an exchange as a policy sees it: client address, request head, endpoints already tried."""
    fields = tuple(
        Field(name.lower().encode(), value.encode("latin-1"), f"{name}: {value}\r\n".encode("latin-1"))
        for name, value in headers
    )
    head = plain_head(path=path.encode(), host=b"test", fields=fields)
    exchange = Exchange(SimpleNamespace(peer_ip=ip, tls=False), Plan(Route("test", 0), head), 0.0, "0" * 32)
    exchange.tried = tried
    return exchange


def check_balancing_policy(make: Callable[[], BalancingPolicy]) -> None:
    """Raise AssertionError where a policy breaks the contract of `BalancingPolicy`; `make` returns a fresh one.

    The policy is tried with the exchanges of many clients; what it needs of a request beside the client's address it
    must be able to do without.
    """
    for check in (
        _an_empty_policy_has_no_answer,
        _only_present_endpoints_are_picked,
        _every_endpoint_gets_requests,
        _a_removed_endpoint_gets_none,
        _a_retry_prefers_what_was_not_tried,
        _picking_leaves_endpoints_alone,
    ):
        check(make())


def _clients(count: int = CLIENTS) -> Iterable[Exchange]:
    return (make_exchange(f"10.{index >> 8}.{index & 255}.7", f"/{index}") for index in range(count))


def _an_empty_policy_has_no_answer(policy: BalancingPolicy) -> None:
    assert policy.pick(make_exchange()) is None, "a policy never updated must pick None"
    policy.update(())
    assert policy.pick(make_exchange()) is None, "a policy without endpoints must pick None"
    tried = make_endpoints(1)
    assert policy.pick(make_exchange(tried=tried)) is None, "a retry without endpoints must pick None"
    policy.update(tried)
    policy.update(())
    assert policy.pick(make_exchange()) is None, "a policy whose endpoints left must pick None"


def _only_present_endpoints_are_picked(policy: BalancingPolicy) -> None:
    for count in (1, 2, 3, 7, 100):
        endpoints = make_endpoints(count, weights=(3, 1, 2))
        policy.update(endpoints)
        for exchange in _clients(100):
            assert policy.pick(exchange) in endpoints, f"of {count} endpoints none, or a foreign one, was picked"


def _every_endpoint_gets_requests(policy: BalancingPolicy) -> None:
    endpoints = make_endpoints(5, weights=(1, 2, 3, 1, 1))
    policy.update(endpoints)
    missed = set(endpoints)
    for exchange in _clients():
        chosen = policy.pick(exchange)
        if chosen is not None:
            missed.discard(chosen)
            chosen.active += 1
    assert not missed, f"never picked under load: {sorted(endpoint.key for endpoint in missed)}"


def _a_removed_endpoint_gets_none(policy: BalancingPolicy) -> None:
    endpoints = make_endpoints(4)
    policy.update(endpoints)
    for exchange in _clients(50):
        policy.pick(exchange)
    policy.update(endpoints[1:3])
    for exchange in _clients(200):
        assert policy.pick(exchange) in endpoints[1:3], "an endpoint was picked that had been taken away"
    policy.update(endpoints)
    for exchange in _clients(50):
        assert policy.pick(exchange) in endpoints, "nothing was picked of endpoints that came back"


def _a_retry_prefers_what_was_not_tried(policy: BalancingPolicy) -> None:
    endpoints = make_endpoints(3)
    policy.update(endpoints)
    for exchange in _clients(100):
        first = policy.pick(exchange)
        assert first is not None
        exchange.tried = (first,)
        second = policy.pick(exchange)
        assert second is not None, "a retry found no endpoint"
        assert second is not first, "a retry went to the endpoint already tried"
        exchange.tried = (first, second)
        third = policy.pick(exchange)
        assert third not in exchange.tried, "the second retry went to an endpoint already tried"
        exchange.tried = endpoints
        assert policy.pick(exchange) in endpoints, "a retry after every endpoint was tried must still pick one"


def _picking_leaves_endpoints_alone(policy: BalancingPolicy) -> None:
    endpoints = make_endpoints(3)
    before = [_state(endpoint) for endpoint in endpoints]
    policy.update(endpoints)
    for exchange in _clients(100):
        policy.pick(exchange)
    assert [_state(endpoint) for endpoint in endpoints] == before, "picking changed an endpoint; the engine counts"


def _state(endpoint: Endpoint) -> tuple[object, ...]:
    counters = (endpoint.active, endpoint.connections, endpoint.requests, endpoint.failures, endpoint.errors)
    return (endpoint.weight, endpoint.available, *counters)
