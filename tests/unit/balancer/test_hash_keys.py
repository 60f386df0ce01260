"""What is hashed of a request."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.balancer.keys import client_key, key_reader
from edgewise.contracts.balancing import SESSION
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


class Held:
    """What a filter found out about a session."""

    def __init__(self, handle: bytes | None) -> None:
        self.handle = handle

    def affinity(self) -> bytes | None:
        return self.handle


@pytest.mark.parametrize(
    ("context", "key"),
    [
        ({SESSION: Held(b"0a1b")}, b"0a1b"),
        ({SESSION: Held(None)}, b"192.0.2.7"),
        ({"user": "ann"}, b"192.0.2.7"),
        (None, b"192.0.2.7"),
    ],
)
def test_the_session_that_the_gateway_holds_is_a_key(context: dict[str, Any] | None, key: bytes) -> None:
    exchange = make_exchange("192.0.2.7", "/", [("Cookie", "__Host-session=x")])
    exchange.context = context
    assert key_reader("session")(exchange) == key


@pytest.mark.parametrize("spec", ["", "host", "session:x", "header:", "cookie:", "cookie:a b", "path:x", "ip:4"])
def test_any_other_key_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=r"hash key must be|not a cookie name"):
        key_reader(spec)
