"""Balancing through a real edgewise: turns, stickiness, hashing, failing over, ejection, the circuit breaker."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable

from support.edgewise_process import COMMAND, EdgewiseProcess, wait_until
from support.origin import Origin
from support.raw_http import RawResponse, get

StartEdgewise = Callable[..., EdgewiseProcess]
StartOrigin = Callable[..., Origin]


def _saying(name: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\n\r\n{name}".encode()


UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def _edgewise(start: StartEdgewise, servers: list[str], settings: str = "") -> EdgewiseProcess:
    named = ", ".join(server if server.startswith("{") else f'"{server}"' for server in servers)
    return start(f'[upstreams.app]\nservers = [{named}]\n{settings}\n[[routes]]\nupstream = "app"\n')


def _asked(server: EdgewiseProcess, times: int, *lines: str) -> Counter[bytes]:
    with server.client() as client:
        return Counter(client.ask(get("/", "example.com", *lines)).body for _ in range(times))


def test_servers_take_turns_by_weight(edgewise_server: StartEdgewise, origin: StartOrigin) -> None:
    heavy, light = origin(_saying("heavy")), origin(_saying("light"))
    server = _edgewise(edgewise_server, [f'{{ address = "{heavy.address}", weight = 3 }}', light.address])
    assert _asked(server, 12) == {b"heavy": 9, b"light": 3}


def test_a_client_keeps_its_server_by_cookie_until_that_server_is_gone(
    edgewise_server: StartEdgewise, origin: StartOrigin
) -> None:
    origins = {name: origin(_saying(name.decode())) for name in (b"a", b"b", b"c")}
    server = _edgewise(
        edgewise_server, [one.address for one in origins.values()], 'sticky = { secret = "0123456789abcdef" }'
    )
    with server.client() as client:
        first = client.ask(get("/"))
        cookie = (first.get("set-cookie") or "").partition(";")[0]
        assert cookie.startswith("ew=")
        assert _asked(server, 6, f"Cookie: theme=dark; {cookie}") == {first.body: 6}
        origins[first.body].stop()
        moved = client.ask(get("/", "example.com", f"Cookie: {cookie}"))
        assert moved.status == 200
        assert moved.body != first.body
        again = (moved.get("set-cookie") or "").partition(";")[0]
        assert _asked(server, 6, f"Cookie: {again}") == {moved.body: 6}
        wait_until(lambda: _moves(server) == {"failed": 1}, "the move is counted")
        server.admin(f"/api/v1/upstreams/app/servers/{origins[moved.body].address}/drain", "POST")
        drained = wait_until(lambda: _left(server, again, moved.body), "the drained server gets no request")
        assert drained.status == 200
        wait_until(lambda: _moves(server) == {"failed": 1, "drained": 1}, "the move is counted")
    status = subprocess.run([COMMAND, "status", "-c", str(server.config)], capture_output=True, text=True, check=True)
    assert "sessions moved: 1 drained, 1 failed" in status.stdout
    assert 'reason="drained"} 1' in server.admin("/metrics").decode()


def _left(server: EdgewiseProcess, cookie: str, name: bytes) -> RawResponse | None:
    """Return the answer to a client with a cookie, None while it comes from the server it was on."""
    with server.client() as client:
        answer = client.ask(get("/", "example.com", f"Cookie: {cookie}"))
    return answer if answer.body != name else None


def _moves(server: EdgewiseProcess) -> dict[str, int]:
    """Return how many sessions were moved, by reason."""
    counts: Counter[str] = Counter()
    for upstream in json.loads(server.admin("/api/v1/upstreams"))["upstreams"]:
        for one in upstream["servers"]:
            counts.update(one["moved"])
    return dict(counts)


def test_a_key_in_a_field_chooses_the_server(edgewise_server: StartEdgewise, origin: StartOrigin) -> None:
    servers = [origin(_saying(name)).address for name in "abc"]
    settings = 'balance = "consistent_hash"\nhash_key = "header:X-Tenant"'
    server = _edgewise(edgewise_server, servers, settings)
    for tenant in ("red", "green", "blue"):
        assert len(_asked(server, 5, f"X-Tenant: {tenant}")) == 1
    assert len(set().union(*(_asked(server, 1, f"X-Tenant: {number}") for number in range(40)))) == 3


def test_a_dead_server_costs_no_get_and_is_ejected(edgewise_server: StartEdgewise, origin: StartOrigin) -> None:
    alive, dead = origin(_saying("alive")), origin(_saying("dead"))
    dead.stop()
    server = _edgewise(edgewise_server, [alive.address, dead.address], "eject = { consecutive_errors = 2 }")
    assert _asked(server, 20) == {b"alive": 20}
    assert [line["attempts"] for line in server.wait_access_log(20)].count(2) == 2


def test_a_backup_answers_only_while_no_primary_is_left(edgewise_server: StartEdgewise, origin: StartOrigin) -> None:
    primary, backup = origin(_saying("primary")), origin(_saying("backup"))
    server = _edgewise(
        edgewise_server,
        [primary.address, f'{{ address = "{backup.address}", backup = true }}'],
        "eject = { consecutive_errors = 1 }",
    )
    assert _asked(server, 5) == {b"primary": 5}
    primary.stop()
    wait_until(lambda: _asked(server, 1) == {b"backup": 1}, "the backup answers")


def test_an_open_circuit_spares_the_upstream(edgewise_server: StartEdgewise, origin: StartOrigin) -> None:
    broken = origin(UNAVAILABLE)
    settings = 'eject = false\nbreaker = { error_rate = 0.5, min_requests = 5, open_time = "1m" }'
    server = _edgewise(edgewise_server, [broken.address], settings)
    for _ in range(20):
        with server.client() as client:
            assert client.ask(get("/", close=True)).status == 503
    assert len(broken.requests) == 5
