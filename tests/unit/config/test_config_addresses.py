"""Addresses of listeners and servers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.config.addresses import check_listen, check_server, parse_address
from edgewise.config.problems import BadValue


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("shop.internal:8000", ("shop.internal", 8000)),
        ("my_app:8000", ("my_app", 8000)),
        ("[::1]:443", ("::1", 443)),
        ("[fe80::1%eth0]:443", ("fe80::1%eth0", 443)),
        (":8000", ("10.1.1.1", 8000)),
        ("localhost:0", ("localhost", 0)),
        ("unix:/run/a.sock", "/run/a.sock"),
        ("unix:a:80", "a:80"),
    ],
)
def test_an_address_is_host_and_port_or_the_path_of_a_socket(text: str, address: tuple[str, int] | str) -> None:
    assert parse_address(text, "10.1.1.1") == address


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "host", "host:", "host:x", "host:65536", "host:-1", "host:+1", "host: 1", "host:1 ", "host:1\n",
        "host:1_0", "host:²", "host:0x1", "host:9999999999", "::1:80", "[::1]", "[::1]80", "[::g]:80", "[127.0.0.1]:80",
        "256.0.0.1:80", "1.2.3:80", "01.2.3.4:80", "ho st:80", "-host:80", "a..b:80", "http://host:80",
        "user@host:80", "host/path:80", "unix:", "unix:" + "a" * 108, "unix:a\0b", "é:80", "a" * 64 + ":80",
    ],
)  # fmt: skip
def test_nothing_else_is_an_address(text: str) -> None:
    with pytest.raises(BadValue):
        parse_address(text, "127.0.0.1")


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_ip_address_with_a_port_is_read_back(ip: object, port: int) -> None:
    host = f"[{ip}]" if ":" in str(ip) else str(ip)
    assert parse_address(f"{host}:{port}", "") == (str(ip), port)


@given(st.text())
def test_any_text_is_an_address_or_a_bad_value(text: str) -> None:
    try:
        address = parse_address(text, "127.0.0.1")
    except BadValue:
        return
    assert isinstance(address, str) or 0 <= address[1] <= 65535


def test_only_a_listener_may_leave_the_port_to_the_system() -> None:
    assert check_listen("127.0.0.1:0") == "127.0.0.1:0"
    with pytest.raises(BadValue, match="out of range"):
        check_server("127.0.0.1:0")
