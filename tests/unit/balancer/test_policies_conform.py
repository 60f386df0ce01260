"""Every built-in policy, alone and under a sticky cookie, keeps the contract that users' policies are held to."""

from __future__ import annotations

import random

import pytest

from edgewise.balancer import make_policy
from edgewise.balancer.policies import POLICIES
from edgewise.balancer.sticky import Sticky
from edgewise.contracts.balancing import BalancingPolicy
from edgewise.contracts.endpoint import Endpoint
from edgewise.contracts.exchange import Exchange
from edgewise.testing.balancing import check_balancing_policy, make_endpoints


@pytest.mark.parametrize("name", POLICIES)
def test_a_built_in_policy_keeps_the_contract(name: str) -> None:
    check_balancing_policy(lambda: make_policy(name, rand=random.Random(7).random))


@pytest.mark.parametrize("name", POLICIES)
def test_a_sticky_policy_keeps_the_contract(name: str) -> None:
    check_balancing_policy(lambda: Sticky(make_policy(name, rand=random.Random(7).random), b"0123456789abcdef"))


@pytest.mark.parametrize("key", ["path", "header:X-Tenant", "cookie:user"])
def test_consistent_hash_keeps_the_contract_by_every_key(key: str) -> None:
    check_balancing_policy(lambda: make_policy("consistent_hash", hash_key=key))


def test_consistent_hash_without_a_bound_keeps_the_contract() -> None:
    check_balancing_policy(lambda: make_policy("consistent_hash", load_factor=0))


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no balancing policy 'fastest': there are round_robin, "):
        make_policy("fastest")


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="speed"):
        make_policy("round_robin", speed=1)


class _Broken:
    """A policy that forgets nothing: it goes on picking the endpoints of its first update."""

    def __init__(self) -> None:
        self.endpoints: tuple[Endpoint, ...] = ()
        self.turn = 0

    def update(self, endpoints: tuple[Endpoint, ...]) -> None:
        self.endpoints = self.endpoints or endpoints

    def pick(self, exchange: Exchange) -> Endpoint | None:
        self.turn += 1
        return self.endpoints[self.turn % len(self.endpoints)] if self.endpoints else None


class _Deaf:
    """A policy that always picks the first endpoint, for retries too."""

    def __init__(self) -> None:
        self.endpoints: tuple[Endpoint, ...] = ()

    def update(self, endpoints: tuple[Endpoint, ...]) -> None:
        self.endpoints = endpoints

    def pick(self, exchange: Exchange) -> Endpoint | None:
        return self.endpoints[0] if self.endpoints else None


@pytest.mark.parametrize("broken", [_Broken, _Deaf])
def test_the_suite_finds_a_policy_that_breaks_the_contract(broken: type[BalancingPolicy]) -> None:
    with pytest.raises(AssertionError):
        check_balancing_policy(broken)


def test_endpoints_for_tests_have_the_weights_given_and_one_beyond() -> None:
    assert [endpoint.weight for endpoint in make_endpoints(3, weights=(5, 2))] == [5, 2, 1]
