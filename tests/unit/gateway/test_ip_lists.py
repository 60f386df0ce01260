"""Addresses and networks: the smallest network decides, whatever the order and however many there are."""

from __future__ import annotations

import ipaddress
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from edgewise.config.ip import plain_network
from edgewise.gateway.ip import AddressCheck, Network


def check(allow: list[str], deny: list[str], *, unix: bool = False) -> AddressCheck:
    """Return the check of two lists."""
    return AddressCheck([plain_network(one) for one in allow], [plain_network(one) for one in deny], unix=unix)


def test_with_networks_to_allow_all_others_are_denied() -> None:
    lists = check(["10.0.0.0/8", "2001:db8::/32"], [])
    assert [lists.may_come(ip) for ip in ("10.0.0.0", "10.255.255.255", "2001:db8::1")] == [True] * 3
    others = ("9.255.255.255", "11.0.0.0", "0.0.0.0", "255.255.255.255", "2001:db9::", "::", "::a00:1")
    assert not any(lists.may_come(ip) for ip in others)


def test_with_networks_to_deny_only_all_others_may_come() -> None:
    lists = check([], ["192.0.2.0/24", "::/0"])
    assert not any(lists.may_come(ip) for ip in ("192.0.2.0", "192.0.2.255", "::1", "ffff::"))
    assert lists.may_come("192.0.3.0")
    assert lists.may_come("192.0.1.255")


def test_the_smallest_network_decides_at_any_depth() -> None:
    lists = check(["10.0.0.0/8", "10.1.2.0/24", "10.1.2.5/32"], ["0.0.0.0/0", "10.1.0.0/16", "10.1.2.4/30"])
    allowed = ("10.0.0.1", "10.2.0.0", "10.1.2.1", "10.1.2.5", "10.1.2.8")
    denied = ("10.1.0.1", "10.1.3.0", "10.1.2.4", "10.1.2.7", "9.9.9.9")
    assert [ip for ip in (*allowed, *denied) if lists.may_come(ip)] == list(allowed)


def test_a_network_in_both_lists_is_denied() -> None:
    assert not check(["10.0.0.0/8"], ["10.0.0.0/8"]).may_come("10.0.0.1")


def test_ipv4_addresses_written_as_ipv6_ones_are_ipv4_addresses_in_lists_and_requests() -> None:
    for network in ("10.0.0.0/8", "::ffff:10.0.0.0/104"):
        lists = check([network], [])
        assert lists.may_come("::ffff:10.1.1.1")
        assert lists.may_come("::FFFF:0a01:0101")
        assert lists.may_come("10.1.1.1")
        assert not lists.may_come("::ffff:11.1.1.1")
    assert not check(["::/0"], []).may_come("::ffff:10.1.1.1")


def test_an_address_with_a_zone_is_judged_without_it() -> None:
    assert check(["fe80::/10"], []).may_come("fe80::1%eth0")


def test_what_has_no_address_is_in_no_network() -> None:
    assert not check(["0.0.0.0/0", "::/0"], []).may_come("unix:")
    assert check(["10.0.0.0/8"], [], unix=True).may_come("unix:")
    assert check([], ["10.0.0.0/8"]).may_come("unix:")
    assert not check([], ["10.0.0.0/8"]).may_come("no address")


prefixes = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32))
networks = st.lists(prefixes.map(lambda pair: ipaddress.IPv4Network(pair, strict=False)), max_size=12)


@given(networks, networks, st.lists(st.integers(0, 2**32 - 1), max_size=8))
def test_the_verdict_is_that_of_a_search_through_all_networks(
    allow: list[Network], deny: list[Network], addresses: list[int]
) -> None:
    lists = AddressCheck(allow, deny, unix=False)
    edges = [int(one[place]) for one in (*allow, *deny) for place in (0, -1)]
    around = [edge + step for edge in edges for step in (-1, 0, 1) if 0 <= edge + step < 2**32]
    for number in (*addresses, *around):
        address = ipaddress.IPv4Address(number)
        found = [(one.prefixlen, listed == "deny") for listed in ("allow", "deny")
                 for one in (allow if listed == "allow" else deny) if address in one]  # fmt: skip
        expected = not max(found)[1] if found else not allow
        assert lists.may_come(str(address)) is expected


def test_lists_of_many_thousand_networks_are_searched_by_bisection_and_remember_a_bounded_number_of_addresses() -> None:
    random = Random(6)
    deny: list[Network] = [ipaddress.IPv4Network((random.getrandbits(24) << 8, 24)) for _ in range(50_000)]
    lists = AddressCheck([], deny, unix=False)
    denied = {int(network.network_address) >> 8 for network in deny}
    for _ in range(10_000):
        number = random.getrandbits(32)
        assert lists.may_come(str(ipaddress.IPv4Address(number))) is ((number >> 8) not in denied)
    assert lists.may_come.cache_info().currsize <= 8192
