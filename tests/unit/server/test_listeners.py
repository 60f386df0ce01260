from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from edgewise.config import build
from edgewise.server.listeners import (
    Listener,
    ListenError,
    ListenerSet,
    open_listener,
    open_unix,
    split_address,
    wanted,
)


def test_each_worker_slot_has_its_own_socket_on_the_same_port() -> None:
    listening = open_listener(Listener("plain", "127.0.0.1:0"), 3)
    addresses = {sock.getsockname() for sock in listening.sockets}
    descriptors = {sock.fileno() for sock in listening.sockets}
    listening.close()
    assert len(addresses) == 1
    assert len(descriptors) == 3


def test_an_ipv6_listener_leaves_ipv4_alone() -> None:
    listening = open_listener(Listener("plain", "[::1]:0"), 1)
    only = listening.sockets[0].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    listening.close()
    assert only == 1


def test_a_port_that_is_in_use_is_refused_even_where_the_port_could_be_shared() -> None:
    first = open_listener(Listener("plain", "127.0.0.1:0"), 2)
    port = first.sockets[0].getsockname()[1]
    with pytest.raises(ListenError, match=rf"cannot listen on 127.0.0.1:{port}: Address already in use"):
        open_listener(Listener("plain", f"127.0.0.1:{port}"), 1)
    first.close()


def test_an_address_of_another_machine_is_refused_with_its_reason() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192.0.2.1:80: Cannot assign requested address"):
        open_listener(Listener("plain", "192.0.2.1:80"), 1)


def test_workers_share_a_unix_socket_that_only_user_and_group_may_use(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    listening = open_listener(Listener("plain", f"unix:{path}"), 2)
    assert listening.sockets[0] is listening.sockets[1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    listening.close()
    assert not path.exists()


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "edge.sock")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    fresh = open_unix(path, 0o600)
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    client.close()
    fresh.close()


def test_the_socket_of_a_live_process_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "edge.sock")
    live = open_unix(path, 0o600)
    with pytest.raises(OSError, match="Address already in use"):
        open_unix(path, 0o600)
    assert os.path.exists(path)
    live.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("data")
    with pytest.raises(ListenError, match="not a socket"):
        open_listener(Listener("plain", f"unix:{path}"), 1)
    assert path.read_text() == "data"


def test_closing_leaves_a_socket_alone_that_another_process_has_put_in_place(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    ours = open_listener(Listener("plain", f"unix:{path}"), 1)
    path.unlink()
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(path))
    ours.close()
    assert path.exists()
    other.close()


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), (":80", ("0.0.0.0", 80)), ("[::]:443", ("::", 443))],
)
def test_addresses_split_into_host_and_port(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize("address", ["nothing", "a:b", "a:99999", "a:²"])
def test_other_texts_are_no_addresses(address: str) -> None:
    with pytest.raises(ListenError):
        split_address(address)


def test_a_configuration_wants_its_plain_tls_and_tcp_listeners() -> None:
    config = build(
        {
            "server": {"listen": [":80", "unix:/run/e.sock"]},
            "upstreams": {"db": {"servers": ["127.0.0.1:5432"]}},
            "tcp": [{"listen": ":5432", "upstream": "db"}],
        }
    )
    assert wanted(config) == [Listener("plain", ":80"), Listener("plain", "unix:/run/e.sock"), Listener("tcp", ":5432")]


def test_adding_listeners_is_all_or_nothing(tmp_path: Path) -> None:
    listeners = ListenerSet(1)
    good, bad = Listener("plain", f"unix:{tmp_path}/a.sock"), Listener("plain", "192.0.2.1:80")
    with pytest.raises(ListenError):
        listeners.add([good, bad])
    assert listeners.open == {}
    assert not (tmp_path / "a.sock").exists()


def test_only_new_listeners_are_opened_and_the_others_are_known(tmp_path: Path) -> None:
    listeners = ListenerSet(2)
    first, second = Listener("plain", f"unix:{tmp_path}/a.sock"), Listener("plain", "127.0.0.1:0")
    listeners.add([first])
    assert [listening.listener for listening in listeners.add([first, second])] == [second]
    assert listeners.not_in([second]) == [first]
    assert [listener for listener, _ in listeners.of_slot(1)] == [first, second]
    listeners.close()
    assert listeners.open == {}


def test_a_fork_keeps_its_own_sockets_and_closes_those_of_other_slots() -> None:
    listeners = ListenerSet(2)
    listeners.add([Listener("plain", "127.0.0.1:0")])
    (_, mine), (_, other) = listeners.of_slot(0)[0], listeners.of_slot(1)[0]
    listeners.keep_only(0)
    assert (mine.fileno() >= 0, other.fileno()) == (True, -1)
    listeners.close()
