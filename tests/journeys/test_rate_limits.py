"""Rate limits on real sockets: several workers count together, clients are told when to come again."""

from __future__ import annotations

import time

import pytest

from journeys.conftest import StartEdgewise, StartOrigin
from support.edgewise_process import EdgewiseProcess
from support.raw_http import RawClient, get

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 2
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
[state]
url = "sqlite:state"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/slow-refill"
respond = { body = "fixed" }
rate_limit = { rate = "1/m", burst = 3 }
[[routes]]
path = "/by-key"
respond = { body = "fixed" }
rate_limit = { rate = "1/m", burst = 2, by = "header:X-Api-Key" }
[[routes]]
path = "/strict"
upstream = "app"
rate_limit = { rate = "2/s", burst = 6, by = "route", strict = true }
[[routes]]
path = "/steady"
respond = { body = "fixed" }
rate_limit = { rate = "200/s", burst = 10, by = "route" }
"""


@pytest.fixture
def edgewise(edgewise_server: StartEdgewise, origin: StartOrigin) -> EdgewiseProcess:
    return edgewise_server(TOML.replace("ORIGIN", origin().address))


def statuses(edgewise: EdgewiseProcess, path: str, count: int, *fields: str) -> list[int]:
    """Ask that often on one connection, so that one worker answers."""
    with edgewise.client() as client:
        return [client.ask(get(path, "a", *fields)).status for _ in range(count)]


def test_what_is_over_the_burst_gets_429_and_is_told_when_to_come_again(edgewise: EdgewiseProcess) -> None:
    with edgewise.client() as client:
        answers = [client.ask(get("/slow-refill")) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert 50 <= int(answers[4].get("retry-after") or 0) <= 60


def test_clients_are_told_apart_by_a_header(edgewise: EdgewiseProcess) -> None:
    assert statuses(edgewise, "/by-key", 3, "X-Api-Key: one") == [200, 200, 429]
    assert statuses(edgewise, "/by-key", 3, "X-Api-Key: two") == [200, 200, 429]
    assert statuses(edgewise, "/by-key", 3) == [200, 200, 429]


def test_a_strict_limit_holds_over_all_workers(edgewise: EdgewiseProcess) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:  # until a window of three seconds begins, and the engine is connected
        seen = [status for _ in range(12) for status in statuses(edgewise, "/strict", 1)]
        if seen == [200] * 6 + [429] * 6:
            return
    raise AssertionError(f"never exactly six in a row: {seen}")


def test_a_reload_forgets_no_count_of_a_limit_that_stays_the_same(edgewise: EdgewiseProcess) -> None:
    with edgewise.client() as client:
        assert [client.ask(get("/slow-refill")).status for _ in range(4)] == [200, 200, 200, 429]
        host = f"127.0.0.1:{edgewise.admin_port}"
        with RawClient(("127.0.0.1", edgewise.admin_port)) as admin:
            ask = f"POST /api/v1/reload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"
            assert admin.ask(ask.encode()).status == 200
        assert client.ask(get("/slow-refill")).status == 429


def test_two_workers_admit_the_rate_together(edgewise: EdgewiseProcess) -> None:
    clients = [edgewise.client() for _ in range(8)]
    head = get("/steady")
    until = time.monotonic() + 2.0  # the engine is connected and the counts known
    while time.monotonic() < until:
        for client in clients:
            client.ask(head)
    began = time.monotonic()
    admitted = asked = 0
    while time.monotonic() < began + 3.0:
        for client in clients:
            admitted += client.ask(head).status == 200
            asked += 1
    seconds = time.monotonic() - began
    for client in clients:
        client.close()
    assert admitted <= 200 * seconds * 1.15 + 10
    assert admitted >= min(200 * seconds, asked) * 0.7  # a busy machine may not even ask that often
