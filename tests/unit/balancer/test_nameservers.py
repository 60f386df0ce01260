from __future__ import annotations

from pathlib import Path

from edgewise.balancer.dns_client import parse_nameservers, system_nameservers


def test_the_name_servers_are_those_of_the_file_in_order() -> None:
    text = "# comment\nsearch internal\nnameserver 192.0.2.53\n nameserver\t2001:db8::53 # second\noptions ndots:5\n"
    assert parse_nameservers(text) == (("192.0.2.53", 53), ("2001:db8::53", 53))


def test_what_is_no_address_is_passed_over() -> None:
    text = (
        "nameserver\nnameserver example\n;nameserver 192.0.2.1\nnameserver 1.1.1.1 2.2.2.2\nnameserver fe80::1%eth0\n"
    )
    assert parse_nameservers(text) == (("fe80::1%eth0", 53),)


def test_without_name_servers_this_machine_is_asked(tmp_path: Path) -> None:
    assert parse_nameservers("") == (("127.0.0.1", 53),)
    assert system_nameservers(tmp_path / "absent") == (("127.0.0.1", 53),)
