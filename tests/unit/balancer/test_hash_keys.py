"""What is hashed of a request."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.balancer.keys import client_key, key_reader
from edgewise.testing.balancing import make_exchange


def test_an_ipv4_client_is_its_address() -> None:
    assert client_key(make_exchange("192.0.2.7")) == b"192.0.2.7"


@given(st.integers(0, (1 << 128) - 1), st.booleans())
def test_an_ipv6_client_is_its_network_however_it_is_written(number: int, long: bool) -> None:
    address = IPv6Address(number)
    written = address.exploded.upper() if long else address.compressed
    if "." in written:
        return
    key = client_key(make_exchange(written)).decode()
    assert IPv6Network(f"{key}::/64") == IPv6Network((number >> 64 << 64, 64))


def test_two_spellings_of_a_network_are_one_key() -> None:
    keys = {client_key(make_exchange(ip)) for ip in ("2001:db8::1", "2001:0DB8:0:0:9::", "2001:db8::1%eth0")}
    assert keys == {b"2001:db8:0:0"}


def test_a_client_on_a_unix_socket_has_a_key_too() -> None:
    assert client_key(make_exchange("")) == b""


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ("ip", b"192.0.2.7"),
        ("path", b"/a/b"),
        ("header:X-Tenant", b"blue"),
        ("header:x-absent", b"192.0.2.7"),
        ("cookie:user", b"42"),
        ("cookie:absent", b"192.0.2.7"),
    ],
)
def test_the_key_is_read_from_the_named_place_or_else_from_the_address(spec: str, key: bytes) -> None:
    exchange = make_exchange("192.0.2.7", "/a/b", [("X-Tenant", "blue"), ("Cookie", "a=1; user=42")])
    assert key_reader(spec)(exchange) == key


@pytest.mark.parametrize("spec", ["", "host", "header:", "cookie:", "cookie:a b", "path:x", "ip:4"])
def test_any_other_key_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=r"hash key must be|not a cookie name"):
        key_reader(spec)
