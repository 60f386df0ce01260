from __future__ import annotations

from edgewise.balancer.ip_hash import IpHash
from edgewise.testing.balancing import make_endpoints, make_exchange


def test_a_client_stays_on_its_endpoint_whatever_the_load() -> None:
    endpoints = make_endpoints(4)
    policy = IpHash()
    policy.update(endpoints)
    chosen = policy.pick(make_exchange("192.0.2.7"))
    assert chosen is not None
    chosen.active = 100
    assert policy.pick(make_exchange("192.0.2.7", "/other")) is chosen


def test_clients_of_other_endpoints_stay_when_one_leaves() -> None:
    endpoints = make_endpoints(4)
    clients = [f"198.51.100.{number}" for number in range(200)]
    policy = IpHash()
    policy.update(endpoints)
    before = {client: policy.pick(make_exchange(client)) for client in clients}
    policy.update(endpoints[1:])
    after = {client: policy.pick(make_exchange(client)) for client in clients}
    assert all(after[client] is before[client] for client in clients if before[client] is not endpoints[0])


def test_one_ipv6_network_is_one_client() -> None:
    endpoints = make_endpoints(16)
    policy = IpHash()
    policy.update(endpoints)
    picked = {policy.pick(make_exchange(f"2001:db8:1:2::{number:x}")) for number in range(1, 100)}
    assert len(picked) == 1
